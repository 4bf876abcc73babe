"""The phase machine: one step of a study, in words a user reads.

Under the lock: learn what happened, analyse what is complete, submit what comes next. Doing it
twice in a row changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pipeline import canary
from pipeline.cancel import end_tasks
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.failures.recovery import recovered, stopping
from pipeline.failures.stalls import stalls
from pipeline.ledger import ledger
from pipeline.lock import exclusive
from pipeline.needs import bonds, requests
from pipeline.observe import observe
from pipeline.outline import forecast
from pipeline.plan import RunSpec, pack, plan_study
from pipeline.provenance import now
from pipeline.publish import outputs_exist, publish
from pipeline.reconcile import Event, counts, reconcile
from pipeline.replan import replanned
from pipeline.site import Site, fresh
from pipeline.state import RunRecord, RunStatus, State
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


def advance(site: Site, on_wait: OnWait = lambda _: None, *, accept_failed: bool = False) -> Step:
    """Carry the study one step on.

    Args:
        site: what to carry on; study.toml is read anew when it was edited.
        on_wait: told in words when another command holds the lock.
        accept_failed: let the current phase be analysed without its failed runs, for good.

    Raises:
        PipelineError: see the errors of loading, submitting and publishing.
    """
    with exclusive(site.workspace.lock_file, on_wait=on_wait):
        site = fresh(site)
        step = _look(site)
        if accept_failed:
            _accept_failed(site, step)
        _end_stalled(site, step)
        _recover(site, step)
        _carry_on(site, step)
        _freeze(site, step)
        if step.report_is_stale:
            publish(site.workspace, site.study, step.state)
        return step


def preview(site: Site) -> Step:
    """What `advance` would do now; nothing is written or submitted."""
    state, _ = replanned(site.study, site.profile_name, site.store.load())
    state, events = reconcile(state, observe(site.workspace, state))
    recovery = recovered(state, site.profile.failures, site.profile.walltime_min, now())
    state = recovery.state
    step = Step(state, did=[*_told(events), *(f"would act: {line}" for line in recovery.told)])
    for phase in site.study.file.phases:
        if _complete(state, phase):
            analysed = state.phases[phase].analysed == _input_digest(site, state, phase)
            if not (analysed and outputs_exist(site.workspace)):
                step.did.append(f"would analyse {phase} and render RESULTS.md")
            continue
        step.did += _would_submit(site, state, phase)
        break
    return step


def _would_submit(site: Site, state: State, phase: str) -> list[str]:
    if stopped := stopping(state, phase):
        return [_stopped_line(phase, stopped)]
    lines, free = [], free_places(site.profile, state)
    release = canary.admitted(site, state, phase, _waiting(site, state, phase))
    for request in requests(site.profile, state, release.runs):
        there = replace(site, profile=request.profile)
        tasks = pack(site.study, request.runs, request.profile.stack_size, bonds(state))
        admitted = tasks if free is None else tasks[:free]
        if not admitted:
            break
        free = None if free is None else free - len(admitted)
        runs = [run for task in admitted for run in task.runs]
        lines.append(
            f"would submit {count(len(runs), 'run')} of {phase} in "
            f"{count(len(admitted), 'task')} to profile {site.profile_name} "
            f"({forecast(there, state, runs, len(admitted))})"
        )
    return lines


def retry(
    site: Site,
    keys: Sequence[str],
    *,
    mem_gb: int | None = None,
    walltime_min: int | None = None,
) -> Step:
    """Plan failed runs anew, all of them when `keys` is empty; the next step submits them.

    Their tries are counted from the beginning: a person has looked.

    Args:
        site: what to work on.
        keys: runs by key or by run id.
        mem_gb: memory that their next attempts ask for.
        walltime_min: time that their next attempts ask for.

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
            runs[key] = _planned_again(runs[key], mem_gb, walltime_min)
            phase = runs[key].phase
            phases[phase] = replace(phases[phase], accepted_failed=False, retried_at=now())
        events = [{"event": "retry", "run": key} for key in chosen]
        _save(site, step, replace(step.state, runs=runs, phases=phases), events)
        step.did.append(f"{count(len(chosen), 'failed run')} planned again")
        return step


def _planned_again(run: RunRecord, mem_gb: int | None, walltime_min: int | None) -> RunRecord:
    return replace(
        run.moved(RunStatus.PLANNED),
        job=None,
        task=None,
        uncounted=run.tries,
        mem_gb=mem_gb or run.mem_gb,
        walltime_min=walltime_min or run.walltime_min,
        resumes=f"{run.job}/{run.task}",
    )


