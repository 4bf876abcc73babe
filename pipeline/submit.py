"""From planned runs to jobs: files first, then the intent, then the scheduler, then the job id."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline import chain
from pipeline.admission import Admission
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.needs import bonds, terms
from pipeline.plan import RunSpec, TaskSpec, pack
from pipeline.profiles import Profile
from pipeline.provenance import age_s, new_token, node_name, now
from pipeline.reconcile import Event
from pipeline.scheduler import ACCOUNTING_LAG_S, HeldError, scheduler_for
from pipeline.site import Site
from pipeline.snapshot import Snapshot, prune, recorded_sources, take
from pipeline.state import JobRecord, RunRecord, RunStatus, State, TaskRecord, TaskState
from pipeline.task_files import written_submission
from pipeline.workspace import Workspace

_SETTLE_S = {"local": 0, "slurm": ACCOUNTING_LAG_S}
"""How long a submission may stay invisible to its scheduler before it counts as never made."""


@dataclass(frozen=True)
class Batch:
    """What went in, and why the rest did not."""

    state: State
    tasks: int = 0
    runs: int = 0
    jobs: int = 0
    waiting: int = 0
    """Tasks that wait for a free place."""
    held: str | None = None
    """The scheduler's words when a limit of its own held tasks back."""
    notes: tuple[str, ...] = ()

    def with_job(self, state: State, tasks: Sequence[TaskSpec]) -> "Batch":
        """The batch after these tasks went in as one job."""
        return replace(
            self,
            state=state,
            jobs=self.jobs + 1,
            tasks=self.tasks + len(tasks),
            runs=self.runs + sum(len(task.runs) for task in tasks),
            waiting=self.waiting - len(tasks),
        )


def submit_runs(site: Site, state: State, phase: str, runs: Sequence[RunSpec]) -> Batch:
    """Submit as many of the runs as the profile and the scheduler admit, in the fewest jobs.

    The state is saved before and after every submission.

    Raises:
        PipelineError: the scheduler refuses the request; its runs are planned again.
        SchedulerUnreachableError: it is not here (nothing was tried), or gave no answer (the
            intent stays and is looked up next time).
    """
    scheduler = scheduler_for(site.profile.backend)
    scheduler.check()
    tasks = pack(site.study, runs, site.profile.stack_size, bonds(state))
    free = free_places(site.profile, state)
    admitted = tasks if free is None else tasks[:free]
    batch = Batch(state, waiting=len(tasks))
    if not admitted:
        return batch
    snapshot = take(site.workspace, site.study.file.study.trainer)
    prune(site.workspace, state, snapshot)
    batch = replace(batch, notes=_code_notes(site, state, phase, snapshot))
    most = scheduler.most_tasks() if len(admitted) > 1 else 1
    admission = Admission(len(admitted), most, _room(site.profile, state))
    while size := admission.size:
        chunk = admitted[batch.tasks : batch.tasks + size]
        try:
            batch = batch.with_job(_submit_job(site, batch.state, phase, chunk, snapshot), chunk)
            admission.admitted()
        except HeldError as error:
            batch = replace(batch, held=str(error))
            if not error.fewer_may_fit:
                return batch
            admission.refused()
    return _ceiling_noted(site, batch)


def _code_notes(site: Site, state: State, phase: str, snapshot: Snapshot) -> tuple[str, ...]:
    """A warning when runs of the phase went in with another trainer than this one."""
    digests = {job.code for job in state.jobs.values() if job.phase == phase and job.code}
    earlier = {recorded_sources(site.workspace, digest) for digest in digests}
    if earlier <= {None, snapshot.code.source_digest}:
        return ()
    note = (
        f"{phase}: the trainer's code was changed since earlier runs of this phase were "
        "submitted; the report will say which run came from which code"
    )
    return (note,)


def free_places(profile: Profile, state: State) -> int | None:
    """How many more tasks the profile lets in; None for any number."""
    limit = profile.max_running if profile.backend == "local" else profile.max_submitted
    return None if limit is None else max(0, limit - _live_tasks(profile, state))


