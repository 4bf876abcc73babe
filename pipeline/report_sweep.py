"""The tables of sweeps, confirmations and alternatives as rows of cells.

Owns what stands in which cell; sentences live in templates/results/wording.md.j2.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline import markdown
from pipeline.analysis.alternatives import AlternativesAnalysis
from pipeline.analysis.confirm import Estimate, Optimism
from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.stats import describe
from pipeline.analysis.sweep import CellEstimate, SweepAnalysis
from pipeline.analysis.table import ResultTable, metric_label
from pipeline.analysis.trends import Trend
from pipeline.report_tables import SeedCell

NO_ESTIMATE = Markup("not measured")


@dataclass(frozen=True)
class SettingRow:
    """One arm of a sweep: its runs by seed, and its difference from the reference."""

    arm: str
    cells: tuple[SeedCell, ...]
    pairs: int
    difference: Markup


def setting_rows(analysis: SweepAnalysis, table: ResultTable) -> list[SettingRow]:
    """Return the reference, its other settings, then every cell that was run."""
    design = analysis.design
    own = SettingRow(design.reference, _runs(table, design.reference), 0, Markup("reference"))
    return [
        own,
        *(
            SettingRow(cell.arm, _runs(table, cell.arm), len(cell.seeds), plus_minus(cell))
            for cell in (*analysis.reference_cells, *analysis.cells)
            if cell.run
        ),
    ]


def sweep_seeds(table: ResultTable) -> list[int]:
    """Return the planned seeds."""
    return sorted({seed for _, seed in table.planned})


def _runs(table: ResultTable, arm: str) -> tuple[SeedCell, ...]:
    runs = {row.seed: row for row in table.of(arm)}
    holes = {hole.seed: hole for hole in table.holes if hole.condition == arm}
    return tuple(SeedCell(runs.get(seed), holes.get(seed)) for seed in sweep_seeds(table))


def sweep_places(analysis: SweepAnalysis) -> int:
    """Return the decimals of a sweep's values: the finest that any arm's mean has."""
    described = [describe(list(of.values())) for of in analysis.values.values() if of]
    errors = [found.standard_error for found in described]
    return max((markdown.digits(error) for error in errors if error), default=6)


def plus_minus(cell: CellEstimate) -> Markup:
    """Return an estimate in percent with its half-width."""
    if cell.percent is None:
        return NO_ESTIMATE
    width = "" if cell.half_width is None else f" ± {cell.half_width:.2f}"
    return markdown.percent(cell.percent) + Markup(width)


def left_out(analysis: SweepAnalysis) -> list[str]:
    """Return the cells that an earlier sweep did not let through."""
    return [cell.arm for cell in analysis.cells if not cell.run]


def selected_cell(analysis: SweepAnalysis, arm: str) -> CellEstimate:
    """Return the cell of an arm."""
    return next(cell for cell in analysis.cells if cell.arm == arm)


def level_means(trend: Trend) -> Markup:
    """Return the mean at each level, as "1: 0.00950, 2: 0.00961"."""
    return Markup(
        ", ".join(
            f"{json.dumps(level)}: {markdown.number(mean)}"
            for level, mean in zip(trend.levels, trend.means, strict=True)
        )
    )


@dataclass(frozen=True)
class OptimismRow:
    """One estimate of the selected cell."""

    title: str
    metric: str
    seeds: Markup
    value: Markup


def optimism_rows(optimism: Optimism) -> list[OptimismRow]:
    """Return the selected cell's estimates, where it was selected first."""
    found: Sequence[tuple[str, Estimate | None]] = (
        ("in the sweep, where it was selected", optimism.selected),
        ("at fresh seeds, same metric", optimism.fresh),
        ("at fresh seeds, the test", optimism.confirmed),
    )
    return [
        OptimismRow(
            title, metric_label(of.metric), markdown.seeds(of.seeds), markdown.percent(of.percent)
        )
        for title, of in found
        if of is not None
    ]


def points(value: float) -> Markup:
    """Return a difference of percentages."""
    return Markup(f"{value:+.2f} points")


@dataclass(frozen=True)
class OrderRow:
    """One alternative in the order of estimates."""

    group: int
    comparison: Comparison
    value: Markup
    interval: Markup


def order_rows(analysis: AlternativesAnalysis) -> list[OrderRow]:
    """Return the alternatives by estimate, with the group of those that are tied."""
    rows = []
    for place in analysis.order:
        comparison, tested = place.comparison, place.comparison.tested
        assert tested is not None
        rows.append(
            OrderRow(
                place.group,
                comparison,
                markdown.percent(tested.percent.value),
                markdown.percent_interval(tested.percent.interval_corrected),
            )
        )
    return rows
