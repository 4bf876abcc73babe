"""Screens: what status, plan, advance and the watch show, as rich renderables."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pipeline.files import write_atomic
from pipeline.ledger import summed, words
from pipeline.progress import Speed
from pipeline.view import PhaseView, StatusView
from pipeline.words import count, duration, harmless

_STATUS_STYLE = {
    "not_started": ("not started", "dim"),
    "running": ("running", "cyan"),
    "analysis_due": ("analysis due", "yellow"),
    "complete": ("complete", "green"),
    "attention": ("needs a person", "bold red"),
}
_BAR_WIDTH = 16
_MAX_JOBS = 6
_SVG_WIDTH = 110
_PIPE_WIDTH = 200
_BAR_FROM_WIDTH = 100


class _HarmlessConsole(Console):
    """Prints none of what a terminal would obey in names, reasons and logs that others wrote."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """The renderable as segments of text; only our own are for the terminal to obey."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=harmless(segment.text))


def console() -> Console:
    """The console all commands print to; plain text of any width when it is no terminal."""
    out = _HarmlessConsole(highlight=False, emoji=False)
    if not out.is_terminal:
        out.width = _PIPE_WIDTH
    return out


def status_screen(view: StatusView, width: int) -> RenderableType:
    """The whole of `pipeline status` for a terminal of `width` columns."""
    parts: list[RenderableType] = [
        Text.assemble((view.study, "bold"), ("  ", ""), (view.workspace, "dim")),
        _phases(view.phases, with_bar=width >= _BAR_FROM_WIDTH),
        *_jobs(view.phases),
        *(Text(f"spent  {words(account)}", style="dim") for account in summed(view.ledger)),
        *(Text(f"note: {note}", style="yellow") for note in view.notes),
        *(Text(f"attention: {line}", style="red") for line in view.attention),
        Text.from_markup(f"[bold]next:[/bold] {escape(view.next)}"),
    ]
    return Group(*parts)


def save_svg(view: StatusView, path: Path) -> None:
    """Write the status screen as a picture; made to be shown, it names the folder, not its path."""
    view = replace(view, workspace=Path(view.workspace).name)
    canvas = _HarmlessConsole(
        record=True, width=_SVG_WIDTH, file=io.StringIO(), highlight=False, emoji=False
    )
    canvas.print(status_screen(view, _SVG_WIDTH))
    picture = canvas.export_svg(title="pipeline status", unique_id="status")
    write_atomic(path, picture.encode())


def step_lines(did: Sequence[str], notes: Sequence[str]) -> RenderableType:
    """What one `advance` did, a line each."""
    done = [Text(f"- {line}") for line in did] or [Text("- nothing new")]
    return Group(*done, *(Text(f"note: {note}", style="yellow") for note in notes))


def progress_line(view: StatusView) -> str:
    """Where the study stands, in one line for logs that are no terminal."""
    current = next((phase for phase in view.phases if phase.status != "complete"), None)
    if current is None:
        return "all phases complete"
    runs = current.runs
    parts = [f"{current.id}: {runs['done']} of {runs['total']} runs done"]
    parts += [f"{runs[name]} {name}" for name in ("running", "pending", "failed") if runs[name]]
    if current.speed is not None:
        parts.append(f"{current.speed.steps_per_second:.3g} steps/s")
        parts.append(f"left: {_left(current)}")
    return ", ".join(parts)


def plan_table(rows: Iterable[Sequence[str]]) -> Table:
    """Phases, runs, tasks and forecast of `pipeline plan`."""
    table = _table("phase", "runs", "tasks", "forecast")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _phases(phases: Sequence[PhaseView], *, with_bar: bool) -> Table:
    bar = ["progress"] if with_bar else []
    table = _table(
        "phase", "status", "done", "running", "pending", "failed", *bar, "steps/s", "left"
    )
    for phase in phases:
        label, style = _STATUS_STYLE[phase.status]
        speed = phase.speed
        drawn = [ProgressBar(total=1.0, completed=_fraction(phase), width=_BAR_WIDTH)]
        table.add_row(
            phase.id,
            Text(label, style=style),
            f"{phase.runs['done']}/{phase.runs['total']}",
            *(_count(phase.runs[name], name) for name in ("running", "pending", "failed")),
            *(drawn if with_bar else []),
            f"{speed.steps_per_second:.3g}" if speed else "",
            _left(phase),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    numbers = {"runs", "tasks", "done", "running", "pending", "failed", "steps/s", "left"}
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    return table


def _jobs(phases: Sequence[PhaseView]) -> list[Text]:
    lines = [
        f"job {job.job_id or '(id not known yet)'}  {phase.id}  {job.state}  "
        f"{count(job.tasks, 'task')}"
        for phase in phases
        for job in phase.jobs
        if job.live and phase.status != "complete"
    ]
    shown = lines[-_MAX_JOBS:]
    if len(lines) > len(shown):
        shown.insert(0, f"{len(lines) - len(shown)} more jobs (see --json)")
    return [Text(line, style="dim") for line in shown]


def _count(number: int, name: str) -> Text:
    style = "red" if name == "failed" and number else "" if number else "dim"
    return Text(str(number), style=style)


def _fraction(phase: PhaseView) -> float:
    """Share of the phase's work that is done; a running run counts by its steps."""
    runs = phase.runs
    partial = 0.0
    if phase.speed is not None and phase.speed.steps_total:
        partial = phase.speed.runs * phase.speed.steps_done / phase.speed.steps_total
    return (runs["done"] + partial) / max(1, runs["total"])


def _left(phase: PhaseView) -> str:
    """Time left in words; past its last step a run is being evaluated, which reports no steps."""
    if phase.speed is None:
        return ""
    seconds = _left_s(phase.speed, phase)
    return duration(seconds) if seconds > 0 else "evaluating"


def _left_s(speed: Speed, phase: PhaseView) -> float:
    silent = max(0, phase.runs["running"] - speed.runs)
    return speed.left_s(phase.runs["pending"] + silent)
