"""Names and texts of a study mean nothing to file systems, shells, Slurm, Markdown or terminals."""
