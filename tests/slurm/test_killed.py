"""kill -9 of `advance` on a real Slurm; `make chaos` does it a hundred times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.realworld import killed_at_random

if TYPE_CHECKING:
    from slurm.testcluster.cluster import Cluster


def test_killed_at_random_calls_a_study_ends_with_every_run_started_once(cluster: Cluster) -> None:
    """By accounting's own record: every run was started, none twice."""
    came_to = killed_at_random(cluster, kills=5, seed=3, seeds=6)

    assert came_to.kills == 5
    assert came_to.starts == came_to.runs
    assert (came_to.duplicates, came_to.losses, came_to.wrongs) == (0, 0, ())
