"""The study in the middle of its phase: one that stands still for all tests, one that moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.workspace import Workspace
from tests.pipeline.doctor.repair.midway import Midway, forget_trainer, gone_midway


@pytest.fixture(scope="package")
def standing_still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Midway]:
    """One such study for all tests that let it stand."""
    with gone_midway(tmp_path_factory.mktemp("midway")) as study:
        yield study


@pytest.fixture
def midway(standing_still: Midway) -> Iterator[Midway]:
    """It, with all files as they were."""
    standing_still.restore()
    forget_trainer()
    yield standing_still
    standing_still.cluster.configure(unreachable=False)


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Midway]:
    """One for a test that carries it on."""
    with gone_midway(tmp_path) as study:
        yield study


@pytest.fixture
def workspace(midway: Midway) -> Workspace:
    """Where `cli` works."""
    return midway.workspace
