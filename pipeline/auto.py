"""`advance --auto`: each step leaves behind the one follow-up job that takes the next step."""

from collections.abc import Set
from contextlib import suppress
from time import monotonic, sleep

from pipeline import chain, follow_up
from pipeline.advance import OnWait, advance
from pipeline.decisions import Decisions
from pipeline.errors import NeedsPersonError, PipelineError, SchedulerUnreachableError
from pipeline.lock import LockedError, exclusive
from pipeline.profiles import SlurmProfile
from pipeline.scheduler import HeldError
from pipeline.scheduler.local import NO_QUEUE
from pipeline.site import Site, open_site
from pipeline.state import State
from pipeline.step import Step
from pipeline.store import StateStore
from pipeline.view import view_of
from pipeline.words import one_line
from pipeline.workspace import Workspace

_MOST_SILENT = 12
"""Follow-ups in a row that may find the scheduler silent before the chain ends."""
_PLACES = 2
"""A follow-up and the one that submitted it are in the queue at the same time."""


class SupersededError(Exception):
    """This follow-up is not the one that the study waits for; it has nothing to do."""


class NoPlaceError(NeedsPersonError):
    """A limit leaves no place for the follow-up."""


def check(site: Site) -> None:
    """Make sure that the profile can hold a chain at all.

    Raises:
        PipelineError: it has no queue, or a limit that leaves no place beside the chain.
    """
    if site.profile.backend == "local":
        raise PipelineError(NO_QUEUE)
    limit = site.profile.max_submitted
    if limit is not None and limit <= _PLACES:
        raise PipelineError(
            f"max_submitted = {limit} of profile {site.profile_name} leaves no place for tasks: a "
            f"follow-up job and its successor take {_PLACES}; raise it in slurm/profiles.toml, or "
            "use `pipeline advance --watch`"
        )


class Escort:
    """Goes along with a step under its lock, and sees to it that one follow-up stays behind."""

    def __init__(self, token: str | None = None) -> None:
        self._token = token
        """Of the follow-up that takes this step; None when a person does."""
        self.made: str | None = None
        """Token of the follow-up that was submitted on the way."""

    def admit(self, state: State | None) -> None:
        """Turn away a follow-up that is not the recorded one, before it does anything.

        Raises:
            SupersededError: it is not.
        """
        if self._token is not None and (state is None or not chain.admits(state, self._token)):
            raise SupersededError

    def before_submission(self, site: Site, step: Step) -> None:
        """Take the follow-up's place before tasks fill what a limit leaves.

        It waits for a time at first: when we die before its jobs are known, it goes on.
        """
        self._keep(site, step, ())

    def leave(self, site: Site, step: Step) -> None:
        """Leave a follow-up that waits for what comes next, or end the chain."""
        reason = _reason_to_end(site, step.state)
        if reason is not None:
            self._end(site, step, reason)
            return
        after = chain.awaited(step.state)
        self._keep(site, step, after)
        record = step.state.follow_up
        assert record is not None
        if self.made and record.waits_for != after:
            try:
                step.state = follow_up.aim(site, step.state, after)
            except SchedulerUnreachableError as error:
                step.notes.append(f"{error}; the follow-up looks again at its time all the same")
        if self.made:
            step.did.append(f"left follow-up job {record.job.job_id} in the queue")

    def _keep(self, site: Site, step: Step, after: tuple[str, ...]) -> None:
        """Make sure of a follow-up other than the one that takes this step."""
        record = step.state.follow_up
        if record is not None and chain.is_alive(step.state) and record.token != self._token:
            if record.job.job_id is None:
                raise SchedulerUnreachableError(
                    f"a follow-up job was submitted at {record.job.submitted_at} and did not show "
                    "up yet; no other is submitted before its fate is known: try again in a while"
                )
            return
        try:
            step.state = follow_up.submit(site, step.state, after, submitter=self._token)
        except HeldError as error:
            raise NoPlaceError(
                f"the scheduler takes no follow-up job now ({error}); nothing more was submitted: "
                f"make room for {_PLACES} more jobs, then `pipeline advance --auto`"
            ) from error
        assert step.state.follow_up is not None
        self.made = step.state.follow_up.token

    def _end(self, site: Site, step: Step, reason: str) -> None:
        step.state, events = follow_up.end(step.state, reason, own=self._token)
        if events:
            site.store.save(step.state)
            site.store.record(events)
            step.did.append(f"auto: ended: {reason}")


