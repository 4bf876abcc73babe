"""Work beside a training: its result, its failure, and an end that does not wait for all of it."""

import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import torch

from tests.training.helpers import config
from training.background import Background, Check
from training.stack import Stack
from training.trainer import _references


def test_what_was_computed_is_there_when_it_is_asked_for() -> None:
    """Asked twice, it is the same object."""
    with Background(lambda _: [1, 2]) as work:
        assert work() == [1, 2]
        assert work() is work()


def test_a_failure_is_raised_where_the_result_is_needed() -> None:
    """Not lost in its thread, and not raised where nobody asks."""

    def fail(_: Check) -> int:
        raise MemoryError("no room")

    with Background(fail) as work, pytest.raises(MemoryError, match="no room"):
        work()
    with Background(fail):
        pass


def test_leaving_ends_the_work_at_its_next_check() -> None:
    """A task that is asked to stop neither sits out what it no longer needs nor leaves it."""
    checks: list[int] = []

    def endless(check: Check) -> None:
        for number in count():
            checks.append(number)
            check()

    with Background(endless) as work:
        pass
    assert checks
    assert not work._thread.is_alive()


def test_a_process_ends_well_although_predictors_were_being_fitted() -> None:
    """Inside a library when the interpreter ends, a thread would abort the process."""
    code = (
        "import time; from training.background import Background;"
        "from training.config import IREDConfig; from training.evaluate import reference_scores;"
        "work = Background(lambda check: reference_scores(IREDConfig(matrix_size=6), check))\n"
        "with work: time.sleep(0.5)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=100)


def test_predictors_beside_a_gpu_score_what_they_score_before_a_cpu() -> None:
    """Where they are computed is no part of a result."""
    stack = Stack([config()], [0], torch.device("cpu"))
    with _references(stack) as references:
        before = references()
    stack.device = torch.device("cuda")
    with _references(stack) as references:
        assert isinstance(references, Background)
        assert references() == before
