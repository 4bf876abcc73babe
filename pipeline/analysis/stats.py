"""One sample, and two samples paired by seed: descriptives, t tests and intervals, Holm.

Owns formulas only: numbers in, numbers out; it must not know phases, verdicts or wording.
Convention in this package: difference = candidate - reference. Corrections for several tests:
Holm (1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.errors import PipelineError

Vector = npt.NDArray[np.float64]
Values = Sequence[float] | Vector


class StatisticsError(PipelineError):
    """The numbers do not allow the statistic that was asked for."""


@dataclass(frozen=True)
class Interval:
    """A two-sided interval and its nominal level, e.g. 0.95."""

    level: float
    low: float
    high: float


@dataclass(frozen=True)
class Descriptives:
    """One sample. What needs a spread is None when there is one value only."""

    n: int
    mean: float
    median: float
    interquartile_mean: float
    minimum: float
    maximum: float
    sd: float | None
    """With n - 1 in the denominator."""
    standard_error: float | None
    interval: Interval | None
    """Student's t interval of the mean."""
    prediction: Interval | None
    """Where one further run at a new seed is expected."""
    cv_percent: float | None


@dataclass(frozen=True)
class TTest:
    """An estimate with its standard error and degrees of freedom, and all that t gives for it."""

    estimate: float
    standard_error: float
    df: float

    def standardised(self, bound: float = 0.0) -> float:
        """Return (estimate - bound) / SE; with SE = 0 its limit: 0 at the bound, else +-inf."""
        excess = self.estimate - bound
        if self.standard_error == 0:
            return float(np.copysign(np.inf, excess)) if excess else 0.0
        return excess / self.standard_error

    @property
    def t(self) -> float:
        """The statistic against zero."""
        return self.standardised()

    @property
    def p(self) -> float:
        """Two-sided p against zero."""
        return float(2 * stats.t.sf(abs(self.t), self.df))

    def p_above(self, bound: float) -> float:
        """Return the one-sided p of the claim that the true value is above `bound`."""
        return float(stats.t.sf(self.standardised(bound), self.df))

    def p_below(self, bound: float) -> float:
        """Return the one-sided p of the claim that the true value is below `bound`."""
        return float(stats.t.cdf(self.standardised(bound), self.df))

    def interval(self, level: float) -> Interval:
        """Return the two-sided interval of the true value."""
        half = t_quantile(level, self.df) * self.standard_error
        return Interval(level, self.estimate - half, self.estimate + half)


