"""What facts make of the records: the table of truth about runs and tasks."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reconcile import Facts, Outcome, counts, reconcile
from pipeline.scheduler import TaskStatus
from pipeline.state import (
    JobRecord,
    PhaseRecord,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)

KEY = "p/a-s0-12345678"
DONE = Outcome(result_digest="f" * 64, gpu_s=3.0, device_s=4.0)
QUEUED, RUNNING = TaskStatus(TaskState.QUEUED, "PENDING"), TaskStatus(TaskState.RUNNING, "RUNNING")


def state_with(status: RunStatus, task: TaskState = TaskState.QUEUED) -> State:
    """One run in one task of one job."""
    run = RunRecord(phase="p", condition="a", seed=0, config_digest="0" * 64, status=status,
                    job="t", task=0, tries=1)  # fmt: skip
    job = JobRecord(phase="p", profile="x", backend="slurm", job_id="7", submitted_at="2026-01-01",
                    tasks=(TaskRecord(runs=(KEY,), state=task),))  # fmt: skip
    phases = {"p": PhaseRecord(kind="pilot")}
    return State(
        study="s",
        study_digest="0" * 64,
        profile="x",
        phases=phases,
        runs={KEY: run},
        jobs={"t": job},
    )


def ended(word: str, exit_code: str = "0:0") -> TaskStatus:
    """A task that is over, in the scheduler's words."""
    return TaskStatus(TaskState.ENDED, word, exit_code, "node1", 12.0)


def after(state: State, statuses: Sequence[TaskStatus], outcome: Outcome | None) -> RunRecord:
    """The run after one look."""
    facts = Facts({"t": statuses}, {KEY: outcome} if outcome else {})
    return reconcile(state, facts)[0].runs[KEY]


@pytest.mark.parametrize(
    ("before", "task", "outcome", "expected"),
    [
        (RunStatus.QUEUED, QUEUED, None, RunStatus.QUEUED),
        (RunStatus.QUEUED, RUNNING, None, RunStatus.RUNNING),
        (RunStatus.RUNNING, QUEUED, None, RunStatus.QUEUED),  # requeued after preemption
        (RunStatus.RUNNING, RUNNING, DONE, RunStatus.DONE),  # others of its stack still train
        (RunStatus.QUEUED, ended("COMPLETED"), DONE, RunStatus.DONE),
        (RunStatus.RUNNING, ended("COMPLETED"), None, RunStatus.FAILED),  # never by Slurm's word
        (RunStatus.RUNNING, ended("FAILED", "1:0"), DONE, RunStatus.DONE),  # a neighbour failed
        (RunStatus.RUNNING, ended("OUT_OF_MEMORY", "0:125"), None, RunStatus.FAILED),
        (RunStatus.FAILED, ended("TIMEOUT"), DONE, RunStatus.DONE),  # the result came late
    ],
)
def test_a_run_is_done_by_its_result_and_failed_by_its_end_without_one(
    before: RunStatus, task: TaskStatus, outcome: Outcome | None, expected: RunStatus
) -> None:
    """The result file decides about the run, the scheduler only about the task."""
    assert after(state_with(before), [task], outcome).status is expected


def test_a_failed_run_says_what_the_attempt_or_else_the_scheduler_said() -> None:
    """The worker's own words come first; without them state and exit code stand."""
    said = Outcome(problem="loss is nan at step 3")

    assert after(state_with(RunStatus.RUNNING), [ended("FAILED", "1:0")], said).reason == (
        "loss is nan at step 3"
    )
    reason = after(state_with(RunStatus.RUNNING), [ended("NODE_FAIL", "1:0")], None).reason
    assert reason == "the task ended without a result (scheduler: NODE_FAIL, exit code 1:0)"


def test_an_ended_task_stays_ended() -> None:
    """A scheduler that takes its word back (a reused job id) does not revive a task."""
    state = state_with(RunStatus.FAILED, TaskState.ENDED)

    new, _ = reconcile(state, Facts({"t": [RUNNING]}, {}))

    assert new.jobs["t"].ended


def test_silence_changes_nothing() -> None:
    """Without a status and without files the state stays as it is, and no event is told."""
    state = state_with(RunStatus.RUNNING, TaskState.RUNNING)

    assert reconcile(state, Facts({}, {})) == (state, [])


statuses = st.sampled_from([QUEUED, RUNNING, ended("COMPLETED"), ended("FAILED", "1:0")])


@given(st.lists(st.tuples(statuses, st.sampled_from([None, DONE])), max_size=8))
def test_looking_twice_at_the_same_facts_changes_nothing_and_done_stays_done(
    looks: list[tuple[TaskStatus, Outcome | None]],
) -> None:
    """Reconciling is idempotent, and an accepted result is never taken back."""
    state, done = state_with(RunStatus.QUEUED), False
    for status, outcome in looks:
        facts = Facts({"t": [status]}, {KEY: outcome} if outcome else {})
        state, _ = reconcile(state, facts)
        assert reconcile(state, facts) == (state, [])
        done = done or state.runs[KEY].status is RunStatus.DONE
        assert not done or state.runs[KEY].status is RunStatus.DONE


@given(st.lists(st.sampled_from(RunStatus), max_size=20))
def test_counts_add_up(found: list[RunStatus]) -> None:
    """Every run is counted once."""
    tally = counts([state_with(status).runs[KEY] for status in found])

    assert tally["total"] == len(found) == sum(tally.values()) - tally["total"]
