"""The rules of a rebuilt state: whose run it is, and what people had decided."""

import random
from dataclasses import replace

from pipeline.doctor.rebuild import Found, adopted, with_decisions
from pipeline.remains import Remains
from pipeline.results import RunEntry
from pipeline.state import RunStatus, TaskState
from tests.pipeline.states import a_state


def remains(token: str, made_at: str) -> Remains:
    """A submission of one task with one run of `a_state`."""
    entry = RunEntry(run_id="a-s1", condition="a", seed=1, config={}, config_digest="d" * 64)
    key = "multiseed/a-s1"
    return Remains(token, "multiseed", "slurm", made_at, ((key,),), {key: entry})


def test_of_two_submissions_that_claim_a_run_the_newest_has_it_and_both_are_tracked() -> None:
    """Whatever the order in which they are found."""
    old = Found(remains("older", "2026-01-23T11:00:00+00:00"), "7", "a100", {})
    new = Found(remains("newer", "2026-01-23T12:00:00+00:00"), "8", "a100", {})
    oldest = Found(remains("oldest", "2026-01-23T09:00:00+00:00"), "6", "a100", {})
    found = [old, new, oldest]
    random.Random(1).shuffle(found)

    state = adopted(a_state(), found)

    run = state.runs["multiseed/a-s1"]
    assert (run.job, run.status, run.tries) == ("newer", RunStatus.QUEUED, 3)
    assert list(state.jobs) == ["oldest", "t0k3n", "older", "newer"]
    assert {task.state for job in state.jobs.values() for task in job.tasks} == {
        TaskState.QUEUED,
        TaskState.RUNNING,
    }


def test_a_run_that_is_done_stays_so_whoever_claims_it() -> None:
    """Its result was accepted."""
    key = "multiseed/a-s3"
    late = replace(
        remains("newer", "2026-01-23T12:00:00+00:00"),
        tasks=((key,),),
        runs={key: remains("x", "").runs["multiseed/a-s1"]},
    )

    state = adopted(a_state(), [Found(late, "8", "a100", {})])

    assert state.runs[key] == replace(a_state().runs[key], tries=1)
    assert "newer" in state.jobs


def test_decisions_are_read_from_the_journal() -> None:
    """Overrides, accepted failures and the freeze; what was retried later is accepted no more."""
    at = "2026-01-23T12:00:00+00:00"
    gate: dict[str, object] = {
        "at": at,
        "event": "gate overridden",
        "phase": "multiseed",
        "gate": "g",
        "reason": "r",
    }
    events: list[dict[str, object]] = [
        {"at": at, "event": "plan frozen", "digest": "d" * 64},
        gate,
        {"at": at, "event": "accepted failed", "phase": "multiseed", "runs": []},
        {"event": "accepted failed", "phase": "gone"},
        {"event": 7},
    ]

    state = with_decisions(with_decisions(a_state(), events), events)

    phase = state.phases["multiseed"]
    assert (state.frozen_plan, state.plan_frozen_at) == ("d" * 64, at)
    assert [(made.gate, made.reason, made.at) for made in phase.overrides] == [("g", "r", at)]
    assert phase.accepted_failed
    retried = with_decisions(state, [{"at": at, "event": "retry", "run": "multiseed/a-s1"}])
    assert not retried.phases["multiseed"].accepted_failed
