"""`advance --watch`: step after step until the study ends, needs a person, or time is over."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.advance import OnWait, advance
from pipeline.display import progress_line, status_screen
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.pause import pause
from pipeline.site import Site
from pipeline.step import Step
from pipeline.view import StatusView, view_of

_HINT = "ctrl-C leaves the runs going; come back with `pipeline advance --watch`"
_SHOWN_EVENTS = 8
_REFRESH_S = 1.0
_PLAIN_EVERY_S = 10.0
Show = Callable[[StatusView, list[str]], None]
"""Shows where the study stands, and what is new."""
_LINGER_S = 120.0
"""How long a complete study is watched for the end of tasks that have told all: their hours belong
in the report, and take seconds to be known; a task that hangs in its exit must not hold it up."""


@dataclass
class _Plain:
    """Line by line, for logs and pipes: events at once, progress now and then."""

    console: Console
    last: float = 0.0

    def show(self, view: StatusView, news: list[str]) -> None:
        for line in news:
            self.console.print(line, markup=False, soft_wrap=True)
        if news or time.monotonic() - self.last >= _PLAIN_EVERY_S:
            self.console.print(progress_line(view), markup=False, soft_wrap=True)
            self.last = time.monotonic()


@dataclass
class _Screen:
    """One live screen that is redrawn in place."""

    live: Live
    view: StatusView | None = None
    events: deque[str] = field(default_factory=lambda: deque(maxlen=_SHOWN_EVENTS))

    def show(self, view: StatusView, news: list[str]) -> None:
        self.view = view
        self.events.extend(news)
        lines = [Text(f"- {line}", style="dim") for line in self.events]
        hint = Text(_HINT, style="dim")
        screen = status_screen(view, self.live.console.width)
        self.live.update(Group(screen, *lines, hint), refresh=True)


def watch_study(site: Site, console: Console, on_wait: OnWait, end: float = math.inf) -> StatusView:
    """Advance until nothing is left to do without a person, and return the last view.

    An unreachable scheduler is waited out: nothing is concluded from its silence. When ctrl-C ends
    it, the last screen stays.

    Args:
        site: what to carry on.
        console: where it is shown.
        on_wait: told in words what is waited for.
        end: when to stop the tasks of this machine, so that the next watch goes on from their
            checkpoints; see `end_of`.
    """
    if not console.is_terminal:
        return _loop(site, _Plain(console).show, on_wait, end)
    screen = _Screen(Live(console=console, auto_refresh=False, transient=True))
    try:
        with screen.live:
            return _loop(site, screen.show, on_wait, end)
    except KeyboardInterrupt:
        if screen.view is not None:
            console.print(status_screen(screen.view, console.width))
        raise


def end_of(site: Site, for_min: float | None) -> float:
    """When a watch of so many minutes has to pause, on the monotonic clock.

    Raises:
        PipelineError: nothing is left of the time when tasks have been given theirs to stop.
    """
    if for_min is None:
        return math.inf
    work_s = for_min * 60 - site.profile.signal_lead_s
    if work_s <= 0:
        raise PipelineError(
            f"--for-min {for_min:g} is not longer than signal_lead_s = "
            f"{site.profile.signal_lead_s} of profile {site.profile_name}, which tasks have to "
            "write their checkpoints; give it longer, or lower signal_lead_s"
        )
    return time.monotonic() + work_s


def _loop(site: Site, show: Show, on_wait: OnWait, end: float) -> StatusView:
    told: set[str] = set()
    complete_since: float | None = None
    while True:
        try:
            over = time.monotonic() >= end
            step = pause(site, on_wait) if over else advance(site, on_wait)
        except SchedulerUnreachableError as error:
            if time.monotonic() >= end:
                raise
            _wait_out(site, error, show)
            continue
        news = step.did + [note for note in step.notes if note not in told]
        told.update(step.notes)
        view = view_of(site.workspace, step.state, step.notes)
        show(view, news)
        complete_since = (complete_since or time.monotonic()) if view.finished else None
        if over or _complete(step, complete_since) or _stuck(view, step):
            return view
        _sit(site, step, show, end)


def _complete(step: Step, complete_since: float | None) -> bool:
    """True when the study is complete and its last tasks have ended, or will not."""
    if complete_since is None:
        return False
    return not step.state.live_jobs() or time.monotonic() - complete_since >= _LINGER_S


def _stuck(view: StatusView, step: Step) -> bool:
    """True when runs failed and none is under way any more."""
    return bool(view.attention) and not step.state.live_jobs()


def _sit(site: Site, step: Step, show: Show, end: float) -> None:
    """Wait for the next look at the scheduler; progress is redrawn from files meanwhile."""
    end = min(end, time.monotonic() + site.profile.poll_interval_s)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(_REFRESH_S, left))
        show(view_of(site.workspace, step.state, step.notes), [])


def _wait_out(site: Site, error: Exception, show: Show) -> None:
    state = site.store.load()
    if state is None:
        raise error
    show(view_of(site.workspace, state, [f"{error}; trying again"]), [])
    time.sleep(site.profile.poll_interval_s)
