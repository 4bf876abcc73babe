"""A checkpoint that cannot be written: what it costs, and what it does not."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults import faulty
from tests.training.helpers import FakeContext, FakeRun, config, scratch
from training import checkpoint
from training.outcome import Outcome
from training.trainer import IREDTrainer

CALLS = (
    "open .*/checkpoint.next.pt",
    "write .*/checkpoint.next.pt",
    "fsync .*/checkpoint.next.pt",
    "replace .*/checkpoint.pt",
)


def two_runs() -> list[FakeRun]:
    """Runs of one stack, with folders below one."""
    root = scratch()
    runs = [
        FakeRun(name, seed, config(steps=9), root / name) for name, seed in (("a", 1), ("b", 2))
    ]
    for run in runs:
        run.directory.mkdir()
    return runs


def train(runs: list[FakeRun], stop_after: int | None = None) -> list[Outcome]:
    """Train until the end, or until the trainer has asked so often."""
    return list(IREDTrainer().train(runs, FakeContext(stop_after)))


def metrics(outcomes: list[Outcome]) -> list[object]:
    """What the runs came to, without how long it took."""
    return [(one.failure, one.metrics) for one in outcomes]


@contextmanager
def full(runs: list[FakeRun], call: str) -> Iterator[list[int]]:
    """No room for this call in any run's folder; yields the calls that failed."""
    with faulty(runs[0].directory.parent, matching=call, error=errno.ENOSPC) as disk:
        yield disk.failed


@pytest.mark.parametrize("call", CALLS)
def test_training_goes_on_without_a_checkpoint_and_says_so(
    call: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """GPU-hours are worth more than their checkpoint: the run ends with the numbers it has."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    runs = two_runs()
    with full(runs, call) as failed, caplog.at_level(logging.WARNING):
        outcomes = train(runs)
    assert len(failed) == 10  # after each of nine steps, and at the end
    assert "no checkpoint of step 4: [Errno 28] No space left on device" in caplog.text
    assert str(runs[0].directory) in caplog.text
    assert metrics(outcomes) == metrics(train(two_runs()))


@pytest.mark.parametrize("call", CALLS)
def test_a_stop_without_room_for_a_checkpoint_is_an_error_and_keeps_the_one_before(
    call: str,
) -> None:
    """What was trained since is lost, and a person is to hear why; no half of a file is left."""
    runs = two_runs()
    train(runs, stop_after=3)
    with full(runs, call), pytest.raises(OSError, match="No space left on device") as caught:
        train(runs, stop_after=2)
    assert str(runs[0].directory) in str(caught.value)
    for run in runs:
        sizes = {path.name: path.stat().st_size for path in run.directory.iterdir()}
        assert min(sizes.values()) > 1000, sizes
    outcomes = train(runs)
    steps = {outcome.details["resumed_from_step"] for outcome in outcomes}
    assert len(steps) == 1
    assert steps <= {3, 5}  # 5 where the files were whole before a rename failed
    assert metrics(outcomes) == metrics(train(two_runs()))
