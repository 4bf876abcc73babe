"""kill -9 of a task that trains: the pipeline resumes it, and not a bit of the results changes."""

import pytest

from tests.chaos.trained import trained

STEPS = 400


@pytest.mark.slow
def test_killed_tasks_end_with_the_bits_of_undisturbed_ones() -> None:
    """Metrics, references, weights, averages, random streams and curves are the same."""
    undisturbed = trained(STEPS)

    killed = trained(STEPS, kills=2, seed=1, within_s=1.0)

    assert killed.kills == 2
    assert len(killed.results) == 4
    assert killed.results == undisturbed.results
