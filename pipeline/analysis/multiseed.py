"""Multi-seed validation: conditions at shared seeds, compared pairwise as the plan declares.

Owns what describes the phase and its conditions; hypotheses.py tests what the plan declares.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.analysis import stats
from pipeline.analysis.checks import find_deviations, refuse_mixed_data
from pipeline.analysis.hypotheses import Comparison, assess
from pipeline.analysis.references import Distance, distance, reference_values
from pipeline.analysis.stats import Descriptives, StatisticsError, describe
from pipeline.analysis.table import (
    AnalysisPlan,
    Hole,
    Hypothesis,
    Measurement,
    ResultTable,
    RunRow,
)
from pipeline.remembered import remembered


@dataclass(frozen=True)
class Arm:
    """One condition's runs and what describes them."""

    condition: str
    runs: tuple[RunRow, ...]
    """Those that measured the study's metric, by increasing seed."""
    described: Descriptives | None
    """None without any run."""
    others: Mapping[str, Descriptives]
    """Further metrics, described but never tested."""
    evaluation_error: float | None
    """Largest standard error of one run's own evaluation; None when not measured."""


@dataclass(frozen=True)
class MultiseedAnalysis:
    """What the multi-seed phase came to."""

    phase: str
    plan: AnalysisPlan
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    references: dict[str, Measurement]
    """Predictor -> its value on the study's metric, from high to low."""
    distances: tuple[Distance, ...]
    holes: tuple[Hole, ...]
    deviations: tuple[str, ...]


@remembered
def analyse_multiseed(
    table: ResultTable, plan: AnalysisPlan, hypotheses: tuple[Hypothesis, ...]
) -> MultiseedAnalysis:
    """Describe every condition, test every hypothesis, decide every verdict.

    Raises:
        IncomparableRunsError: runs were measured on different held-out data.
        StatisticsError: a run's metric is not finite, or a hypothesis names an unknown condition.
    """
    refuse_mixed_data(table.rows)
    _refuse_unknown_conditions(table, plan, hypotheses)
    arms = tuple(_arm(condition, table, plan) for condition in table.conditions)
    references = reference_values(table, plan.metric)
    return MultiseedAnalysis(
        phase=table.phase,
        plan=plan,
        arms=arms,
        comparisons=_comparisons(arms, table, plan, hypotheses),
        references=references,
        distances=_distances(arms, references, plan),
        holes=table.holes,
        deviations=find_deviations(table),
    )


def _refuse_unknown_conditions(
    table: ResultTable, plan: AnalysisPlan, hypotheses: tuple[Hypothesis, ...]
) -> None:
    needed = {plan.reference_condition: "the analysis plan"} if hypotheses else {}
    for hypothesis in hypotheses:
        for name in (hypothesis.candidate, hypothesis.reference):
            needed.setdefault(name, f"hypothesis {hypothesis.id}")
    for name, user in needed.items():
        if name not in table.conditions:
            raise StatisticsError(
                f"{user} names the condition {name}, which phase {table.phase} does not run; "
                f"it runs {', '.join(table.conditions)}"
            )


def _values(arm: Arm, metric: str) -> list[float]:
    return [row.metrics[metric].value for row in arm.runs]


def _arm(condition: str, table: ResultTable, plan: AnalysisPlan) -> Arm:
    runs = tuple(row for row in table.of(condition) if plan.metric in row.metrics)
    measured = [row.metrics[plan.metric] for row in runs]
    errors = [item.standard_error for item in measured if item.standard_error is not None]
    values = stats.sample(
        [item.value for item in measured], 0, f"{plan.metric} of condition {condition}"
    )
    others = {
        name: describe([row.metrics[name].value for row in runs if name in row.metrics])
        for name in table.metrics
        if name != plan.metric and any(name in row.metrics for row in runs)
    }
    return Arm(
        condition=condition,
        runs=runs,
        described=describe(values, 1 - plan.alpha) if runs else None,
        others=others,
        evaluation_error=max(errors, default=None),
    )


def _distances(
    arms: tuple[Arm, ...], references: Mapping[str, Measurement], plan: AnalysisPlan
) -> tuple[Distance, ...]:
    return tuple(
        distance(arm.condition, _values(arm, plan.metric), name, measured, 1 - plan.alpha)
        for name, measured in references.items()
        for arm in arms
        if arm.runs
    )


def _comparisons(
    arms: tuple[Arm, ...],
    table: ResultTable,
    plan: AnalysisPlan,
    hypotheses: tuple[Hypothesis, ...],
) -> tuple[Comparison, ...]:
    if not hypotheses:
        return ()
    values = {
        arm.condition: {row.seed: row.metrics[plan.metric].value for row in arm.runs}
        for arm in arms
    }
    planned = frozenset(seed for _, seed in table.planned)
    return assess(hypotheses, values, table.phase, planned, plan)
