"""Which planned runs have a result: condition by seed, and every hole by name.

Owns what stands in which cell; a phase too large for a glance is cut to what is missing in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline import markdown
from pipeline.analysis.table import Hole, HoleReason, ResultTable

# A wider matrix gives way to lists of seeds; of a longer one only rows with holes are shown.
MOST_SEEDS = 12
MOST_CONDITIONS = 12
DONE, UNPLANNED = Markup("✓"), Markup("")
MARKS = {
    HoleReason.FAILED: Markup("✗"),
    HoleReason.RUNNING: Markup("…"),
    HoleReason.NOT_RUN: Markup("·"),
}


@dataclass(frozen=True)
class Line:
    """One condition and its cells, under the matrix's head."""

    condition: str
    cells: tuple[Markup, ...]


@dataclass(frozen=True)
class Matrix:
    """Conditions by seed, or by what became of their seeds."""

    head: tuple[Markup, ...]
    lines: tuple[Line, ...]
    whole: int
    """Conditions left out since each has a result at every seed."""


def completeness(table: ResultTable) -> Matrix:
    """Return the matrix of a phase, cut to what fits."""
    seeds = sorted({seed for _, seed in table.planned})
    conditions = list(table.conditions)
    if len(conditions) > MOST_CONDITIONS:
        broken = {hole.condition for hole in table.holes}
        conditions = [name for name in conditions if name in broken]
    whole = len(table.conditions) - len(conditions)
    if len(seeds) > MOST_SEEDS:
        head = ("with a result", *(reason.value for reason in MARKS))
        lines = tuple(Line(name, _by_fate(table, name)) for name in conditions)
        return Matrix(tuple(Markup(title) for title in head), lines, whole)
    lines = tuple(Line(name, _by_seed(table, name, seeds)) for name in conditions)
    return Matrix(tuple(Markup(seed) for seed in seeds), lines, whole)


def _by_seed(table: ResultTable, condition: str, seeds: Sequence[int]) -> tuple[Markup, ...]:
    marks = {row.seed: DONE for row in table.of(condition)}
    marks |= {hole.seed: MARKS[hole.reason] for hole in _holes(table, condition)}
    return tuple(marks.get(seed, UNPLANNED) for seed in seeds)


def _by_fate(table: ResultTable, condition: str) -> tuple[Markup, ...]:
    holes = _holes(table, condition)
    fates = [[hole.seed for hole in holes if hole.reason is reason] for reason in MARKS]
    done = [row.seed for row in table.of(condition)]
    return tuple(markdown.seeds(tuple(seeds)) for seeds in (done, *fates))


def _holes(table: ResultTable, condition: str) -> list[Hole]:
    return [hole for hole in table.holes if hole.condition == condition]


@dataclass(frozen=True)
class Gap:
    """Seeds of one condition that lack a result for the same reason."""

    condition: str
    reason: HoleReason
    detail: str
    seeds: tuple[int, ...]


def gaps(holes: Sequence[Hole]) -> list[Gap]:
    """Return every hole, those of one condition and one reason together."""
    found: dict[tuple[str, HoleReason, str], tuple[int, ...]] = {}
    for hole in holes:
        key = (hole.condition, hole.reason, hole.detail)
        found[key] = (*found.get(key, ()), hole.seed)
    return [Gap(*key, seeds) for key, seeds in found.items()]
