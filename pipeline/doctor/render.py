"""Findings as a person or a script reads them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.display import console
from pipeline.doctor.finding import Finding, Level, tally
from pipeline.words import count, one_line

Tell = Callable[[str], None]

_STYLE = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}
_LEVEL_WIDTH = 7
_CHECK_WIDTH = 12


def print_findings(examine: Callable[[Tell, Tell], Iterable[Finding]]) -> list[Finding]:
    """Print findings as they come; a terminal also shows what is being looked at meanwhile.

    Args:
        examine: gets two listeners, for what is being looked at and for what happens to a job.
    """
    out = console()
    found: list[Finding] = []
    if not out.is_terminal:
        for finding in examine(lambda _: None, lambda words: click.echo(words, err=True)):
            found.append(finding)
            click.echo(plain_line(finding))
        click.echo(summary(found))
        return found
    with out.status("") as status:
        for finding in examine(
            lambda words: status.update(escape(words)),
            lambda words: out.print(Text(words, style="dim")),
        ):
            found.append(finding)
            out.print(finding_line(finding))
    out.print(summary(found), markup=False)
    return found


def finding_line(finding: Finding) -> RenderableType:
    """One finding: level, what was looked at, how it stands, and the remedy."""
    line = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    line.add_column(width=_LEVEL_WIDTH, no_wrap=True)
    line.add_column(width=_CHECK_WIDTH, no_wrap=True)
    line.add_column(overflow="fold")
    text = Text(one_line(finding.text))
    if finding.remedy:
        text.append(f" -> {one_line(finding.remedy)}", style="italic")
    line.add_row(Text(finding.level, style=_STYLE[finding.level]), finding.check, text)
    return line


def plain_line(finding: Finding) -> str:
    """The same for a pipe: one line, whatever its length."""
    remedy = f" -> {one_line(finding.remedy)}" if finding.remedy else ""
    head = f"{finding.level:<{_LEVEL_WIDTH}}  {finding.check:<{_CHECK_WIDTH}}"
    return f"{head}  {one_line(finding.text)}{remedy}"


def summary(findings: Sequence[Finding]) -> str:
    """How many of each, in words."""
    counted = tally(findings)
    words = [f"{counted[Level.OK]} ok", count(counted[Level.WARNING], "warning")]
    return ", ".join([*words, count(counted[Level.PROBLEM], "problem")])


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The stable form of `doctor --json`."""
    return {
        "findings": [
            {
                "level": finding.level.value,
                "check": finding.check,
                "text": one_line(finding.text),
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
        "warnings": tally(findings)[Level.WARNING],
        "problems": tally(findings)[Level.PROBLEM],
    }
