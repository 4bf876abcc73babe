"""Ten `advance` at once, on two hosts: one effect. `make chaos` lets them go on for a minute."""

import os

import pytest

from tests.chaos.crowding import PROCESSES, crowded

SECONDS = 5


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a process a host name of its own")
def test_ten_processes_on_two_hosts_have_one_effect() -> None:
    """Every run is started once, every submission is on record, and nobody gave up."""
    effect = crowded(SECONDS, seeds=30)

    assert effect.advances.at_once == PROCESSES
    assert set(effect.advances.codes) == {0}, effect.advances.outputs
    assert (effect.duplicates, effect.losses, effect.wrongs) == (0, 0, ())
