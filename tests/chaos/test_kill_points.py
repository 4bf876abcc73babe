"""kill -9 of each command at its lasting calls, against the fake Slurm.

Here at every call of sbatch and at a sample of all others; `make chaos` dies at every one.
"""

import pytest

from tests.chaos.killing import Teller
from tests.chaos.stories import STORIES
from tests.chaos.world import world

_EVERY = {"study": 150, "cancelled": 30, "auto": 150}
"""Of so many calls one is a death."""


@pytest.mark.slow
@pytest.mark.parametrize("name", STORIES)
def test_killed_at_any_call_nothing_is_lost_and_nothing_is_done_twice(name: str) -> None:
    """Killed, started again, told to its end: the study comes to what it does undisturbed."""
    with world() as scene:
        teller = Teller(scene, STORIES[name])
        telling = teller.undisturbed()
        assert set(telling.end.runs.values()) == {"done"}
        assert telling.end.report_is_right

        deaths = list(
            teller.deaths(telling, lambda call, what: "sbatch" in what or call % _EVERY[name] == 1)
        )

    assert len(deaths) >= 10
    assert [death for death in deaths if death.wrongs or death.duplicates or death.losses] == []
