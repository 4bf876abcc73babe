"""The truth at this moment, for `pipeline status` and `pipeline logs`. Writes nothing."""

from dataclasses import replace

from pipeline.digest import digest_of
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.files import read_bytes
from pipeline.lock import standing
from pipeline.observe import observe
from pipeline.reconcile import reconcile
from pipeline.state import State
from pipeline.store import BrokenStateError, StateStore
from pipeline.view import StatusView, view_of
from pipeline.workspace import Workspace


def current_view(workspace: Workspace) -> tuple[StatusView, PipelineError | None]:
    """The study as the scheduler and the result files show it now.

    When a scheduler does not answer, the view is the last known one and says so, and the error
    comes with it. So it is, with the last good copy, when the state is broken.
    """
    try:
        state = StateStore(workspace.state_dir).load()
    except BrokenStateError as broken:
        return _last_good_view(workspace, broken), broken
    if state is None:
        return _before_the_first_step(workspace), None
    notes = [*_at_work(workspace), *_notes(workspace, state)]
    state, error = _seen_now(workspace, state)
    if error is not None:
        notes.append("the scheduler does not answer; this is what was last seen of it")
    return view_of(workspace, state, notes), error


def _last_good_view(workspace: Workspace, error: BrokenStateError) -> StatusView:
    """The last state that can be read, as it was then.

    Raises:
        BrokenStateError: there is none.
    """
    from pipeline.salvage import salvaged  # validates

    found = salvaged(StateStore(workspace.state_dir))
    if found is None:
        raise error
    note = f"THE STATE FILE IS BROKEN. This is {found.source}: what came since is not shown"
    return view_of(workspace, found.state, [note])


def current_state(workspace: Workspace) -> tuple[State, SchedulerUnreachableError | None]:
    """The state as it would be written now.

    Raises:
        PipelineError: nothing was submitted yet.
    """
    state = StateStore(workspace.state_dir).load()
    if state is None:
        raise PipelineError("nothing was submitted yet; `pipeline advance` starts the study")
    return _seen_now(workspace, state)


def _seen_now(workspace: Workspace, state: State) -> tuple[State, SchedulerUnreachableError | None]:
    try:
        return reconcile(state, observe(workspace, state))[0], None
    except SchedulerUnreachableError as error:
        return state, error


def named_run(state: State, name: str) -> str:
    """The key of the run that a user means by its key or its run id.

    Raises:
        PipelineError: there is none.
    """
    key = next((key for key in state.runs if name in (key, key.partition("/")[2])), None)
    if key is None:
        raise PipelineError(f'no run is called "{name}"; the folders under runs/ name them all')
    return key


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


def _at_work(workspace: Workspace) -> list[str]:
    lock = standing(workspace.lock_file)
    if lock is None or lock.gone:
        return []
    return [f"a command is at work on this study ({lock.words}); this is what it wrote down last"]


def _notes(workspace: Workspace, state: State) -> list[str]:
    try:
        content = read_bytes(workspace.study_file)
    except OSError as error:
        return [f"study.toml cannot be read ({error.strerror})"]
    if digest_of(content) == state.study_digest:
        return []
    return ["study.toml was edited since the last advance; this is the study as it was then"]
