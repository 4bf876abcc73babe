"""Fixtures that every test may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakeslurm.control import FakeSlurm

# Before torch is imported: the workers of `pytest -n auto` share the cores.
os.environ["OMP_NUM_THREADS"] = "1"


NO_GPU = "no GPU here"
"""Why tests marked `tests.training.helpers.needs_gpu` are skipped."""
NO_FUSE = "only root may mount a file system, and only where there is /dev/fuse"
_PATH: list[str] = []
"""sys.path once all tests are collected."""


def pytest_collection_finish() -> None:
    """Remember where modules came from before anything loaded a trainer."""
    _PATH[:] = sys.path


@pytest.fixture(autouse=True)
def same_imports() -> Iterator[None]:
    """Loading a trainer changes sys.path and sys.modules; no test inherits that.

    Not from a fixture that outlives its test either: those are set up before this one.
    """
    _forget_trainers()
    yield
    _forget_trainers()


def _forget_trainers() -> None:
    sys.path[:] = _PATH
    sys.modules.pop("toy", None)


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    """A fake Slurm whose programs come first on PATH, stopped when the test ends."""
    with FakeSlurm(tmp_path / "slurm") as cluster:
        for name, value in cluster.environment().items():
            monkeypatch.setenv(name, value)
        yield cluster


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `pytest -n`, one worker runs all of tests/slurm: it owns the real Slurm cluster.

    The mark `xdist_group` says the same, but xdist 3.8 does not see it with pytest 9.
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneClusterScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "tests/slurm" if nodeid.startswith("tests/slurm/") else nodeid

    return OneClusterScheduling(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: what should run there must run there.

    But for what needs a GPU, which CI has not, or a mount, which it may be denied.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    missing = [
        report
        for report in skipped
        if NO_GPU not in str(report.longrepr) and NO_FUSE not in str(report.longrepr)
    ]
    if os.environ.get("CI") and reporter is not None and missing:
        reporter.write_line("CI: tests were skipped, see above; that counts as a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
