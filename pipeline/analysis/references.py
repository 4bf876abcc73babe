"""Trivial predictors beside the trained conditions: how far is a mean from what needs no training?

Owns the one-sample comparison only. Both uncertainties enter (Welch-Satterthwaite): the spread
over runs and the predictor's own evaluation error. On a shared held-out set the two errors go
together rather than apart, so the interval errs on the wide side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.analysis.stats import Interval, describe, welch_from_summary
from pipeline.analysis.table import Measurement, ResultTable


class Position(StrEnum):
    """Where the interval of (mean of the condition - predictor) lies."""

    ABOVE = "above"
    BELOW = "below"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True)
class Distance:
    """One condition against one predictor; difference = mean over runs - predictor."""

    condition: str
    predictor: str
    difference: float
    ratio: float | None
    """Mean over the predictor's value; None when that is 0."""
    interval: Interval | None
    """Of the difference; None with a single run."""
    position: Position


def reference_values(table: ResultTable, metric: str) -> dict[str, Measurement]:
    """Return the predictors' measurements on a metric, from the first run that has each."""
    found: dict[str, Measurement] = {}
    for row in table.rows:
        for name, measured in row.references.get(metric, {}).items():
            found.setdefault(name, measured)
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def distance(
    condition: str, values: Sequence[float], predictor: str, reference: Measurement, level: float
) -> Distance:
    """Compare the mean over a condition's runs with a predictor's value."""
    described = describe(values, level)
    difference = described.mean - reference.value
    ratio = described.mean / reference.value if reference.value else None
    interval = None
    if described.standard_error is not None:
        infinite = (reference.standard_error or 0.0, max((reference.count or 2) - 1, 1))
        test = welch_from_summary(difference, (described.standard_error, described.n - 1), infinite)
        interval = test.interval(level) if test else Interval(level, difference, difference)
    return Distance(condition, predictor, difference, ratio, interval, _position(interval))


def _position(interval: Interval | None) -> Position:
    if interval is not None and interval.low > 0:
        return Position.ABOVE
    if interval is not None and interval.high < 0:
        return Position.BELOW
    return Position.UNRESOLVED