def _reason_to_end(site: Site, state: State) -> str | None:
    """Why no follow-up is needed; as `--watch`, it stays while something is under way."""
    view = view_of(site.workspace, state)
    if view.finished:
        return "the study is complete"
    if view.attention and not state.live_jobs():
        return f"the study needs a person: {one_line(view.attention[0])}"
    return None


def begin(site: Site, on_wait: OnWait, decisions: Decisions) -> Step:
    """A person's `advance --auto`: one step that leaves a follow-up behind, if there is none.

    Raises:
        PipelineError: see `check` and `advance`; a follow-up that was made meanwhile is taken back.
    """
    check(site)
    escort = Escort()
    try:
        return advance(site, on_wait, decisions, escort)
    except SchedulerUnreachableError:
        raise  # the follow-up, if there is one, looks again at its time
    except PipelineError as error:
        if escort.made is not None:
            _end_with(site.workspace, {escort.made}, error, own=None)
        raise


def follow(workspace: Workspace, token: str, on_wait: OnWait) -> Step | None:
    """What a follow-up job does: one step, tried again while the scheduler gives no answer.

    Returns:
        The step, or None when another follow-up has taken this one's place.

    Raises:
        PipelineError: the chain ends with it, and the record says why.
    """
    began = monotonic()
    while True:
        escort = Escort(token)
        try:
            site = open_site(workspace, None)
            check(site)
            return advance(site, on_wait, escort=escort)
        except SupersededError:
            return None
        except (SchedulerUnreachableError, NoPlaceError, LockedError) as error:
            profile = site.profile
            assert isinstance(profile, SlurmProfile)
            site.store.record([{"event": "follow-up waits", "token": token, "why": str(error)}])
            if monotonic() - began > profile.auto.walltime_min * 30:  # half of its time, in s
                _hand_over(site, token, error)
                return None
            sleep(profile.auto.retry_s)
        except BaseException as error:
            _end_with(workspace, {token, escort.made}, error, own=token)
            raise


def _hand_over(site: Site, token: str, error: PipelineError) -> None:
    """Leave the waiting to another follow-up, so many times; then a person is needed.

    Raises:
        PipelineError: `error`, when there is no other follow-up, or perhaps one already.
    """
    try:
        with exclusive(site.workspace.lock_file):
            state = site.store.load()
            record = state.follow_up if state is not None else None
            if state is None or record is None or record.token != token:
                raise SupersededError
            if record.silent >= _MOST_SILENT:
                raise PipelineError(f"{error}; {_MOST_SILENT} follow-ups have waited for it")
            follow_up.submit(site, state, (), submitter=token, silent=record.silent + 1)
    except SupersededError:
        raise error from None
    except SchedulerUnreachableError:
        raise
    except (PipelineError, HeldError) as last:
        _end_with(site.workspace, {token}, last, own=token)
        raise error from last


def _end_with(
    workspace: Workspace, tokens: Set[str | None], error: BaseException, *, own: str | None
) -> None:
    """End the chain when one of these is its next, and record why.

    When not even that can be done, status calls the chain broken.
    """
    store = StateStore(workspace.state_dir)
    with suppress(Exception), exclusive(workspace.lock_file):
        state = store.load()
        if state is None or state.follow_up is None or state.follow_up.token not in tokens:
            return
        kind = "" if isinstance(error, PipelineError) else f"{type(error).__name__}: "
        ended, events = follow_up.end(state, one_line(f"{kind}{error}"), own=own)
        store.save(ended)
        store.record(events)
