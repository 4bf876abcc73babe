"""Phase-based study pipeline for Slurm: orchestration. Never imports torch or the training code."""
