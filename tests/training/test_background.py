"""Work beside a training: its result, its failure, and an end that does not wait for it."""

import subprocess
import sys

import pytest

from training.background import Background


def test_what_was_computed_is_there_when_it_is_asked_for() -> None:
    """Asked twice, it is the same object."""
    work = Background(lambda: [1, 2])
    assert work() == [1, 2]
    assert work() is work()


def test_a_failure_is_raised_where_the_result_is_needed() -> None:
    """Not lost in its thread."""

    def fail() -> int:
        raise MemoryError("no room")

    work = Background(fail)
    with pytest.raises(MemoryError, match="no room"):
        work()


def test_a_process_ends_without_waiting() -> None:
    """A task that is asked to stop does not sit out what it no longer needs."""
    code = (
        "import time; from training.background import Background; "
        "Background(lambda: time.sleep(60))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
