"""The scheduler edge: the only importer of submitit and the only caller of Slurm commands."""
