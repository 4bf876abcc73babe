"""A sweep: cells against the reference condition at equal seeds, trends along its axes, a ranking.

Estimates and half-widths only; no cell gets a verdict. The ranking follows one declared rule:
lowest mean difference from the reference (highest, when the metric is to be maximised), among
cells with a result at every seed at which the reference has one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.analysis.checks import find_deviations, refuse_mixed_data
from pipeline.analysis.references import reference_values
from pipeline.analysis.stats import StatisticsError, sample, t_quantile
from pipeline.analysis.table import AnalysisPlan, Hole, Measurement, ResultTable
from pipeline.analysis.trends import Trend, page_trend
from pipeline.remembered import remembered

Values = Mapping[str, Mapping[int, float]]
"""Arm -> seed -> the metric."""


@dataclass(frozen=True)
class Axis:
    """One setting that a grid varies."""

    key: str
    label: str
    values: tuple[Any, ...]

    @property
    def ordered(self) -> bool:
        """Are its values numbers?"""
        return all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)


@dataclass(frozen=True)
class SweepDesign:
    """What a sweep tries; arms by name."""

    condition: str
    reference: str
    """The reference condition as declared."""
    cells: Mapping[str, Mapping[str, Any]]
    """Arm of each cell -> its settings, those of the grid first."""
    axes: tuple[Axis, ...] = ()
    """Of the grid, whose cells are every combination of their values."""
    reference_cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Arms of the reference condition in other settings, tried for its own sake."""

    @property
    def grid(self) -> dict[str, Mapping[str, Any]]:
        """The cells that are combinations of the axes' values."""
        return {
            arm: cell
            for arm, cell in self.cells.items()
            if self.axes
            and set(cell) == {axis.key for axis in self.axes}
            and all(cell[axis.key] in axis.values for axis in self.axes)
        }


@dataclass(frozen=True)
class CellEstimate:
    """One cell against the reference; None where there are too few pairs to say."""

    arm: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    """Of complete pairs."""
    run: bool
    """False for a cell that an earlier sweep did not let through."""
    percent: float | None
    """Mean paired difference in percent of the reference's mean."""
    half_width: float | None
    """Of its t interval over seeds; needs two pairs."""


@dataclass(frozen=True)
class SweepAnalysis:
    """What a sweep came to."""

    phase: str
    plan: AnalysisPlan
    design: SweepDesign
    values: Values
    cells: tuple[CellEstimate, ...]
    """In the order of the study."""
    reference_cells: tuple[CellEstimate, ...]
    trends: tuple[Trend, ...]
    ranking: tuple[str, ...]
    """Arms of the cells by the declared rule; those with missing runs are not ranked."""
    selected_reference: str
    """The arm of the reference condition that the same rule selects; its own without a choice."""
    references: dict[str, Measurement]
    """Predictor -> its value on the study's metric, from high to low."""
    holes: tuple[Hole, ...]
    deviations: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with any result."""
        return tuple(sorted({seed for of in self.values.values() for seed in of}))


@remembered
def analyse_sweep(table: ResultTable, plan: AnalysisPlan, design: SweepDesign) -> SweepAnalysis:
    """Estimate every cell, test the trends, rank the cells.

    Raises:
        IncomparableRunsError: runs were measured on different held-out data.
        StatisticsError: a value is not finite, or the reference's mean is zero.
    """
    refuse_mixed_data(table.rows)
    values = _values(table, plan.metric)
    ran = set(table.conditions)

    def estimates(arms: Mapping[str, Mapping[str, Any]]) -> tuple[CellEstimate, ...]:
        return tuple(
            _estimate(values, arm, settings, design.reference, ran=arm in ran, plan=plan)
            for arm, settings in arms.items()
        )

    cells, reference_cells = estimates(design.cells), estimates(design.reference_cells)
    seeds = set(values.get(design.reference, {}))
    # The reference's difference from itself is zero: it is selected unless a cell of it is ahead.
    own = CellEstimate(design.reference, {}, tuple(sorted(seeds)), True, 0.0 if seeds else None, 0)
    return SweepAnalysis(
        phase=table.phase,
        plan=plan,
        design=design,
        values=values,
        cells=cells,
        reference_cells=reference_cells,
        trends=_trends(design, values, plan),
        ranking=_ranked(cells, seeds, plan),
        selected_reference=next(iter(_ranked((own, *reference_cells), seeds, plan)), own.arm),
        references=reference_values(table, plan.metric),
        holes=table.holes,
        deviations=find_deviations(table),
    )


def _values(table: ResultTable, metric: str) -> Values:
    values = {}
    for arm in table.conditions:
        rows = [row for row in table.of(arm) if metric in row.metrics]
        numbers = sample([row.metrics[metric].value for row in rows], 0, f"{metric} of {arm}")
        values[arm] = {row.seed: float(v) for row, v in zip(rows, numbers, strict=True)}
    return values


def percent_between(values: Values, candidate: str, reference: str) -> Sequence[float]:
    """Paired differences by seed, in percent of the mean of all the reference's values.

    Raises:
        StatisticsError: that mean is zero.
    """
    ours, theirs = values.get(candidate, {}), values.get(reference, {})
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return []
    base = abs(float(np.mean(list(theirs.values()))))
    if base == 0:
        raise StatisticsError(f"the mean of {reference} is 0: no percentage of it is defined")
    return [100 * (ours[seed] - theirs[seed]) / base for seed in seeds]


def _estimate(
    values: Values,
    arm: str,
    settings: Mapping[str, Any],
    reference: str,
    *,
    ran: bool,
    plan: AnalysisPlan,
) -> CellEstimate:
    percents = percent_between(values, arm, reference)
    seeds = tuple(sorted(set(values.get(arm, {})) & set(values.get(reference, {}))))
    count = len(percents)
    half_width = None
    if count > 1:
        error = float(np.std(percents, ddof=1)) / float(np.sqrt(count))
        half_width = t_quantile(1 - plan.alpha, count - 1) * error
    mean = float(np.mean(percents)) if count else None
    return CellEstimate(arm, settings, seeds, ran, mean, half_width)


def _ranked(cells: Sequence[CellEstimate], seeds: set[int], plan: AnalysisPlan) -> tuple[str, ...]:
    """Complete cells, the first by the rule first; equal ones in the order of the study."""
    sign = 1 if plan.direction == "minimize" else -1
    complete = [cell for cell in cells if seeds and set(cell.seeds) == seeds]
    return tuple(cell.arm for cell in sorted(complete, key=lambda c: sign * (c.percent or 0.0)))


def _trends(design: SweepDesign, values: Values, plan: AnalysisPlan) -> tuple[Trend, ...]:
    """A trend along each ordered axis, over means of the cells that share a level.

    Blocks are seeds: cells of one seed share its luck and are not independent.
    """
    arms = design.grid
    if not all(arm in values for arm in arms):  # a grid that was pruned has no whole margins
        return ()
    seeds = set.intersection(*(set(values[arm]) for arm in arms)) if arms else set()
    trends = []
    for axis in design.axes:
        if not axis.ordered or len(axis.values) < 2:
            continue
        levels = sorted(axis.values)
        of = [[arm for arm, cell in arms.items() if cell[axis.key] == level] for level in levels]
        blocks = [
            [float(np.mean([values[arm][seed] for arm in at])) for at in of]
            for seed in sorted(seeds)
        ]
        trends.append(page_trend(axis.key, axis.label, levels, sorted(seeds), blocks, plan.alpha))
    return tuple(trends)
