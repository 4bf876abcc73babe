"""The pilot: single runs that show that everything works, and what a run costs.

No inference is drawn here: no test, no interval, no ordering of conditions.
"""

from dataclasses import dataclass

from pipeline.analysis.checks import find_deviations
from pipeline.analysis.references import reference_values
from pipeline.analysis.stats import describe
from pipeline.analysis.table import Measurement, ResultTable, RunRow


@dataclass(frozen=True)
class PilotCondition:
    """The pilot runs of one condition."""

    condition: str
    runs: tuple[RunRow, ...]
    sd: float | None
    """Spread of the metric over seeds, for planning; None with fewer than two runs."""


@dataclass(frozen=True)
class PilotAnalysis:
    """What the pilot came to."""

    phase: str
    metric: str
    metrics: tuple[str, ...]
    """All measured metrics, the study's own first."""
    conditions: tuple[PilotCondition, ...]
    references: dict[str, Measurement]
    """Predictor -> its value on the study's metric, from high to low."""
    deviations: tuple[str, ...]


def analyse_pilot(table: ResultTable, metric: str) -> PilotAnalysis:
    """Lay out the pilot's runs; `metric` is the study's."""
    others = tuple(name for name in table.metrics if name != metric)
    return PilotAnalysis(
        phase=table.phase,
        metric=metric,
        metrics=(metric, *others),
        conditions=tuple(_condition(name, table, metric) for name in table.conditions),
        references=reference_values(table, metric),
        deviations=find_deviations(table),
    )


def _condition(name: str, table: ResultTable, metric: str) -> PilotCondition:
    runs = table.of(name)
    values = [row.metrics[metric].value for row in runs if metric in row.metrics]
    sd = describe(values).sd if values else None
    return PilotCondition(name, runs, sd)
