"""The phase machine: one step of a study, in words a user reads.

Under the lock: learn what happened, analyse what is complete, submit what comes next. Doing it
twice in a row changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.lock import exclusive
from pipeline.observe import observe
from pipeline.plan import RunSpec, pack, plan_study
from pipeline.provenance import now
from pipeline.publish import publish
from pipeline.reconcile import Event, reconcile
from pipeline.replan import replanned
from pipeline.scheduler import scheduler_for
from pipeline.site import Site
from pipeline.state import RunStatus, State
from pipeline.submit import free_places, settle_intents, submit_runs

OnWait = Callable[[str], None]


@dataclass
class Step:
    """What one `advance` saw and did."""

    state: State
    did: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def advance(site: Site, on_wait: OnWait = lambda _: None) -> Step:
    """Carry the study one step on.

    Raises:
        PipelineError: see the errors of loading, submitting and publishing.
    """
    with exclusive(site.workspace.state_dir / "lock", on_wait=on_wait):
        step = _look(site)
        _carry_on(site, step)
        return step


def preview(site: Site) -> Step:
    """What `advance` would do now; nothing is written or submitted."""
    state, _ = replanned(site, site.store.load())
    state, events = reconcile(state, observe(site.workspace, state))
    step = Step(state, did=_told(events))
    for phase in site.study.file.phases:
        if _complete(state, phase):
            if state.phases[phase].analysed != _input_digest(site, state, phase):
                step.did.append(f"would analyse {phase} and render RESULTS.md")
            continue
        tasks = pack(site.study, _waiting(site, state, phase), site.profile.stack_size)
        free = free_places(site.profile, state)
        admitted = tasks if free is None else tasks[:free]
        if admitted:
            runs = sum(len(task.runs) for task in admitted)
            step.did.append(
                f"would submit {runs} runs of {phase} in {len(admitted)} tasks "
                f"to profile {site.profile_name}"
            )
        break
    return step


def retry(site: Site, keys: Sequence[str]) -> Step:
    """Plan failed runs anew, all of them when `keys` is empty; the next step submits them.

    Raises:
        PipelineError: a key names no failed run.
    """
    with exclusive(site.workspace.state_dir / "lock"):
        step = _look(site)
        failed = [
            key
            for key, run in step.state.runs.items()
            if run.status is RunStatus.FAILED and run.in_plan
        ]
        chosen = [_named(key, failed) for key in keys] or failed
        if not chosen:
            raise PipelineError("no run has failed; there is nothing to retry")
        runs = dict(step.state.runs)
        for key in chosen:
            runs[key] = replace(runs[key].moved(RunStatus.PLANNED), job=None, task=None)
        events = [{"event": "retry", "run": key} for key in chosen]
        _save(site, step, replace(step.state, runs=runs), events)
        step.did.append(f"{len(chosen)} failed runs are planned again")
        return step


def cancel(site: Site) -> Step:
    """End everything queued or running; its runs count as failed until they are retried.

    Raises:
        SchedulerUnreachableError: a scheduler does not answer; nothing was changed.
    """
    with exclusive(site.workspace.state_dir / "lock"):
        step = _look(site)
        live = {token: job for token, job in step.state.live_jobs().items() if job.job_id}
        for backend in sorted({job.backend for job in live.values()}):
            jobs = {token: job for token, job in live.items() if job.backend == backend}
            scheduler_for(backend).cancel(jobs)
        waiting = (RunStatus.QUEUED, RunStatus.RUNNING)
        ended = {
            key: run.moved(RunStatus.FAILED, "cancelled with `pipeline cancel`")
            for key, run in step.state.runs.items()
            if run.status in waiting and run.job in live
        }
        events = [{"event": "cancelled", "run": key} for key in ended]
        _save(site, step, replace(step.state, runs={**step.state.runs, **ended}), events)
        step.did.append(f"cancelled {len(live)} jobs with {len(ended)} unfinished runs")
        return step


def _look(site: Site) -> Step:
    """Learn what happened since the last step, and write it down."""
    stored = site.store.load()
    state, events = replanned(site, stored)
    state, settled = settle_intents(site.workspace, state)
    state, seen = reconcile(state, observe(site.workspace, state))
    step = Step(state, did=_told(settled + seen), notes=_notes(site, state))
    if any(event["event"] == "study changed" for event in events):
        step.notes.append("study.toml was edited since the last advance: planned anew")
    if state != stored:
        _save(site, step, state, events + settled + seen)
    return step


def _save(site: Site, step: Step, state: State, events: Sequence[Event]) -> None:
    step.state = state
    site.store.save(state)
    site.store.record(events)


def _carry_on(site: Site, step: Step) -> None:
    """Walk the phases in order; each must be complete and analysed before the next begins."""
    for phase in site.study.file.phases:
        if not _complete(step.state, phase):
            _submit(site, step, phase)
            return
        _analyse(site, step, phase)


def _analyse(site: Site, step: Step, phase: str) -> None:
    """Analyse and report a complete phase, unless that was done for this very input."""
    digest = _input_digest(site, step.state, phase)
    record = step.state.phases[phase]
    if record.analysed == digest and site.workspace.report_file.exists():
        return
    analysed = replace(record, analysed=digest, completed_at=record.completed_at or now())
    state = replace(step.state, phases={**step.state.phases, phase: analysed})
    publish(site.workspace, site.study, state)
    _save(site, step, state, [{"event": "analysed", "phase": phase, "input": digest}])
    step.did.append(f"{phase}: all runs are in; analysed them and rendered RESULTS.md")


def _submit(site: Site, step: Step, phase: str) -> None:
    waiting = _waiting(site, step.state, phase)
    if not waiting:
        return
    state = step.state
    freezes = site.study.file.phases[phase].confirmatory and state.frozen_plan is None
    if freezes:
        state = replace(state, frozen_plan=site.study.plan_digest(), plan_frozen_at=now())
    batch = submit_runs(site, state, phase, waiting)
    if not batch.tasks and not batch.held:
        return  # no free place: nothing was tried, nothing was saved
    step.state = batch.state
    if freezes:
        step.did.append("froze the analysis plan: a later change of it will mark the verdicts")
    if batch.tasks:
        step.did.append(f"{phase}: submitted {batch.runs} runs in {batch.tasks} tasks")
    if batch.held:
        step.notes.append(
            f"{phase}: {batch.waiting} tasks are held back, the scheduler admits no more now "
            f"({batch.held}); the next advance goes on"
        )


def _waiting(site: Site, state: State, phase: str) -> list[RunSpec]:
    """Runs of the phase that nobody has submitted yet, in the order of the plan."""
    return [
        spec
        for key, spec in plan_study(site.study).items()
        if spec.phase == phase and state.runs[key].status is RunStatus.PLANNED
    ]


def _complete(state: State, phase: str) -> bool:
    return all(run.status is RunStatus.DONE for run in state.runs_of(phase).values())


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
            f"{len(stray)} runs are queued or running that study.toml no longer asks for "
            f"(such as {stray[0]}); they will not be counted"
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
            lines.append(f"{keys[0]}{f' and {len(keys) - 1} more' * (len(keys) > 1)} {words}")
    return lines


def _named(key: str, failed: Sequence[str]) -> str:
    """The failed run that a user means by its key or its run id alone."""
    found = [name for name in failed if key in (name, name.partition("/")[2])]
    if not found:
        raise PipelineError(f'no failed run is called "{key}"; `pipeline status` lists them')
    return found[0]