def _live_tasks(profile: Profile, state: State) -> int:
    """Queued and running tasks, with what the follow-ups of `--auto` take of the same limit."""
    return (chain.places(state) if profile.backend == "slurm" else 0) + sum(
        task.state is not TaskState.ENDED
        for job in state.jobs.values()
        if job.backend == profile.backend
        for task in job.tasks
    )


def _room(profile: Profile, state: State) -> int | None:
    """Tasks that fit below the number at which the scheduler last refused more, if it did."""
    if state.admitted is None or profile.backend == "local":
        return None
    return state.admitted - _live_tasks(profile, state)


def _ceiling_noted(site: Site, batch: Batch) -> Batch:
    """Remember at how many tasks a submit limit struck; forget it once all went in."""
    admitted = _live_tasks(site.profile, batch.state) if batch.held else None
    if not (batch.held or batch.tasks) or admitted == batch.state.admitted:
        return batch
    state = replace(batch.state, admitted=admitted)
    site.store.save(state)
    return replace(batch, state=state)


def settle_intents(workspace: Workspace, state: State) -> tuple[State, list[Event]]:
    """Learn what became of submissions whose job id was never written down (we died in between).

    A job that carries the token is adopted; without one, after a while, its runs are planned again.

    Raises:
        SchedulerUnreachableError: a scheduler does not answer; nothing may be concluded.
    """
    events: list[Event] = []
    for token, job in list(state.jobs.items()):
        if job.job_id is not None:
            continue
        found = scheduler_for(job.backend).find(token, workspace.job_dir(job.phase, token))
        if found is not None:
            named = replace(job, job_id=found.job_id)
            state = replace(state, jobs={**state.jobs, token: named})
            events.append({"event": "adopted", "token": token, "job_id": found.job_id})
        elif age_s(job.submitted_at) >= _SETTLE_S[job.backend]:
            state = _without(state, token)
            events.append({"event": "never submitted", "token": token})
    return state, events


def _submit_job(
    site: Site, state: State, phase: str, tasks: Sequence[TaskSpec], snapshot: Snapshot
) -> State:
    token = new_token()
    submission = written_submission(site, phase, token, tasks, snapshot)
    state = _with_intent(site, state, phase, token, tasks, snapshot)
    site.store.save(state)
    site.store.record([{"event": "intent", "token": token, "phase": phase, "tasks": len(tasks)}])
    try:
        done = scheduler_for(site.profile.backend).submit(submission, site.profile)
    except SchedulerUnreachableError:
        raise  # the intent stays: the job may exist
    except (HeldError, PipelineError, OSError) as error:
        site.store.save(_without(state, token))
        site.store.record([{"event": "refused", "token": token, "reason": str(error)}])
        shutil.rmtree(submission.folder, ignore_errors=True)  # nothing will ever run from it
        raise
    job = replace(state.jobs[token], job_id=done.job_id)
    state = replace(state, jobs={**state.jobs, token: job})
    site.store.save(state)
    site.store.record([{"event": "submitted", "token": token, "job_id": done.job_id}])
    return state


def _with_intent(
    site: Site,
    state: State,
    phase: str,
    token: str,
    tasks: Sequence[TaskSpec],
    snapshot: Snapshot,
) -> State:
    job = JobRecord(
        phase=phase,
        profile=site.profile_name,
        backend=site.profile.backend,
        tasks=tuple(TaskRecord(runs=tuple(run.key for run in task.runs)) for task in tasks),
        submitted_at=now(),
        code=snapshot.digest,
        host=node_name() if site.profile.backend == "local" else None,
        **terms(site.profile),
    )
    runs = dict(state.runs)
    for index, task in enumerate(tasks):
        for run in task.runs:
            record = runs[run.key].moved(RunStatus.QUEUED)
            runs[run.key] = replace(record, job=token, task=index, tries=record.tries + 1)
    return replace(state, runs=runs, jobs={**state.jobs, token: job})


def _without(state: State, token: str) -> State:
    """The state as if the submission had never been tried."""
    jobs = {key: job for key, job in state.jobs.items() if key != token}
    runs = {key: _untried(run) if run.job == token else run for key, run in state.runs.items()}
    return replace(state, jobs=jobs, runs=runs)


def _untried(run: RunRecord) -> RunRecord:
    return replace(run.moved(RunStatus.PLANNED), job=None, task=None, tries=run.tries - 1)
