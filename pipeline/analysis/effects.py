"""Sizes of a difference: standardised, in percent, and as a chance; each with its interval.

Owns formulas only. Standardised differences and their noncentral-t intervals: Hedges (1981) and
Cumming & Finch (2001). Percent change of paired means: Fieller (1954).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from pipeline.analysis.stats import (
    Interval,
    StatisticsError,
    Values,
    differences,
    paired_t,
    sample,
    t_quantile,
)

# How far from t, in units of the noncentrality, its bounds are looked for.
FARTHEST_BOUND = 1e6


@dataclass(frozen=True)
class Effect:
    """A value and its interval; the interval is None where the noncentral t cannot be solved."""

    value: float
    interval: Interval | None


def hedges_g(candidate: Values, reference: Values, level: float = 0.95) -> Effect | None:
    """Return Hedges' g of two samples (pooled sd, exact J); None when neither has any spread."""
    c, r = sample(candidate), sample(reference)
    df = c.size + r.size - 2
    variance = ((c.size - 1) * c.var(ddof=1) + (r.size - 1) * r.var(ddof=1)) / df
    if variance == 0:
        return None
    d = float((c.mean() - r.mean()) / np.sqrt(variance))
    return _standardised(
        d, df, float(np.sqrt(c.size * r.size / (c.size + r.size))), level, hedges_correction(df)
    )


def d_z(candidate: Values, reference: Values, level: float = 0.95) -> Effect | None:
    """Return the mean difference over the sd of the differences; None without any spread."""
    d = differences(candidate, reference)
    if np.ptp(d) == 0:
        return None
    value = float(d.mean() / d.std(ddof=1))
    return _standardised(value, d.size - 1, float(np.sqrt(d.size)), level, 1.0)


def hedges_correction(df: float) -> float:
    """Return J, the exact small-sample correction of a standardised difference (Hedges 1981)."""
    return float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))


def _standardised(d: float, df: float, root_n: float, level: float, correction: float) -> Effect:
    bounds = noncentrality(d * root_n, df, level)
    scale = correction / root_n
    interval = bounds and Interval(level, bounds.low * scale, bounds.high * scale)
    return Effect(correction * d, interval)


def noncentrality(t: float, df: float, level: float = 0.95) -> Interval | None:
    """Return the noncentralities that leave an observed t on the edge of either tail.

    None where scipy's noncentral t gives no number (large t at few degrees of freedom).
    """
    tail = (1 - level) / 2
    low = _solve_decreasing(lambda nc: float(stats.nct.cdf(t, df, nc)) - (1 - tail), t)
    high = _solve_decreasing(lambda nc: float(stats.nct.cdf(t, df, nc)) - tail, t)
    return None if low is None or high is None else Interval(level, low, high)


def _solve_decreasing(function: Callable[[float], float], start: float) -> float | None:
    """Root of a decreasing function, bracketed by steps that grow away from `start`."""
    at_start = function(start)
    sign, step = (1.0 if at_start > 0 else -1.0), 1.0
    while step <= FARTHEST_BOUND:
        end = start + sign * step
        at_end = function(end)
        if np.isnan(at_end) or np.isnan(at_start):
            return None
        if at_end * sign <= 0:
            return float(optimize.brentq(function, min(start, end), max(start, end), xtol=1e-12))
        step *= 2
    return None


def percent_change(candidate: Values, reference: Values) -> float:
    """Return 100 * (mean difference) / |mean of the reference|.

    Raises:
        StatisticsError: the reference's mean is zero.
    """
    c, r = sample(candidate, 1), sample(reference, 1)
    base = abs(float(r.mean()))
    if base == 0:
        raise StatisticsError("a percentage of a reference whose mean is 0 is not defined")
    return 100 * float(c.mean() - r.mean()) / base


def percent_interval(candidate: Values, reference: Values, level: float = 0.95) -> Interval | None:
    """Return Fieller's interval of the percent change of paired means.

    The two means' covariance is used, so that pairing narrows it. None when the reference's mean
    is not resolved from zero (the interval would be unbounded).
    """
    c, r = sample(candidate), sample(reference)
    d, base = paired_t(c, r), float(r.mean())
    quantile = t_quantile(level, d.df)
    # For ratio - 1 = mean(c - r) / mean(r): roots of (d - x r)^2 = t^2 (vd - 2 x vdr + x^2 vr).
    covariance = np.cov(c - r, r, ddof=1) / c.size
    vd, vdr, vr = d.standard_error**2, float(covariance[0, 1]), float(covariance[1, 1])
    squared = base**2 - quantile**2 * vr
    if squared <= 0:
        return None
    middle = d.estimate * base - quantile**2 * vdr
    root = np.sqrt(max(middle**2 - squared * (d.estimate**2 - quantile**2 * vd), 0.0))
    sign = float(np.sign(base))
    ends = sorted(100 * sign * (middle + side * root) / squared for side in (-1.0, 1.0))
    return Interval(level, float(ends[0]), float(ends[1]))
