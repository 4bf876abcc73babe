"""What a person decides against the rule: to do without failed runs, to go through a closed gate.

Pure: state in; state, events and words out. The report shows every decision.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.errors import PipelineError
from pipeline.gates import overridden
from pipeline.reconcile import Event, counts
from pipeline.state import RunStatus, State
from pipeline.words import count


@dataclass(frozen=True)
class Decisions:
    """What was decided on the command line."""

    accept_failed: bool = False
    """The current phase is analysed without its failed runs, for good."""
    overrides: tuple[str, ...] = ()
    """Closed gates and raised alarms to go on in spite of."""
    reason: str = ""
    """Why they are overridden."""


NO_DECISION = Decisions()


def decided(
    state: State, phases: Iterable[str], decisions: Decisions, at: str
) -> tuple[State, list[Event], list[str]]:
    """The state after the decisions, what to journal, and what to say.

    Args:
        state: brought up to date.
        phases: those of the study, in its order.
        decisions: what a person decided.
        at: when, in UTC.

    Raises:
        PipelineError: there is nothing of the kind to decide.
    """
    events: list[Event] = []
    said: list[str] = []
    if decisions.accept_failed:
        state, event, line = _without_failed(state, phases)
        events.append(event)
        said.append(line)
    if decisions.overrides:
        state, phase, records = overridden(state, decisions.overrides, decisions.reason, at)
        for record in records:
            named = {"event": "gate overridden", "phase": phase, "gate": record.gate}
            events.append({**named, "reason": record.reason})
            said.append(f"{phase}: goes on in spite of {record.gate}, as decided")
    return state, events, said


def is_complete(state: State, phase: str) -> bool:
    """True when no run of the phase can bring anything more."""
    if state.phases[phase].awaits is not None:
        return False
    ended = {RunStatus.DONE}
    if state.phases[phase].accepted_failed:
        ended.add(RunStatus.FAILED)
    return all(run.status in ended for run in state.runs_of(phase).values())


def _without_failed(state: State, phases: Iterable[str]) -> tuple[State, Event, str]:
    """Take the failed runs of the current phase as missing.

    Raises:
        PipelineError: nothing failed, or runs of the phase may still bring a result.
    """
    phase = next((name for name in phases if not is_complete(state, name)), None)
    runs = state.runs_of(phase) if phase else {}
    failed = [key for key, run in runs.items() if run.status is RunStatus.FAILED]
    waiting = len(runs) - len(failed) - counts(runs.values())["done"]
    if phase is None or not failed:
        raise PipelineError("no phase waits for failed runs; there is nothing to accept")
    if waiting:
        raise PipelineError(
            f"{phase}: {count(waiting, 'run')} may still bring a result; "
            "accept what failed when they have ended"
        )
    record = replace(state.phases[phase], accepted_failed=True)
    state = replace(state, phases={**state.phases, phase: record})
    event = {"event": "accepted failed", "phase": phase, "runs": failed}
    return state, event, f"{phase}: goes on without {count(len(failed), 'failed run')}, as decided"
