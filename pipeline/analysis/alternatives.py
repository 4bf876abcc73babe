"""Alternatives: each condition of a phase against the reference, ordered by estimate.

The order is for reading; what may be said of a condition is its verdict. Conditions whose
simultaneous intervals overlap, or come within the margin of each other, are tied.
"""

from dataclasses import dataclass

from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.multiseed import MultiseedAnalysis, analyse_multiseed
from pipeline.analysis.stats import Interval
from pipeline.analysis.table import AnalysisPlan, Hypothesis, ResultTable


@dataclass(frozen=True)
class Place:
    """A comparison in the order of estimates; equal groups are tied."""

    group: int
    comparison: Comparison


@dataclass(frozen=True)
class AlternativesAnalysis:
    """What the phase came to."""

    paired: MultiseedAnalysis
    order: tuple[Place, ...]
    """The lowest difference first (the highest, when the metric is to be maximised)."""
    unordered: tuple[Comparison, ...]
    """Those without an interval in percent."""

    @property
    def phase(self) -> str:
        """The phase's name."""
        return self.paired.phase

    @property
    def deviations(self) -> tuple[str, ...]:
        """Departures from one code, one tree, one data set."""
        return self.paired.deviations


def analyse_alternatives(
    table: ResultTable, plan: AnalysisPlan, hypotheses: tuple[Hypothesis, ...]
) -> AlternativesAnalysis:
    """Test each alternative, corrected together (Holm), and put them in order.

    Raises:
        PipelineError: as `analyse_multiseed` does.
    """
    paired = analyse_multiseed(table, plan, hypotheses)
    sized = [(c, found) for c in paired.comparisons if (found := _simultaneous(c)) is not None]
    sign = 1 if plan.direction == "minimize" else -1
    sized.sort(key=lambda item: sign * _estimate(item[0]))
    order: list[Place] = []
    leader: Interval | None = None
    for comparison, interval in sized:
        apart = leader is not None and _gap(leader, interval) > plan.margin_percent
        group = order[-1].group + apart if order else 1
        if leader is None or apart:
            leader = interval
        order.append(Place(group, comparison))
    placed = [comparison for comparison, _ in sized]
    rest = tuple(c for c in paired.comparisons if c not in placed)
    return AlternativesAnalysis(paired, tuple(order), rest)


def _simultaneous(comparison: Comparison) -> Interval | None:
    return comparison.tested.percent.interval_corrected if comparison.tested else None


def _estimate(comparison: Comparison) -> float:
    assert comparison.tested is not None
    return comparison.tested.percent.value


def _gap(first: Interval, second: Interval) -> float:
    """Distance between two intervals, in percentage points; not positive when they overlap."""
    return max(second.low - first.high, first.low - second.high)
