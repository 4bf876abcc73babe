"""The truth at this moment, for `pipeline status` and `pipeline logs`. Writes nothing."""

from dataclasses import replace
from pathlib import Path

from pipeline.digest import digest_of
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.observe import observe
from pipeline.reconcile import reconcile
from pipeline.state import State
from pipeline.store import StateStore
from pipeline.view import StatusView, view_of
from pipeline.workspace import Workspace


def current_view(workspace: Workspace) -> tuple[StatusView, SchedulerUnreachableError | None]:
    """The study as the scheduler and the result files show it now.

    When a scheduler does not answer, the view is the last known one and says so, and the error
    comes with it.
    """
    state = StateStore(workspace.state_dir).load()
    if state is None:
        return _before_the_first_step(workspace), None
    notes = _notes(workspace, state)
    try:
        state, _ = reconcile(state, observe(workspace, state))
    except SchedulerUnreachableError as error:
        notes.append("the scheduler does not answer; this is what was last seen of it")
        return view_of(workspace, state, notes), error
    return view_of(workspace, state, notes), None


def log_of(workspace: Workspace, name: str) -> Path:
    """The log of the last attempt at a run, named by its key or its run id.

    Raises:
        PipelineError: no such run, or it has no log yet.
    """
    state = StateStore(workspace.state_dir).load()
    runs = state.runs if state else {}
    key = next((key for key in runs if name in (key, key.partition("/")[2])), None)
    if state is None or key is None:
        raise PipelineError(f'no run is called "{name}"; the folders under runs/ name them all')
    run = runs[key]
    job = state.jobs.get(run.job) if run.job else None
    if run.job is None or job is None:
        raise PipelineError(f"{key} was not submitted yet; it has no log")
    element = f"{job.job_id}_{run.task}_0" if len(job.tasks) > 1 else f"{job.job_id}_0"
    path = workspace.job_dir(run.phase, run.job) / f"{element}_log.out"
    if not path.exists():
        raise PipelineError(f"{key}: {path} does not exist; the task has not started to write")
    return path


def _before_the_first_step(workspace: Workspace) -> StatusView:
    """The study as planned, with what to do first."""
    from pipeline.replan import replanned
    from pipeline.site import open_site

    site = open_site(workspace, None)
    state, _ = replanned(site.study, site.profile_name, None)
    return replace(
        view_of(workspace, state, ["nothing was submitted yet"]),
        next=f"`pipeline plan` shows what would run where; `pipeline advance --watch` starts "
        f"{next(iter(state.phases))} on profile {site.profile_name}",
    )


def _notes(workspace: Workspace, state: State) -> list[str]:
    try:
        content = workspace.study_file.read_bytes()
    except OSError as error:
        return [f"study.toml cannot be read ({error.strerror})"]
    if digest_of(content) == state.study_digest:
        return []
    return ["study.toml was edited since the last advance; this is the study as it was then"]
