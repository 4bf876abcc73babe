"""`advance --watch`: step after step until the study ends or needs a person."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.advance import OnWait, advance
from pipeline.display import progress_line, status_screen
from pipeline.errors import SchedulerUnreachableError
from pipeline.site import Site
from pipeline.step import Step
from pipeline.view import StatusView, view_of

_HINT = "ctrl-C leaves the runs going; come back with `pipeline advance --watch`"
_SHOWN_EVENTS = 8
_REFRESH_S = 1.0
_PLAIN_EVERY_S = 10.0
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


def watch(site: Site, console: Console, on_wait: OnWait) -> StatusView:
    """Advance until nothing is left to do without a person, and return the last view.

    An unreachable scheduler is waited out: nothing is concluded from its silence. When ctrl-C ends
    it, the last screen stays.
    """
    if not console.is_terminal:
        return _loop(site, _Plain(console).show, on_wait)
    screen = _Screen(Live(console=console, auto_refresh=False, transient=True))
    try:
        with screen.live:
            return _loop(site, screen.show, on_wait)
    except KeyboardInterrupt:
        if screen.view is not None:
            console.print(status_screen(screen.view, console.width))
        raise


def _loop(site: Site, show: Callable[[StatusView, list[str]], None], on_wait: OnWait) -> StatusView:
    told: set[str] = set()
    complete_since: float | None = None
    while True:
        try:
            step = advance(site, on_wait)
        except SchedulerUnreachableError as error:
            _wait_out(site, error, show)
            continue
        news = step.did + [note for note in step.notes if note not in told]
        told.update(step.notes)
        view = view_of(site.workspace, step.state, step.notes)
        show(view, news)
        complete_since = (complete_since or time.monotonic()) if view.finished else None
        if _over(step, complete_since) or _stuck(view, step):
            return view
        _pause(site, step, show)


def _over(step: Step, complete_since: float | None) -> bool:
    """True when the study is complete and its last tasks have ended, or will not."""
    if complete_since is None:
        return False
    return not step.state.live_jobs() or time.monotonic() - complete_since >= _LINGER_S


def _stuck(view: StatusView, step: Step) -> bool:
    """True when runs failed and none is under way any more."""
    return bool(view.attention) and not step.state.live_jobs()


def _pause(site: Site, step: Step, show: Callable[[StatusView, list[str]], None]) -> None:
    """Wait for the next look at the scheduler; progress is redrawn from files meanwhile."""
    end = time.monotonic() + site.profile.poll_interval_s
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(_REFRESH_S, left))
        show(view_of(site.workspace, step.state, step.notes), [])


def _wait_out(site: Site, error: Exception, show: Callable[[StatusView, list[str]], None]) -> None:
    state = site.store.load()
    if state is None:
        raise error
    show(view_of(site.workspace, state, [f"{error}; trying again"]), [])
    time.sleep(site.profile.poll_interval_s)
