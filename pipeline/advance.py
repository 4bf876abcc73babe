"""The phase machine: one step of a study, in words a user reads.

Under the lock: learn what happened, analyse what is complete, submit what comes next. Doing it
twice in a row changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline import canary, follow_up
from pipeline.alarms import alarms_of
from pipeline.decisions import NO_DECISION, Decisions, decided, is_complete
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.gates import closed_gates, evaluate
from pipeline.lock import exclusive
from pipeline.observe import observe
from pipeline.plan import RunSpec, pack, plan_phase
from pipeline.provenance import now
from pipeline.publish import outputs_exist, publish
from pipeline.reconcile import Event, reconcile
from pipeline.replan import replanned
from pipeline.select import selected
from pipeline.site import Site, fresh
from pipeline.state import GateRecord, RunStatus, State
from pipeline.submit import free_places, settle_intents, submit_runs
from pipeline.words import and_more, count

OnWait = Callable[[str], None]


@dataclass
class Step:
    """What one `advance` saw and did."""

    state: State
    did: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    report_is_stale: bool = False
    """True while RESULTS.md does not know of runs that have ended."""
    began_at: str = field(default_factory=now)


class Escort(Protocol):
    """Goes along with a step, under its lock (see `pipeline.auto`)."""

    def admit(self, state: State | None) -> None:
        """Raise, before anything is done, when the step is not to be taken."""

    def before_submission(self, site: Site, step: Step) -> None:
        """Called before tasks are submitted."""

    def leave(self, site: Site, step: Step) -> None:
        """Called when all that the step could do is done."""


def advance(
    site: Site,
    on_wait: OnWait = lambda _: None,
    decisions: Decisions = NO_DECISION,
    escort: Escort | None = None,
) -> Step:
    """Carry the study one step on.

    Args:
        site: what to carry on; study.toml is read anew when it was edited.
        on_wait: told in words when another command holds the lock.
        decisions: what a person decided on runs that failed and gates that are closed.
        escort: goes along with the step.

    Raises:
        PipelineError: see the errors of loading, submitting and publishing.
    """
    with exclusive(site.workspace.lock_file, on_wait=on_wait):
        if escort is not None:
            escort.admit(site.store.load())
        site = fresh(site)
        step = _look(site)
        _decide(site, step, decisions)
        _carry_on(site, step, escort)
        _freeze(site, step)
        if step.report_is_stale:
            publish(site.workspace, site.study, step.state)
        if escort is not None:
            escort.leave(site, step)
        return step


def preview(site: Site) -> Step:
    """What `advance` would do now; nothing is written or submitted."""
    state, _ = replanned(site.study, site.profile_name, site.store.load())
    state, events = reconcile(state, observe(site.workspace, state))
    step = Step(state, did=_told(events))
    for phase in site.study.file.phases:
        if is_complete(state, phase):
            analysed = state.phases[phase].analysed == _input_digest(site, state, phase)
            if not (analysed and outputs_exist(site.workspace)):
                step.did.append(f"would analyse {phase} and render RESULTS.md")
        if closed_gates(state, phase):
            break
        if is_complete(state, phase):
            continue
        release = canary.admitted(site, state, phase, _waiting(site, state, phase))
        tasks = pack(site.study, release.runs, site.profile.stack_size)
        free = free_places(site.profile, state)
        admitted = tasks if free is None else tasks[:free]
        if admitted:
            runs = sum(len(task.runs) for task in admitted)
            step.did.append(
                f"would submit {count(runs, 'run')} of {phase} in "
                f"{count(len(admitted), 'task')} to profile {site.profile_name}"
            )
        break
    return step


def retry(site: Site, keys: Sequence[str]) -> Step:
    """Plan failed runs anew, all of them when `keys` is empty; the next step submits them.

    Raises:
        PipelineError: a key names no failed run.
    """
    with exclusive(site.workspace.lock_file):
        site = fresh(site)
        step = _look(site)
        failed = [
            key
            for key, run in step.state.runs.items()
            if run.status is RunStatus.FAILED and run.in_plan
        ]
        chosen = [_named(key, failed) for key in keys] or failed
        if not chosen:
            raise PipelineError("no run has failed; there is nothing to retry")
        runs, phases = dict(step.state.runs), dict(step.state.phases)
        for key in chosen:
            runs[key] = replace(runs[key].moved(RunStatus.PLANNED), job=None, task=None)
            phase = runs[key].phase
            phases[phase] = replace(phases[phase], accepted_failed=False)
        events = [{"event": "retry", "run": key} for key in chosen]
        _save(site, step, replace(step.state, runs=runs, phases=phases), events)
        step.did.append(f"{count(len(chosen), 'failed run')} planned again")
        return step


def _look(site: Site) -> Step:
    """Learn what happened since the last step, and write it down."""
    stored = site.store.load()
    state, events = replanned(site.study, site.profile_name, stored)
    state, settled = settle_intents(site.workspace, state)
    state, found = follow_up.settle(site.workspace, state)
    settled += found
    before = state
    state, seen = reconcile(state, observe(site.workspace, state))
    step = Step(state, did=_told(settled + seen), notes=_notes(site, state))
    if any(event["event"] == "study changed" for event in events):
        step.notes.append("study.toml was edited since the last advance: planned anew")
    if state != stored:
        _save(site, step, state, events + settled + seen + _raised_events(before, state))
    ended = (RunStatus.DONE, RunStatus.FAILED)
    step.report_is_stale = any(event.get("to") in ended for event in seen)
    return step


def _save(site: Site, step: Step, state: State, events: Sequence[Event]) -> None:
    step.state = state
    site.store.save(state)
    site.store.record(events)


def _decide(site: Site, step: Step, decisions: Decisions) -> None:
    """Write down what a person decided; the report is to say so."""
    if decisions.accept_failed:
        _refuse_behind_canary(site, step.state)
    state, events, said = decided(step.state, site.study.file.phases, decisions, now())
    if events:
        _save(site, step, state, events)
        step.did += said
        step.report_is_stale = True


def _refuse_behind_canary(site: Site, state: State) -> None:
    """A phase whose first task failed has runs that were never tried: nothing to accept yet.

    Raises:
        PipelineError: the current phase is held by its canary.
    """
    phase = next((name for name in site.study.file.phases if not is_complete(state, name)), None)
    if phase and (held := canary.held_words(site.workspace, state, phase)):
        raise PipelineError(
            f"{held}; mend the cause and `pipeline retry`, or set canary = false in "
            f"[phases.{phase}] of study.toml to submit the others all the same"
        )


def _carry_on(site: Site, step: Step, escort: Escort | None) -> None:
    """Walk the phases in order; each must be analysed, its gates open, before the next begins."""
    for phase in site.study.file.phases:
        complete = is_complete(step.state, phase)
        if complete:
            _analyse(site, step, phase)
        if closed_gates(step.state, phase):
            return
        if not complete:
            _submit(site, step, phase, escort)
            return


def _freeze(site: Site, step: Step) -> None:
    """Fix the analysis plan once a confirmatory run has been submitted.

    The plan that counts is the one this step began with: nobody edits it between, and a
    submission that an earlier step left without its freeze shows by its earlier time.
    """
    state = step.state
    confirmatory = [
        run
        for run in state.runs.values()
        if run.tries and run.in_plan and state.phases[run.phase].confirmatory
    ]
    if state.frozen_plan is not None or not confirmatory:
        return
    frozen = replace(state, frozen_plan=site.study.plan_digest(), plan_frozen_at=step.began_at)
    _save(site, step, frozen, [{"event": "plan frozen", "digest": frozen.frozen_plan}])
    step.did.append("froze the analysis plan: a later change of it will mark the verdicts")


def _analyse(site: Site, step: Step, phase: str) -> None:
    """Analyse and report a complete phase, unless that was done for this very input."""
    digest = _input_digest(site, step.state, phase)
    record = step.state.phases[phase]
    if record.analysed == digest and outputs_exist(site.workspace):
        return
    gates = _evaluated(site, step.state, phase)
    analysed = replace(
        record, analysed=digest, completed_at=record.completed_at or now(), gates=gates
    )
    state = replace(step.state, phases={**step.state.phases, phase: analysed})
    state, made = selected(site, state, phase)
    publish(site.workspace, site.study, state)
    step.report_is_stale = False
    events = [{"event": "analysed", "phase": phase, "input": digest}]
    _save(site, step, state, [*events, *made, *_closed_events(phase, gates)])
    step.did.append(f"{phase}: all runs are in; analysed them and rendered RESULTS.md")
    step.did += [f"{phase}: selected {event['cell']}" for event in made]


def _evaluated(site: Site, state: State, phase: str) -> tuple[GateRecord, ...]:
    """What the gates of a complete phase come to."""
    from pipeline.analyse import plan_of  # imports scipy
    from pipeline.collect import table_of

    table = table_of(site.workspace, site.study, state, phase)
    return evaluate(site.study.file.phases[phase].gates, table, plan_of(site.study))


def _closed_events(phase: str, gates: Sequence[GateRecord]) -> list[Event]:
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
        events += _closed_events(phase, [a for a in alarms_of(after, phase) if a not in known])
    return events


def _submit(site: Site, step: Step, phase: str, escort: Escort | None) -> None:
    waiting = _let_go(site, step, phase, _waiting(site, step.state, phase))
    if not waiting:
        return
    if escort is not None:
        escort.before_submission(site, step)
    batch = submit_runs(site, step.state, phase, waiting)
    step.state = batch.state
    step.notes += batch.notes
    if batch.tasks:
        arrays = f", {batch.jobs} arrays" if 1 < batch.jobs < batch.tasks else ""
        step.did.append(
            f"{phase}: submitted {count(batch.runs, 'run')} in {count(batch.tasks, 'task')}{arrays}"
        )
    if batch.held:
        step.notes.append(
            f"{phase}: {count(batch.waiting, 'task')} held back, the scheduler admits no more now "
            f"({batch.held}); the next advance goes on"
        )


def _let_go(site: Site, step: Step, phase: str, waiting: Sequence[RunSpec]) -> Sequence[RunSpec]:
    """Those of the waiting runs that the phase's canary admits; what it shows is written down."""
    release = canary.admitted(site, step.state, phase, waiting)
    if release.record != step.state.phases[phase]:
        state = replace(step.state, phases={**step.state.phases, phase: release.record})
        _save(site, step, state, [{"event": "canary", "phase": phase, "told": release.told}])
    step.did += release.told
    return release.runs


def _waiting(site: Site, state: State, phase: str) -> list[RunSpec]:
    """Runs of the phase that nobody has submitted yet, in the order of the plan."""
    return [
        spec
        for spec in plan_phase(site.study, phase, state.selections)
        if state.runs[spec.key].status is RunStatus.PLANNED
    ]


def _input_digest(site: Site, state: State, phase: str) -> str:
    """Digest of all that the report of a phase is made from: its results and study.toml."""
    results = {key: run.result_digest for key, run in state.runs_of(phase).items()}
    return digest_of({"study": site.study.source_digest, "results": results})


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


def _told(events: Sequence[Event]) -> list[str]:
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


def _named(key: str, failed: Sequence[str]) -> str:
    """The failed run that a user means by its key or its run id alone."""
    found = [name for name in failed if key in (name, name.partition("/")[2])]
    if not found:
        raise PipelineError(f'no failed run is called "{key}"; `pipeline status` lists them')
    return found[0]
