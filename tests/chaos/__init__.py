"""Chaos: commands, tasks and clusters are killed; nothing is lost, nothing is done twice.

    mortal.py     a process that counts its lasting calls and dies (kill -9) at one of them
    nursery.py    starts such processes by fork, so that a thousand deaths take minutes
    world.py      a workspace beside a fake Slurm, saved and put back, and its cluster's deeds
    stories.py    studies told scene by scene: what the cluster does, then a command
    killing.py    every moment of every scene: kill, start again, walk to the end, compare
    crowd.py      many `advance` at once, on two hosts; crowding.py: a study in their midst
    trained.py    tasks of the real trainer are killed; often_saved.py: it, with many checkpoints
    realworld.py  a study on a real Slurm whose commands die; faults.py: one whose cluster does

`python -m benchmarks.chaos` does all of it at full length.
"""
