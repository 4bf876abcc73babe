"""From planned runs to jobs: files first, then the intent, then the scheduler, then the job id."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.files import write_atomic
from pipeline.needs import bonds, terms
from pipeline.plan import RunSpec, TaskSpec, pack
from pipeline.profiles import Profile
from pipeline.provenance import age_s, new_token, node_name, now
from pipeline.reconcile import Event
from pipeline.results import RunEntry, TaskFile
from pipeline.scheduler import ACCOUNTING_LAG_S, HeldError, Submission, scheduler_for
from pipeline.site import Site
from pipeline.state import JobRecord, RunRecord, RunStatus, State, TaskRecord, TaskState
from pipeline.workspace import Workspace

_SETTLE_S = {"local": 0, "slurm": ACCOUNTING_LAG_S}
"""How long a submission may stay invisible to its scheduler before it counts as never made."""


@dataclass(frozen=True)
class Batch:
    """What went in, and why the rest did not."""

    state: State
    tasks: int = 0
    runs: int = 0
    waiting: int = 0
    """Tasks that wait for a free place."""
    held: str | None = None
    """The scheduler's words when a limit of its own held tasks back."""


def submit_runs(site: Site, state: State, phase: str, runs: Sequence[RunSpec]) -> Batch:
    """Submit as many of the runs as the profile and the scheduler admit.

    The state is saved before and after every submission.

    Raises:
        PipelineError: the scheduler refuses the request; its runs are planned again.
        SchedulerUnreachableError: it is not here (nothing was tried), or gave no answer (the
            intent stays and is looked up next time).
    """
    scheduler_for(site.profile.backend).check()
    tasks = pack(site.study, runs, site.profile.stack_size, bonds(state))
    free = free_places(site.profile, state)
    admitted = tasks if free is None else tasks[:free]
    per_job = 1 if site.profile.backend == "local" else max(1, len(admitted))
    batch = Batch(state, waiting=len(tasks) - len(admitted))
    for start in range(0, len(admitted), per_job):
        job_tasks = admitted[start : start + per_job]
        try:
            state = _submit_job(site, state, phase, job_tasks)
        except HeldError as error:
            left = len(admitted) - start
            return replace(batch, waiting=batch.waiting + left, held=str(error))
        batch = replace(
            batch,
            state=state,
            tasks=batch.tasks + len(job_tasks),
            runs=batch.runs + sum(len(task.runs) for task in job_tasks),
        )
    return batch


def free_places(profile: Profile, state: State) -> int | None:
    """How many more tasks the profile lets in; None for any number."""
    limit = profile.max_running if profile.backend == "local" else profile.max_submitted
    if limit is None:
        return None
    live = sum(
        task.state is not TaskState.ENDED
        for job in state.jobs.values()
        if job.backend == profile.backend
        for task in job.tasks
    )
    return max(0, limit - live)


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


def _submit_job(site: Site, state: State, phase: str, tasks: Sequence[TaskSpec]) -> State:
    token = new_token()
    submission = _written(site, phase, token, tasks)
    state = _with_intent(site, state, phase, token, tasks)
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


def _written(site: Site, phase: str, token: str, tasks: Sequence[TaskSpec]) -> Submission:
    """Write the files of a submission: one per task, and config.json for every run."""
    workspace, study = site.workspace, site.study.file.study.name
    folder = workspace.job_dir(phase, token)
    files = []
    for index, task in enumerate(tasks):
        content = task_file(site, phase, token, index, task)
        files.append(folder / f"task-{index:04d}.json")
        write_atomic(files[-1], content.model_dump_json(indent=1).encode())
        for run in task.runs:
            _write_config(workspace.run_dir(run.key) / "config.json", run)
    return Submission(
        token=token,
        name=f"{study}-{phase}-{token}",
        comment=f"study-pipeline study={study} phase={phase} token={token}",
        folder=folder,
        task_files=tuple(files),
        workspace=workspace.root,
        profile_name=site.profile_name,
    )


def task_file(site: Site, phase: str, token: str, index: int, task: TaskSpec) -> TaskFile:
    """All that one task of a submission needs to know."""
    header = site.study.file.study
    return TaskFile(
        study=header.name,
        phase=phase,
        trainer=header.trainer,
        metric=header.metric.name,
        backend=site.profile.backend,
        token=token,
        task=index,
        cpus=site.profile.cpus_per_task,
        gpus=site.profile.gpus,
        runs=[_entry(run) for run in task.runs],
    )


def _entry(run: RunSpec) -> RunEntry:
    return RunEntry(
        run_id=run.run_id,
        condition=run.condition,
        seed=run.seed,
        config=run.config,
        config_digest=run.digest,
    )


def _write_config(path: Path, run: RunSpec) -> None:
    content = {"condition": run.condition, "seed": run.seed, "trainer": run.trainer}
    text = json.dumps({**content, "config": run.config, "digest": run.digest}, indent=1)
    write_atomic(path, text.encode())


def _with_intent(
    site: Site, state: State, phase: str, token: str, tasks: Sequence[TaskSpec]
) -> State:
    job = JobRecord(
        phase=phase,
        profile=site.profile_name,
        backend=site.profile.backend,
        tasks=tuple(TaskRecord(runs=tuple(run.key for run in task.runs)) for task in tasks),
        submitted_at=now(),
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