def sample(values: Values, least: int = 2, name: str = "the sample") -> Vector:
    """Return the values as an array.

    Raises:
        StatisticsError: fewer than `least` values, or one that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < least:
        raise StatisticsError(f"{name} has {array.size} value(s); at least {least} are needed")
    if not np.isfinite(array).all():
        bad = [float(value) for value in array[~np.isfinite(array)]]
        raise StatisticsError(f"{name} holds values that are not finite: {bad}")
    return array


def pair_by_seed(
    candidate: Mapping[int, float], reference: Mapping[int, float]
) -> tuple[Vector, Vector]:
    """Return the two samples in the order of their common seeds.

    Raises:
        StatisticsError: the seed sets differ, naming the seeds without a partner.
    """
    lonely = sorted(set(candidate) ^ set(reference))
    if lonely:
        raise StatisticsError(f"the samples are not paired: seeds {lonely} have no partner")
    seeds = sorted(candidate)
    return (
        sample([candidate[seed] for seed in seeds], 0, "the candidate"),
        sample([reference[seed] for seed in seeds], 0, "the reference"),
    )


def t_quantile(level: float, df: float) -> float:
    """Return the half-width of a two-sided t interval in standard errors."""
    return float(stats.t.isf((1 - level) / 2, df))


def describe(values: Values, level: float = 0.95) -> Descriptives:
    """Describe one sample of at least one value."""
    x = sample(values, 1)
    mean = float(x.mean())
    sd = None if x.size == 1 else float(x.std(ddof=1))
    error = None if sd is None else sd / float(np.sqrt(x.size))
    test = None if error is None else TTest(mean, error, x.size - 1)
    ahead = None if sd is None else TTest(mean, sd * float(np.sqrt(1 + 1 / x.size)), x.size - 1)
    return Descriptives(
        n=int(x.size),
        mean=mean,
        median=float(np.median(x)),
        interquartile_mean=float(stats.trim_mean(x, 0.25)),
        minimum=float(x.min()),
        maximum=float(x.max()),
        sd=sd,
        standard_error=error,
        interval=None if test is None else test.interval(level),
        prediction=None if ahead is None else ahead.interval(level),
        cv_percent=None if sd is None or mean == 0 else 100 * sd / abs(mean),
    )


def differences(candidate: Values, reference: Values) -> Vector:
    """Return candidate - reference, exactly zero everywhere if the two agree to rounding.

    Raises:
        StatisticsError: unequal lengths, fewer than two pairs, a value that is not finite, or
            differences that are all the same but not zero: there is no spread to test against.
    """
    c, r = sample(candidate, name="the candidate"), sample(reference, name="the reference")
    if c.size != r.size:
        raise StatisticsError(f"{c.size} and {r.size} values are not pairs")
    d = c - r
    # Subtraction leaves rounding noise of some ulp of the operands; it is no spread.
    resolution = 8 * np.finfo(np.float64).eps * max(np.abs(c).max(), np.abs(r).max())
    if np.abs(d).max() <= resolution:
        return np.zeros_like(d)
    if np.ptp(d) <= resolution:
        raise StatisticsError(
            f"all {d.size} paired differences are {d[0]:.6g}: without spread nothing can be "
            "tested; were the runs of one condition copied or shifted?"
        )
    return d


def paired_t(candidate: Values, reference: Values) -> TTest:
    """Student's t on the differences; raises as `differences` does."""
    d = differences(candidate, reference)
    return TTest(float(d.mean()), float(d.std(ddof=1) / np.sqrt(d.size)), d.size - 1)


def welch_t(candidate: Values, reference: Values) -> TTest | None:
    """Welch's t for unpaired samples; None when neither sample has any spread."""
    c, r = sample(candidate, name="the candidate"), sample(reference, name="the reference")
    return welch_from_summary(
        float(c.mean() - r.mean()),
        (float(c.std(ddof=1) / np.sqrt(c.size)), c.size - 1),
        (float(r.std(ddof=1) / np.sqrt(r.size)), r.size - 1),
    )


def welch_from_summary(
    difference: float, first: tuple[float, float], second: tuple[float, float]
) -> TTest | None:
    """Welch-Satterthwaite for two independent means given as (standard error, df)."""
    variances = np.array([first[0] ** 2, second[0] ** 2])
    total = float(variances.sum())
    if total == 0:
        return None
    # Shares first: squares of tiny variances would underflow.
    shares = variances / total
    df = 1 / float((shares**2 / np.array([first[1], second[1]])).sum())
    return TTest(difference, float(np.sqrt(total)), df)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p values, in the order given."""
    p = sample(p_values, 0, "the family")
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return tuple(float(value) for value in adjusted)


def brown_forsythe(samples: Sequence[Values]) -> float | None:
    """p of equal spread (Levene's test about medians); None when no sample has any spread."""
    arrays = [sample(values) for values in samples]
    if all(np.ptp(array) == 0 for array in arrays):
        return None
    return float(stats.levene(*arrays, center="median").pvalue)


def correlation(first: Values, second: Values) -> float | None:
    """Pearson's r over pairs; None when one of the samples has no spread."""
    x, y = sample(first), sample(second)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


def leave_one_out(candidate: Values, reference: Values) -> tuple[TTest, ...] | None:
    """Return the paired t without each pair in turn; None below three pairs."""
    c, r = sample(candidate), sample(reference)
    if c.size < 3:
        return None
    return tuple(paired_t(np.delete(c, i), np.delete(r, i)) for i in range(c.size))