def _recover(site: Site, step: Step) -> None:
    """Do about failed runs what the policy says."""
    policy, walltime_min = site.profile.failures, site.profile.walltime_min
    recovery = recovered(step.state, policy, walltime_min, now())
    if recovery.state != step.state:
        _save(site, step, recovery.state, recovery.events)
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
        _save(site, step, ended.state, ended.events)


def _look(site: Site) -> Step:
    """Learn what happened since the last step, and write it down."""
    stored = site.store.load()
    state, events = replanned(site.study, site.profile_name, stored)
    state, settled = settle_intents(site.workspace, state)
    state, seen = reconcile(state, observe(site.workspace, state))
    step = Step(state, did=_told(settled + seen), notes=_notes(site, state))
    if any(event["event"] == "study changed" for event in events):
        step.notes.append("study.toml was edited since the last advance: planned anew")
    if state != stored:
        _save(site, step, state, events + settled + seen)
    ended = (RunStatus.DONE, RunStatus.FAILED)
    told_anew = stored is not None and ledger(state) != ledger(stored)
    step.report_is_stale = told_anew or any(event.get("to") in ended for event in seen)
    return step


def _save(site: Site, step: Step, state: State, events: Sequence[Event]) -> None:
    step.state = state
    site.store.save(state)
    site.store.record(events)


def _accept_failed(site: Site, step: Step) -> None:
    """Take the failed runs of the current phase as missing: a person's decision, recorded.

    Raises:
        PipelineError: nothing failed, or runs of the phase may still bring a result.
    """
    phase = next((p for p in site.study.file.phases if not _complete(step.state, p)), None)
    runs = step.state.runs_of(phase) if phase else {}
    failed = [key for key, run in runs.items() if run.status is RunStatus.FAILED]
    waiting = len(runs) - len(failed) - counts(runs.values())["done"]
    if phase is None or not failed:
        raise PipelineError("no phase waits for failed runs; there is nothing to accept")
    if held := canary.held_words(site.workspace, step.state, phase):
        raise PipelineError(
            f"{held}; mend the cause and `pipeline retry`, or set canary = false in "
            f"[phases.{phase}] of study.toml to submit the others all the same"
        )
    if waiting:
        raise PipelineError(
            f"{phase}: {count(waiting, 'run')} may still bring a result; "
            "accept what failed when they have ended"
        )
    record = replace(step.state.phases[phase], accepted_failed=True)
    state = replace(step.state, phases={**step.state.phases, phase: record})
    _save(site, step, state, [{"event": "accepted failed", "phase": phase, "runs": failed}])
    step.did.append(f"{phase}: goes on without {count(len(failed), 'failed run')}, as decided")


def _carry_on(site: Site, step: Step) -> None:
    """Walk the phases in order; each must be complete and analysed before the next begins."""
    for phase in site.study.file.phases:
        if not _complete(step.state, phase):
            _submit(site, step, phase)
            return
        _analyse(site, step, phase)


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
    analysed = replace(record, analysed=digest, completed_at=record.completed_at or now())
    state = replace(step.state, phases={**step.state.phases, phase: analysed})
    publish(site.workspace, site.study, state)
    step.report_is_stale = False
    _save(site, step, state, [{"event": "analysed", "phase": phase, "input": digest}])
    step.did.append(f"{phase}: all runs are in; analysed them and rendered RESULTS.md")


def _submit(site: Site, step: Step, phase: str) -> None:
    waiting = _waiting(site, step.state, phase)
    if waiting and (stopped := stopping(step.state, phase)):
        step.notes.append(_stopped_line(phase, stopped))
        return
    released = _let_go(site, step, phase, waiting)
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


def _stopped_line(phase: str, stopped: Sequence[str]) -> str:
    return (
        f"{phase}: nothing more is submitted, {and_more(stopped[0], len(stopped) - 1, 'run')} "
        "failed for a cause that would strike the others too"
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
        for key, spec in plan_study(site.study).items()
        if spec.phase == phase and state.runs[key].status is RunStatus.PLANNED
    ]


def _complete(state: State, phase: str) -> bool:
    """True when no run of the phase can bring anything more."""
    ended = {RunStatus.DONE}
    if state.phases[phase].accepted_failed:
        ended.add(RunStatus.FAILED)
    return all(run.status in ended for run in state.runs_of(phase).values())


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
