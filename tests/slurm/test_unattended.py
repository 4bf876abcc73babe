"""`advance --auto` on a real Slurm: the study walks on with nobody at the submitting side."""

from __future__ import annotations

import psutil
import pytest

from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from slurm.testcluster.daemons import NODE_VARIABLE
from tests.pipeline.conftest import Cli, edit, state_of
from tests.slurm.conftest import hold, release
from tests.slurm.looks import processes_of, queue, wait_for, wait_until_training

CHAIN_S = 120


def outside_all_jobs(workspace: Workspace) -> list[psutil.Process]:
    """The study's processes on the submitting side."""
    return [process for process, seen in processes_of(workspace) if NODE_VARIABLE not in seen]


def ended(workspace: Workspace) -> str | None:
    """Why the chain of follow-ups ended; None while it goes on."""
    record = state_of(workspace).follow_up
    assert record is not None
    return record.ended


def test_one_command_carries_the_study_to_its_report_with_nothing_left_behind(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Follow-up jobs alone carry it through all phases, and none of them is left at the end."""
    hold(study)
    assert cli("advance", "--auto").returncode == 0
    wait_until_training(study)
    assert outside_all_jobs(study) == []
    release(study)

    wait_for(lambda: ended(study) is not None, CHAIN_S)

    assert ended(study) == "the study is complete"
    runs = state_of(study).runs
    assert {(run.status, run.tries) for run in runs.values()} == {(RunStatus.DONE, 1)}
    assert {run.phase for run in runs.values()} == {"pilot", "multiseed"}
    assert "Verdict: **" in study.report_file.read_text(encoding="utf-8")
    wait_for(lambda: not queue(cluster))
    assert "the study is complete" in cli("status").stdout


def test_cancel_ends_the_chain_too(study: Workspace, cluster: Cluster, cli: Cli) -> None:
    """The follow-up that waits for the tasks goes with them, and nothing begins anew."""
    hold(study)
    assert cli("advance", "--auto").returncode == 0
    wait_until_training(study)
    assert sorted(queue(cluster).values()) == ["PENDING", "RUNNING"]

    assert cli("cancel", "--yes").returncode == 0

    wait_for(lambda: not queue(cluster))
    assert ended(study) == "cancelled with `pipeline cancel`"
    assert "auto: ended: cancelled" in cli("status").stdout


@pytest.mark.usefixtures("cluster")
def test_a_failed_phase_ends_the_chain(study: Workspace, cli: Cli) -> None:
    """The last follow-up leaves the reason, and status says what a person has to look at."""
    edit(study, "config.handicap = 0.5", "config.crash = true")
    cli("advance", "--auto")

    wait_for(lambda: ended(study) is not None, CHAIN_S)

    assert "the study needs a person: pilot/" in (ended(study) or "")
    status = cli("status")
    assert status.returncode == 3
    assert "`pipeline advance --auto` begins anew" in status.stdout
