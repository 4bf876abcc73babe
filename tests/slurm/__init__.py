"""Tests on a real Slurm cluster, which the fixture `cluster` brings up once per session.

They are skipped, with the reason, where no cluster can be had. In `pytest -n` one worker runs
them all. A test may kill, freeze and restart daemons: afterwards the fixture puts things right.
"""
