"""What facts make of the records: the table of truth about runs and tasks."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.failures.evidence import Progress, Traces
from pipeline.failures.kinds import FailureClass
from pipeline.reconcile import Facts, Outcome, counts, reconcile
from pipeline.scheduler import TaskStatus
from pipeline.state import (
    Incarnation,
    JobRecord,
    PhaseRecord,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)

KEY = "p/a-s0-12345678"
AT = "2026-01-02T00:00:00+00:00"
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

    nan = after(state_with(RunStatus.RUNNING), [ended("FAILED", "1:0")], said)
    assert (nan.failure, nan.reason) == (FailureClass.DIVERGED, "loss is nan at step 3")
    node = after(state_with(RunStatus.RUNNING), [ended("NODE_FAIL", "1:0")], None)
    assert node.failure is FailureClass.NODE_FAILURE
    assert node.reason == "scheduler: NODE_FAIL, exit code 1:0"


def test_a_failed_attempt_keeps_its_class_numbers_and_progress() -> None:
    """What the policy and `why` need stays with the task, whatever becomes of the run later."""
    state = state_with(RunStatus.RUNNING)
    traces = Traces(progress=Progress(40, 100, 2.0, 1.0), checkpoint=True)
    facts = Facts({"t": [ended("TIMEOUT")]}, {}, {KEY: traces}, AT)

    (task,) = reconcile(state, facts)[0].jobs["t"].tasks

    assert (task.elapsed_s, task.ended_at) == (12.0, AT)
    (failure,) = task.failures
    assert (failure.kind, failure.step, failure.steps_per_s, failure.checkpoint) == (
        FailureClass.TIME_LIMIT, 40, 2.0, True,
    )  # fmt: skip


def test_silence_is_no_end_until_it_has_lasted() -> None:
    """A task nobody knows keeps its state, and is gone only after the silence that is asked for."""
    silent = TaskStatus(TaskState.RUNNING, "RUNNING", silent_s=120)
    state = state_with(RunStatus.RUNNING, TaskState.RUNNING)

    state, _ = reconcile(state, Facts({"t": [silent]}, {}, {}, "2026-01-01T00:00:00+00:00"))
    state, _ = reconcile(state, Facts({"t": [silent]}, {}, {}, "2026-01-01T00:01:59+00:00"))
    assert state.runs[KEY].status is RunStatus.RUNNING
    assert state.jobs["t"].tasks[0].missing_since == "2026-01-01T00:00:00+00:00"
    back, _ = reconcile(state, Facts({"t": [RUNNING]}, {}, {}, "2026-01-01T00:02:00+00:00"))
    assert back.jobs["t"].tasks[0].missing_since is None
    gone, _ = reconcile(state, Facts({"t": [silent]}, {}, {}, "2026-01-01T00:02:00+00:00"))
    assert gone.runs[KEY].failure is FailureClass.NEVER_STARTED


@pytest.mark.parametrize("outcome", [DONE, Outcome(problem="loss is nan at step 3")])
def test_a_silent_task_that_has_told_all_is_over(outcome: Outcome) -> None:
    """The files of the runs are enough to conclude at once; earlier starts stay accounted for."""
    before = (Incarnation(scheduler_state="PREEMPTED", node="n1", elapsed_s=101.0),)
    silent = TaskStatus(TaskState.RUNNING, "RUNNING", silent_s=120, earlier=before)
    state = state_with(RunStatus.RUNNING, TaskState.RUNNING)

    new, _ = reconcile(state, Facts({"t": [silent]}, {KEY: outcome}, {}, AT))

    assert new.jobs["t"].ended
    assert new.jobs["t"].tasks[0].earlier == before
    assert new.runs[KEY].status in (RunStatus.DONE, RunStatus.FAILED)


def test_starts_before_a_requeue_are_kept() -> None:
    """Seen from the queue alone, or as accounting lists them in the end."""
    state = state_with(RunStatus.RUNNING)
    running = TaskStatus(TaskState.RUNNING, "RUNNING", node="n1", elapsed_s=100.0)
    again = TaskStatus(TaskState.RUNNING, "RUNNING", node="n2", elapsed_s=5.0)
    for status, at in ((running, "00:10:00"), (running, "00:10:02"), (QUEUED, "00:12:00"),
                       (again, "00:20:00"), (again, "00:20:01")):  # fmt: skip
        state, _ = reconcile(state, Facts({"t": [status]}, {}, {}, f"2026-01-01T{at}+00:00"))

    (task,) = state.jobs["t"].tasks
    assert [(start.node, start.elapsed_s) for start in task.earlier] == [("n1", 220.0)]
    told = (Incarnation(scheduler_state="PREEMPTED", node="n1", elapsed_s=101.0),)
    end = dataclasses.replace(ended("COMPLETED"), earlier=told)
    state, _ = reconcile(state, Facts({"t": [end]}, {KEY: DONE}, {}, AT))
    assert state.jobs["t"].tasks[0].earlier == told


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
