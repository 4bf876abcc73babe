"""`advance --auto` on a real Slurm: nothing of ours on the submitting side, and one chain."""

from __future__ import annotations

import pytest

from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.pipeline.conftest import Cli, edit, state_of
from tests.slurm.conftest import hold
from tests.slurm.looks import queue, wait_for

AUTO = "\n[profiles.cluster.auto]\nwalltime_min = 20\nmem_gb = 1\n"


@pytest.fixture
def walking(study: Workspace) -> Workspace:
    """The toy study whose profile has a small request for follow-ups."""
    path = study.root / "slurm" / "profiles.toml"
    path.write_text(path.read_text(encoding="utf-8") + AUTO, encoding="utf-8")
    return study


def reason_of_the_end(workspace: Workspace) -> str | None:
    """Why the chain ended; None while it goes on."""
    record = state_of(workspace).follow_up
    return record.ended if record is not None else None


@pytest.mark.usefixtures("cluster")
def test_one_command_walks_a_study_to_its_end(walking: Workspace, cli: Cli) -> None:
    """afterany carries it from phase to phase; every run is submitted once."""
    started = cli("advance", "--auto")
    assert started.returncode == 0, started.stderr
    assert "waits for job" in started.stdout

    wait_for(lambda: reason_of_the_end(walking))

    assert reason_of_the_end(walking) == "the study is complete"
    runs = state_of(walking).runs.values()
    assert {(run.status, run.tries) for run in runs} == {(RunStatus.DONE, 1)}
    assert cli("status").returncode == 0


@pytest.mark.usefixtures("cluster")
def test_a_failed_phase_ends_the_chain(walking: Workspace, cli: Cli) -> None:
    """The last follow-up leaves the reason, and status says what a person has to look at."""
    edit(walking, "config.handicap = 0.5", "config.crash = true")
    cli("advance", "--auto")

    wait_for(lambda: reason_of_the_end(walking))

    assert "the study needs a person: pilot/" in (reason_of_the_end(walking) or "")
    status = cli("status")
    assert status.returncode == 3
    assert "`pipeline advance --auto` begins anew" in status.stdout


def test_cancel_ends_the_chain(walking: Workspace, cluster: Cluster, cli: Cli) -> None:
    """Afterwards neither a task nor a follow-up is in the queue."""
    hold(walking)
    assert cli("advance", "--auto").returncode == 0
    assert len(queue(cluster)) == 2

    assert cli("cancel", "--yes").returncode == 0

    wait_for(lambda: not queue(cluster))
    assert reason_of_the_end(walking) == "cancelled with `pipeline cancel`"
