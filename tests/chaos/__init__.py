"""Chaos: commands and tasks are killed at every moment that counts; nothing is lost or doubled.

mortal.py    a process that counts its lasting calls and dies (kill -9) at one of them
nursery.py   starts such processes by fork, so that a thousand deaths take minutes
world.py     a workspace beside a fake Slurm, saved and put back, and its cluster's deeds
stories.py   studies told scene by scene: what the cluster does, then a command
killing.py   every moment of every scene: kill, start again, walk to the end, compare
"""
