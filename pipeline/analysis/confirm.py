"""Confirmation: the cell that a sweep selected against the reference, at fresh seeds, one test.

A selected estimate is optimistic, since chance took part in the selection; how far, the fresh
seeds show.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.analysis.effects import percent_change
from pipeline.analysis.multiseed import MultiseedAnalysis, analyse_multiseed
from pipeline.analysis.sweep import SweepAnalysis, percent_between
from pipeline.analysis.table import AnalysisPlan, Hypothesis, ResultTable


@dataclass(frozen=True)
class Estimate:
    """A mean paired difference in percent of the reference, and what it was measured on."""

    percent: float
    metric: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Optimism:
    """The selected cell's estimate where it was selected, and where it was not."""

    selected: Estimate
    """On the sweep's metric and seeds."""
    confirmed: Estimate
    """On the confirmation's metric and seeds."""
    fresh: Estimate | None
    """On the sweep's metric at the confirmation's seeds; None when it is the same as above."""

    @property
    def points(self) -> float:
        """Sweep estimate - confirmation estimate, in percentage points."""
        return self.selected.percent - self.confirmed.percent


@dataclass(frozen=True)
class ConfirmAnalysis:
    """What a confirmation came to."""

    paired: MultiseedAnalysis
    sweep: str
    candidate: str
    """The selected cell's arm."""
    reference: str
    optimism: Optimism | None
    """None without a complete pair in both phases."""
    deviations: tuple[str, ...]

    @property
    def phase(self) -> str:
        """The phase's name."""
        return self.paired.phase


def analyse_confirm(
    table: ResultTable,
    plan: AnalysisPlan,
    hypothesis: Hypothesis,
    sweep: SweepAnalysis,
) -> ConfirmAnalysis:
    """Test the one hypothesis; `plan` names the confirmation's metric and reference arm.

    Raises:
        PipelineError: as `analyse_multiseed` does.
    """
    paired = analyse_multiseed(table, plan, (hypothesis,))
    return ConfirmAnalysis(
        paired=paired,
        sweep=sweep.phase,
        candidate=hypothesis.candidate,
        reference=hypothesis.reference,
        optimism=_optimism(table, plan, hypothesis, sweep),
        deviations=paired.deviations,
    )


def _optimism(
    table: ResultTable, plan: AnalysisPlan, hypothesis: Hypothesis, sweep: SweepAnalysis
) -> Optimism | None:
    arms = (hypothesis.candidate, hypothesis.reference)

    def measured(metric: str) -> Estimate | None:
        values = {
            arm: {r.seed: r.metrics[metric].value for r in table.of(arm) if metric in r.metrics}
            for arm in arms
        }
        seeds = tuple(sorted(set(values[arms[0]]) & set(values[arms[1]])))
        if not seeds:
            return None
        pairs = ([values[arm][seed] for seed in seeds] for arm in arms)
        return Estimate(percent_change(*pairs), metric, seeds)

    percents = percent_between(sweep.values, *arms)
    confirmed = measured(plan.metric)
    if not len(percents) or confirmed is None:
        return None
    seeds = tuple(sorted(set(sweep.values[arms[0]]) & set(sweep.values[arms[1]])))
    selected = Estimate(float(np.mean(percents)), sweep.plan.metric, seeds)
    other = sweep.plan.metric != plan.metric
    return Optimism(selected, confirmed, measured(sweep.plan.metric) if other else None)
