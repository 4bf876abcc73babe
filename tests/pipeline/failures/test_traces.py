"""What is read of an attempt's files: the end of the log, progress, signs of life."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.failures.stalls import stalls
from pipeline.failures.traces import TAIL_BYTES, last_sign, log_path, tail_of, traces_of
from pipeline.state import (
    JobRecord,
    PhaseRecord,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)
from pipeline.workspace import Workspace

KEY = "p/a-s0"
JOB = JobRecord(
    phase="p",
    profile="x",
    backend="slurm",
    job_id="7",
    submitted_at="2026-01-01T00:00:00+00:00",
    tasks=(TaskRecord(runs=(KEY,), state=TaskState.RUNNING, node="n1"),),
    stalled_after_min=60,
)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """A workspace with the folders of one run and its job."""
    workspace = Workspace(tmp_path)
    workspace.run_dir(KEY).mkdir(parents=True)
    workspace.job_dir("p", "tok").mkdir(parents=True)
    return workspace


def test_only_the_log_of_the_last_start_is_judged(place: Workspace) -> None:
    """A task that was queued again appends to its log: an old preemption is no news."""
    log_path(place, "tok", JOB, 0).write_text(
        "submitit INFO - Starting with JobEnvironment(job_id=7)\n"
        "slurmstepd: error: *** JOB 7 CANCELLED DUE TO PREEMPTION ***\n"
        "submitit INFO - Starting with JobEnvironment(job_id=7)\nKeyError: 'x'\n"
    )

    traces = traces_of(place, "tok", JOB, 0, KEY)

    assert traces.log == "job_id=7)\nKeyError: 'x'\n"
    assert traces.log_exists


def test_progress_is_the_last_line_and_its_speed(place: Workspace) -> None:
    """Steps per second between the first and the last report of this attempt."""
    lines = [f'{{"step": {s}, "total_steps": 100, "time": {t}}}' for s, t in ((10, 5.0), (50, 25))]
    (place.run_dir(KEY) / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (place.run_dir(KEY) / "checkpoint.pt").touch()

    traces = traces_of(place, "tok", JOB, 0, KEY)

    assert traces.progress is not None
    assert (traces.progress.step, traces.progress.steps_per_s) == (50, 2.0)
    assert (traces.active_s, traces.checkpoint, traces.log_exists) == (20.0, True, False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(log=st.binary(max_size=300), metrics=st.binary(max_size=300))
def test_whatever_bytes_the_files_hold_they_are_read(
    place: Workspace, log: bytes, metrics: bytes
) -> None:
    """Any encoding, any damage: no error."""
    log_path(place, "tok", JOB, 0).write_bytes(log)
    (place.run_dir(KEY) / "metrics.jsonl").write_bytes(metrics)

    assert traces_of(place, "tok", JOB, 0, KEY).log_exists


def test_a_huge_log_is_read_from_its_end_only(place: Workspace) -> None:
    """64 KiB at most, whatever its size."""
    path = log_path(place, "tok", JOB, 0)
    path.write_bytes(b"x" * 10 * TAIL_BYTES + b"the end")

    text = tail_of(path)

    assert text is not None
    assert len(text) == TAIL_BYTES
    assert text.endswith("the end")


def ago(minutes: float) -> float:
    """A moment in the past, in epoch seconds."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).timestamp()


@pytest.mark.parametrize(
    ("written_min", "started_min", "status", "stalled"),
    [
        (70, 200, RunStatus.RUNNING, True),
        (5, 200, RunStatus.RUNNING, False),
        (200, 5, RunStatus.RUNNING, False),  # these files are of an earlier attempt
        (None, 70, RunStatus.RUNNING, True),  # never wrote anything
        (None, None, RunStatus.RUNNING, False),  # nothing is known: nothing is said
        (70, 200, RunStatus.DONE, False),
    ],
)
def test_a_task_is_stalled_when_nothing_was_written_for_long(
    place: Workspace,
    written_min: float | None,
    started_min: float | None,
    status: RunStatus,
    *,
    stalled: bool,
) -> None:
    """Silence counts from the last write or the start, whichever is later."""
    path = place.run_dir(KEY) / "metrics.jsonl"
    if written_min is not None:
        path.touch()
        os.utime(path, (ago(written_min), ago(written_min)))
        assert last_sign(place, "tok", JOB, 0) == pytest.approx(ago(written_min), abs=5)
    started = None
    if started_min is not None:
        started = datetime.fromtimestamp(ago(started_min), UTC).isoformat(timespec="seconds")
    job = replace(JOB, tasks=(replace(JOB.tasks[0], started_at=started),))
    digest = "f" * 64 if status is RunStatus.DONE else None
    run = RunRecord(phase="p", condition="a", seed=0, config_digest="0" * 64, status=status,
                    job="tok", task=0, result_digest=digest)  # fmt: skip
    state = State(study="s", study_digest="0" * 64, profile="x", runs={KEY: run},
                  phases={"p": PhaseRecord(kind="pilot")}, jobs={"tok": job})  # fmt: skip

    found = stalls(place, state)

    assert bool(found) is stalled
    assert all("runs on n1, but has been silent for 1 h 1" in stall.words for stall in found)
