"""The phase machine: one step of a study, in words a user reads.

Under the lock: learn what happened, analyse what is complete, submit what comes next. Doing it
twice in a row changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from pipeline import canary
from pipeline.cancel import end_tasks
from pipeline.decisions import NO_DECISION, Decisions, decided, is_complete
from pipeline.errors import PipelineError
from pipeline.failures.recovery import recovered, stopping
from pipeline.failures.stalls import stalls
from pipeline.gates import closed_gates, evaluate
from pipeline.lock import exclusive
from pipeline.needs import requests
from pipeline.outline import forecast
from pipeline.plan import RunSpec
from pipeline.provenance import now
from pipeline.publish import outputs_exist, publish
from pipeline.select import selected
from pipeline.site import Site, fresh
from pipeline.state import GateRecord, State
from pipeline.step import (
    Step,
    closed_events,
    input_digest,
    look,
    save,
    stopped_line,
    waiting,
)
from pipeline.submit import submit_runs
from pipeline.words import count

OnWait = Callable[[str], None]


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
        step = look(site)
        _decide(site, step, decisions)
        _end_stalled(site, step)
        recover(site, step)
        _carry_on(site, step, escort)
        _freeze(site, step)
        if step.state.report_due:
            publish(site.workspace, site.study, step.state)
            save(site, step, replace(step.state, report_due=False), [])
        if escort is not None:
            escort.leave(site, step)
        return step


def recover(site: Site, step: Step) -> None:
    """Do about failed runs what the policy says."""
    policy, walltime_min = site.profile.failures, site.profile.walltime_min
    recovery = recovered(step.state, policy, walltime_min, now())
    if recovery.state != step.state:
        save(site, step, recovery.state, recovery.events)
    step.did += recovery.told


def _end_stalled(site: Site, step: Step) -> None:
    """End silent tasks, where the policy says so; they fail as stalled."""
    if not site.profile.failures.cancel_stalled:
        return
    tasks: dict[str, list[int]] = {}
    for stall in stalls(site.workspace, step.state):
        tasks.setdefault(stall.token, []).append(stall.index)
    if tasks:
        ended = end_tasks(site.workspace, site.store, step.state, tasks, "stall")
        save(site, step, ended.state, ended.events)


def _decide(site: Site, step: Step, decisions: Decisions) -> None:
    """Write down what a person decided; the report is to say so."""
    if decisions.accept_failed:
        _refuse_behind_canary(site, step.state)
    state, events, said = decided(step.state, site.study.file.phases, decisions, now())
    if events:
        save(site, step, replace(state, report_due=True), events)
        step.did += said


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
    save(site, step, frozen, [{"event": "plan frozen", "digest": frozen.frozen_plan}])
    step.did.append("froze the analysis plan: a later change of it will mark the verdicts")


def _analyse(site: Site, step: Step, phase: str) -> None:
    """Analyse and report a complete phase, unless that was done for this very input."""
    digest = input_digest(site, step.state, phase)
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
    state = replace(state, report_due=False)
    events = [{"event": "analysed", "phase": phase, "input": digest}]
    save(site, step, state, [*events, *made, *closed_events(phase, gates)])
    step.did.append(f"{phase}: all runs are in; analysed them and rendered RESULTS.md")
    step.did += [f"{phase}: selected {event['cell']}" for event in made]


def _evaluated(site: Site, state: State, phase: str) -> tuple[GateRecord, ...]:
    """What the gates of a complete phase come to."""
    from pipeline.analyse import plan_of  # imports scipy
    from pipeline.collect import table_of

    table = table_of(site.workspace, site.study, state, phase)
    return evaluate(site.study.file.phases[phase].gates, table, plan_of(site.study))


def _submit(site: Site, step: Step, phase: str, escort: Escort | None) -> None:
    planned = waiting(site, step.state, phase)
    if planned and (stopped := stopping(step.state, phase)):
        step.notes.append(stopped_line(phase, stopped))
        return
    released = _let_go(site, step, phase, planned)
    if released and escort is not None:
        escort.before_submission(site, step)
    for request in requests(site.profile, step.state, released):
        there = replace(site, profile=request.profile)
        batch = submit_runs(there, step.state, phase, request.runs)
        step.state = batch.state
        step.notes += batch.notes
        if batch.tasks:
            arrays = f", {batch.jobs} arrays" if 1 < batch.jobs < batch.tasks else ""
            sent = [run for run in request.runs if step.state.runs[run.key].job is not None]
            step.did.append(
                f"{phase}: submitted {count(batch.runs, 'run')} in {count(batch.tasks, 'task')}"
                f"{arrays} ({forecast(there, step.state, sent, batch.tasks)})"
            )
        if batch.held:
            step.notes.append(
                f"{phase}: {count(batch.waiting, 'task')} held back, the scheduler admits no more "
                f"now ({batch.held}); the next advance goes on"
            )
            return


def _let_go(site: Site, step: Step, phase: str, planned: Sequence[RunSpec]) -> Sequence[RunSpec]:
    """Those of the planned runs that the phase's canary admits; what it shows is written down."""
    release = canary.admitted(site, step.state, phase, planned)
    if release.record != step.state.phases[phase]:
        state = replace(step.state, phases={**step.state.phases, phase: release.record})
        save(site, step, state, [{"event": "canary", "phase": phase, "told": release.told}])
    step.did += release.told
    return release.runs
