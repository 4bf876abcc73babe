"""The statistics once more, by other routes than the package's own where there is one."""

from functools import cache
from math import lgamma
from typing import Any

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

Array = np.ndarray[Any, np.dtype[np.float64]]


def paired(ours: dict[int, float], theirs: dict[int, float]) -> tuple[Array, Array, list[int]]:
    """Two samples at their common seeds."""
    seeds = sorted(set(ours) & set(theirs))
    return np.array([ours[s] for s in seeds]), np.array([theirs[s] for s in seeds]), seeds


def fieller(c: Array, r: Array, level: float) -> tuple[float, float]:
    """Ratios that a t test of c - ratio r does not reject, as percent changes, by root finding."""
    quantile = stats.t.ppf((1 + level) / 2, len(c) - 1)
    middle = c.mean() / r.mean()

    def excess(ratio: float) -> float:
        d = c - ratio * r
        return float(abs(d.mean()) - quantile * d.std(ddof=1) / np.sqrt(len(d)))

    if np.allclose(c, r, rtol=1e-14):
        return 0.0, 0.0
    step = 1e-9
    while excess(middle + step) < 0 or excess(middle - step) < 0:
        step *= 1.5
    low = optimize.brentq(excess, middle - step, middle, xtol=1e-15)
    high = optimize.brentq(excess, middle, middle + step, xtol=1e-15)
    return 100 * (low - 1), 100 * (high - 1)


def flips(d: Array, alternative: str = "two-sided") -> float:
    """Exact sign-flip p over all patterns, by matrix product."""
    signs = 1 - 2 * ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1)
    sums, slack = signs @ d, 1e-12 * np.abs(d).sum()
    if alternative == "two-sided":
        return float(np.mean(np.abs(sums) >= abs(d.sum()) - slack))
    sign = 1 if alternative == "greater" else -1
    return float(np.mean(sign * sums >= sign * d.sum() - slack))


@cache
def holm(p: tuple[float, ...]) -> tuple[float, ...]:
    """Holm's correction of a family, kept: statsmodels collects all garbage at each call.

    That takes as long as the process is large, and a verdict asks for it again and again.
    """
    return tuple(float(value) for value in multipletests(p, method="holm")[1])


def standardised(d: float, df: int, root_n: float, factor: float, level: float) -> list[float]:
    """An effect with the interval of its noncentrality."""
    t, tail = d * root_n, (1 - level) / 2

    def bound(p: float) -> float:
        # scipy's noncentral t is undefined far from t, so the bracket grows from it.
        def excess(nc: float) -> float:
            return float(stats.nct.cdf(t, df, nc) - p)

        side = 1.0 if excess(t) > 0 else -1.0
        step = 0.5
        while excess(t + side * step) * side > 0:
            step *= 1.2
        low, high = sorted((t, t + side * step))
        return float(optimize.brentq(excess, low, high, xtol=1e-12))

    return [factor * d, factor * bound(1 - tail) / root_n, factor * bound(tail) / root_n]


def small_sample(df: float) -> float:
    """Hedges' exact correction."""
    return float(np.exp(lgamma(df / 2) - lgamma((df - 1) / 2)) / np.sqrt(df / 2))
