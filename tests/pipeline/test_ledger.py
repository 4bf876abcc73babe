"""Every hour of every attempt is booked once, under what came of it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.failures.kinds import FailureClass
from pipeline.ledger import DEVICE_HOURS, GPU_HOURS, Account, ledger, summed, words
from pipeline.state import (
    Incarnation,
    JobRecord,
    PhaseRecord,
    RunFailure,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)

F = FailureClass
KEYS = ("p/a", "p/b")
AT = "2026-01-01T10:00:00+00:00"


def run(status: RunStatus = RunStatus.DONE, job: str | None = "new", **known: object) -> RunRecord:
    """A run of phase p."""
    return RunRecord(phase="p", condition="a", seed=0, config_digest="0" * 64, status=status,
                     job=job, task=0 if job else None, **known)  # type: ignore[arg-type]  # fmt: skip


def ended(elapsed_s: float | None, kind: FailureClass | None = None, **known: object) -> TaskRecord:
    """A task of both runs that ended, both failed for a kind if one is given."""
    failures = tuple(RunFailure(run=k, kind=kind, evidence="") for k in KEYS if kind)
    return TaskRecord(runs=KEYS, state=TaskState.ENDED, node="n1", elapsed_s=elapsed_s,
                      failures=failures, **known)  # type: ignore[arg-type]  # fmt: skip


def account_of(old: TaskRecord, new: TaskRecord | None, *runs: RunRecord, gpus: int = 2) -> Account:
    """The only account of a study with an old attempt and a new one."""
    jobs = {
        name: JobRecord(phase="p", profile="x", backend="slurm", tasks=(task,), job_id="1",
                        submitted_at=AT, gpus=gpus)
        for name, task in (("old", old), ("new", new)) if task is not None
    }  # fmt: skip
    state = State(study="s", study_digest="0" * 64, profile="x",
                  phases={"p": PhaseRecord(kind="pilot")}, runs=dict(zip(KEYS, runs, strict=True)),
                  jobs=jobs)  # fmt: skip
    (account,) = ledger(state, AT)
    return account


def test_a_failed_attempt_and_the_useful_one_after_it() -> None:
    """Elapsed times GPUs, an hour of two GPUs being two GPU-hours."""
    account = account_of(ended(1800, F.NODE_FAILURE), ended(3600), run(), run())

    assert account.unit == GPU_HOURS
    assert account.hours == {
        "useful": 2.0, "failed": 1.0, "duplicated": 0.0, "preempted": 0.0, "running": 0.0,
    }  # fmt: skip


def test_a_piece_that_was_gone_on_from_is_useful_and_a_preempted_one_is_named() -> None:
    """A limit or a pause loses nothing where the next piece resumed; preemption is apart."""
    limited = account_of(ended(3600, F.TIME_LIMIT), ended(3600), run(resumed=True), run())
    assert (limited.hours["useful"], limited.hours["failed"]) == (3.0, 1.0)
    paused = account_of(ended(3600, F.PAUSED), ended(3600), run(resumed=True), run())
    assert paused.hours == limited.hours
    preempted = account_of(ended(3600, F.PREEMPTED), ended(3600), run(), run())
    assert preempted.hours["preempted"] == 2.0


def test_requeued_starts_and_attempts_that_were_replaced() -> None:
    """Starts before the last count too; a task that was given up but ran is a duplicate."""
    start = Incarnation(scheduler_state="PREEMPTED", elapsed_s=1800)
    gone = ended(3600, F.KILLED_WITHOUT_TRACE, scheduler_state="GONE")
    account = account_of(gone, ended(3600, earlier=(start,)), run(), run())

    assert (account.hours["preempted"], account.hours["duplicated"]) == (1.0, 2.0)


def test_what_runs_now_counts_up_to_now_and_unknown_lengths_are_counted() -> None:
    """No attempt is left out in silence; one that never ran took nothing."""
    now = TaskRecord(runs=KEYS, state=TaskState.RUNNING, started_at="2026-01-01T09:00:00+00:00")
    state_runs = (run(RunStatus.RUNNING), run(RunStatus.RUNNING))
    account = account_of(ended(None, F.KILLED_WITHOUT_TRACE), now, *state_runs, gpus=0)

    assert account.unit == DEVICE_HOURS
    assert (account.hours["running"], account.untimed) == (1.0, 1)
    assert words(account) == "1 device-hours (no GPU): 1 running, 1 of unknown length"
    never = replace(ended(None, F.NEVER_STARTED), node=None)
    assert account_of(never, now, *state_runs).untimed == 0


@given(
    st.floats(0, 1e6),
    st.sampled_from([None, *FailureClass]),
    st.integers(0, 8),
    st.booleans(),
)
def test_every_hour_is_booked_once(
    elapsed_s: float, kind: FailureClass | None, gpus: int, resumed: bool
) -> None:
    """Whatever came of it, the columns add up to elapsed times devices."""
    account = account_of(ended(elapsed_s, kind), ended(60), run(resumed=resumed), run(), gpus=gpus)

    expected = (elapsed_s + 60) * max(1, gpus) / 3600
    assert abs(account.total - expected) <= 1e-9 * max(1.0, expected)
    assert summed([account, account])[0].total == 2 * account.total
