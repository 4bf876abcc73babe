"""A fake Slurm for tests: sbatch, squeue, sacct, scancel, srun, scontrol, sinfo and sacctmgr.

What they print was compared, to the letter, with Slurm 22.05.8. Jobs really run, as processes of
this machine, so code that submits, polls, cancels and requeues runs unchanged.

    control.py     FakeSlurm: what a test holds; settings, faults, and the fate of jobs
    client.py      what each program does first; then sbatch.py, squeue.py, ... answer; refusals.py
    daemon.py      slurmctld and slurmd: starts, signals and ends jobs; node.py, lifecycle.py
    schedule.py    which pending job may start, and why not; pure
    accounting.py  what sacct knows, and how late
    store.py       the state, one SQLite file; model.py says what is in it

An option or field that the fake does not know is an error, never a guess.
"""
