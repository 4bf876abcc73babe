"""The answer of `pipeline why` for a terminal or a pipe."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.why import Explanation


def why_screen(told: Explanation) -> RenderableType:
    """Class, evidence, what was tried, what would help, the end of the log."""
    parts: list[RenderableType] = [Text.assemble((told.run, "bold"), "  ", told.headline)]
    parts += [Text(f"- {line}") for line in told.evidence]
    if told.attempts:
        parts += [Text("tried:", style="dim"), _attempts(told)]
    parts += [Text(f"what helps: {line}", style="yellow") for line in told.advice]
    if told.log_path is not None:
        parts.append(Text(f"end of {told.log_path}:", style="dim"))
        parts += [Text(f"  {line}", style="dim") for line in told.log]
    return Group(*parts)


def _attempts(told: Explanation) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  job", "node", "ran", "asked for", "end"):
        table.add_column(column)
    for attempt in told.attempts:
        cells = (f"  {attempt.job}", attempt.node, attempt.ran, attempt.asked, attempt.end)
        table.add_row(*map(Text, cells))
    return table
