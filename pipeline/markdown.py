"""Values as Markdown: text made harmless, and numbers with the digits that they deserve.

Owns formats only. Everything here returns Markup, which the report's templates print as it is;
any other string is escaped on its way out, so that a label cannot break a table.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote

from markupsafe import Markup

from pipeline.analysis.stats import Interval

NOT_MEASURED = Markup("not measured")
NOT_RECORDED = Markup("not recorded")
P_FLOOR = 1e-6
HOURS_FLOOR = 0.001

_SPECIAL = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")


# What opens a heading, a list, a rule: it would when it stands first on a line. A full stop or
# a bracket does so behind a number alone.
_OPENING = re.compile(r"^(\s*\d*)(#+|[-+]|(?<=\d)[.)]|=+|-+)(?=\s|$)")


def one_line(text: str) -> str:
    """Return text with control, format and line-break characters turned into single spaces."""
    plain = "".join(" " if unicodedata.category(c) in _UNPRINTABLE else c for c in text)
    return re.sub(r"\s+", " ", plain)


_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def escape(text: str) -> Markup:
    """Return text as one line of Markdown that means nothing but itself."""
    line = _SPECIAL.sub(lambda match: "\\" + match[0], one_line(text))
    return Markup(_OPENING.sub(r"\1\\\2", line))


def code(text: str) -> Markup:
    """Return text as a code span; text with a pipe is escaped instead, it may stand in a table."""
    line = one_line(text).strip()
    if "|" in line or not line:
        return escape(line)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return Markup(f"{ticks}{pad}{line}{pad}{ticks}")


def link(text: str, path: str) -> Markup:
    """Return a link to a file of the workspace."""
    return Markup(f"[{text if isinstance(text, Markup) else escape(text)}]({quote(path)})")


def digits(error: float) -> int:
    """Return the decimals that show three significant digits of an error."""
    return 2 - math.floor(math.log10(error))


def number(value: float | None, error: float | None = None) -> Markup:
    """Return a value to three significant digits of its error; without one, to six of its own."""
    if value is None:
        return NOT_MEASURED
    if not error:
        return Markup(f"{value:.6g}")
    return decimal(value, digits(error))


def decimal(value: float, places: int) -> Markup:
    """Return a value with so many decimals, in scientific form where that is shorter to read."""
    if value and not 1e-4 <= abs(value) < 1e7:
        shown = max(0, places + math.floor(math.log10(abs(value))))
        return Markup(f"{value:.{shown}e}")
    return Markup(f"{value:.{max(0, places)}f}")


def signed(value: float, error: float) -> Markup:
    """Return a difference in the metric's unit with its sign and its error's digits."""
    shown = decimal(value, digits(error)) if error else Markup(f"{value:.6g}")
    return shown if shown.startswith("-") else Markup(f"+{shown}")


def short(value: float | None) -> Markup:
    """Return a value to three significant digits."""
    return NOT_MEASURED if value is None else Markup(f"{value:#.3g}".rstrip("."))


def percent(value: float | None) -> Markup:
    """Return a percentage with its sign and two decimals."""
    return NOT_MEASURED if value is None else Markup(f"{value:+.2f}%")


def margin(value: float) -> Markup:
    """Return a margin on both sides, in percent."""
    return Markup(f"±{value:.2f}%")


def level(value: float) -> Markup:
    """Return a level or a share as a percentage: 0.95 is 95%."""
    return Markup(f"{100 * value:.4g}%")


def interval(bounds: Interval | None, error: float | None) -> Markup:
    """Return an interval in the metric's unit, with the digits of the estimate's error."""
    if bounds is None:
        return NOT_MEASURED
    return Markup(f"[{number(bounds.low, error)}, {number(bounds.high, error)}]")


def percent_interval(bounds: Interval | None) -> Markup:
    """Return an interval in percent."""
    if bounds is None:
        return Markup("not defined")
    return Markup(f"[{percent(bounds.low)}, {percent(bounds.high)}]")


def p_cell(value: float | None) -> Markup:
    """Return a p for a table: three significant digits, never zero."""
    if value is None:
        return Markup("not defined")
    if value < P_FLOOR:
        return Markup("< 1e-6")
    return Markup(f"{value:#.3g}")


def p_text(value: float) -> Markup:
    """Return a p for a sentence."""
    shown = p_cell(value)
    return Markup(f"p {shown}" if shown.startswith("<") else f"p = {shown}")


def seconds(value: float | None) -> Markup:
    """Return seconds, in whole ones from a hundred on."""
    if value is None:
        return NOT_RECORDED
    return Markup(f"{value:.0f}") if value >= 100 else short(value)


def hours(value: float | None) -> Markup:
    """Return hours to two decimals, to two digits below one hour, and never as a power of ten."""
    if value is None:
        return NOT_RECORDED
    if value == 0:
        return Markup("0")
    if value < HOURS_FLOOR:
        return Markup(f"< {HOURS_FLOOR}")
    return Markup(f"{value:.2f}" if value >= 1 else f"{value:.2g}")


def seeds(values: tuple[int, ...]) -> Markup:
    """Return seeds with runs of neighbours as ranges: 0-9, 12."""
    ranges: list[list[int]] = []
    for seed in sorted(values):
        if ranges and seed == ranges[-1][1] + 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return Markup(", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges))


def fence(lines: Sequence[str]) -> Markup:
    """Return lines as a code block that none of them can end."""
    body = [one_line(line) for line in lines]
    ticks = "```"
    while any(ticks in line for line in body):
        ticks += "`"
    return Markup("\n".join([f"{ticks}sh", *body, ticks]))


def tidy(text: str) -> str:
    """Collapse the blank lines that blocks leave behind, and end with one newline."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"
