"""What every step of a study begins with: learn what happened, write it down, say it in words."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline import follow_up
from pipeline.alarms import alarms_of
from pipeline.digest import digest_of
from pipeline.learn import learned
from pipeline.ledger import ledger
from pipeline.plan import RunSpec, plan_phase
from pipeline.provenance import now
from pipeline.reconcile import Event
from pipeline.replan import replanned
from pipeline.site import Site
from pipeline.state import GateRecord, RunStatus, State
from pipeline.submit import settle_intents
from pipeline.words import and_more


@dataclass
class Step:
    """What one `advance` saw and did."""

    state: State
    did: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    began_at: str = field(default_factory=now)


def look(site: Site) -> Step:
    """Learn what happened since the last step, and write it down."""
    stored = site.store.load()
    state, events = replanned(site.study, site.profile_name, stored)
    state, settled = settle_intents(site.workspace, state)
    state, found = follow_up.settle(site.workspace, state)
    settled += found
    before = state
    state, seen = learned(site.workspace, state)
    ended = (RunStatus.DONE, RunStatus.FAILED)
    told_anew = stored is not None and ledger(state) != ledger(stored)
    if told_anew or any(event.get("to") in ended for event in seen):
        state = replace(state, report_due=True)
    step = Step(state, did=told(settled + seen), notes=_notes(site, state))
    if any(event["event"] == "study changed" for event in events):
        step.notes.append("study.toml was edited since the last advance: planned anew")
    if state != stored:
        save(site, step, state, events + settled + seen + _raised_events(before, state))
    return step


def save(site: Site, step: Step, state: State, events: Sequence[Event]) -> None:
    """Take a state for the step's, and write it and the events down."""
    step.state = state
    site.store.save(state)
    site.store.record(events)


def waiting(site: Site, state: State, phase: str) -> list[RunSpec]:
    """Runs of the phase that nobody has submitted yet, in the order of the plan."""
    return [
        spec
        for spec in plan_phase(site.study, phase, state.selections)
        if state.runs[spec.key].status is RunStatus.PLANNED
    ]


def input_digest(site: Site, state: State, phase: str) -> str:
    """Digest of all that the report of a phase is made from: its results and study.toml."""
    results = {key: run.result_digest for key, run in state.runs_of(phase).items()}
    return digest_of({"study": site.study.source_digest, "results": results})


def stopped_line(phase: str, stopped: Sequence[str]) -> str:
    """Why nothing more of a phase goes in."""
    return (
        f"{phase}: nothing more is submitted, {and_more(stopped[0], len(stopped) - 1, 'run')} "
        "failed for a cause that would strike the others too"
    )


def closed_events(phase: str, gates: Sequence[GateRecord]) -> list[Event]:
    """Events of the gates that did not pass."""
    return [
        {"event": "gate closed", "phase": phase, "gate": gate.name, "words": gate.words}
        for gate in gates
        if not gate.passed
    ]


def _raised_events(before: State, after: State) -> list[Event]:
    """Alarms that the latest results raise and those before did not."""
    events = []
    for phase in after.phases:
        known = alarms_of(before, phase) if phase in before.phases else ()
        events += closed_events(phase, [a for a in alarms_of(after, phase) if a not in known])
    return events


def _notes(site: Site, state: State) -> list[str]:
    notes = []
    stray = [
        key
        for key, run in state.runs.items()
        if not run.in_plan and run.status in (RunStatus.QUEUED, RunStatus.RUNNING)
    ]
    if stray:
        notes.append(
            f"{and_more(stray[0], len(stray) - 1, 'run')} queued or running, but study.toml no "
            "longer asks for it; will not be counted"
        )
    if state.frozen_plan is not None and state.frozen_plan != site.study.plan_digest():
        notes.append(
            "the analysis plan differs from the one frozen at "
            f"{state.plan_frozen_at}: every verdict will be marked POST-HOC"
        )
    return notes


def told(events: Sequence[Event]) -> list[str]:
    """Events of one look in words, runs of equal fate together."""
    lines = [
        f"found job {event['job_id']} again, submitted just before an interruption"
        for event in events
        if event["event"] == "adopted"
    ]
    for status, words in (("running", "started"), ("done", "finished"), ("failed", "failed")):
        keys = [event["run"] for event in events if event.get("to") == status]
        if keys:
            lines.append(f"{and_more(keys[0], len(keys) - 1, 'run')} {words}")
    return lines
