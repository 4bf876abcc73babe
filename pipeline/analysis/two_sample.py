"""How far apart are two samples in several dimensions? Energy distance, MMD, Kolmogorov-Smirnov.

Owns formulas only; samples are (points, dimensions).
"""

from functools import cache

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from pipeline.analysis.recording import Array
from pipeline.analysis.stats import Vector


def energy_distance(x: Array, y: Array) -> float:
    """Return 2 E|X - Y| - E|X - X'| - E|Y - Y'| of the empirical distributions.

    Szekely & Rizzo (2013), in the unit of the points: not negative, and 0 for equal samples only.
    Of finite samples of one distribution it is above 0, by about (E|X - X'|) (1/n + 1/m).
    """
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


def median_distance(x: Array) -> float:
    """Return the median distance between two points of a sample: the usual bandwidth of an MMD."""
    return float(np.median(pdist(x)))


def mmd_squared(x: Array, y: Array, bandwidth: float) -> float:
    """Return the unbiased estimate of MMD^2 under k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)).

    Gretton et al. (2012), lemma 6: its expectation is 0 for equal distributions, so it may be
    negative. Both samples need two points.
    """
    across = _gaussian(x, y, bandwidth).mean()
    return float(_mean_apart(x, bandwidth) + _mean_apart(y, bandwidth) - 2 * across)


def _mean_apart(x: Array, bandwidth: float) -> float:
    """Mean of the kernel over pairs of different points."""
    n = len(x)
    return float((_gaussian(x, x, bandwidth).sum() - n) / (n * (n - 1)))


def _gaussian(x: Array, y: Array, bandwidth: float) -> Array:
    kernel: Array = np.exp(-cdist(x, y, "sqeuclidean") / (2 * bandwidth**2))
    return kernel


def kolmogorov_smirnov(x: Array, y: Array) -> tuple[Vector, Vector]:
    """Return the two-sample statistic in each dimension and its asymptotic two-sided p.

    The same as scipy.stats.ks_2samp(method="asymp"), all dimensions at once.
    """
    n, m = len(x), len(y)
    points = np.concatenate([x, y])
    order = np.argsort(points, axis=0, kind="stable")
    steps = np.where(order < n, 1 / n, -1 / m)
    gaps = np.cumsum(steps, axis=0)
    # Between equal points neither distribution function has its value yet.
    ordered = np.take_along_axis(points, order, axis=0)
    ends = np.ones_like(gaps, dtype=bool)
    ends[:-1] = ordered[1:] != ordered[:-1]
    statistic = np.where(ends, np.abs(gaps), 0.0).max(axis=0)
    effective = round(n * m / (n + m))
    # Of samples of these sizes there are few statistics, and a p of scipy takes a millisecond.
    return statistic, np.array([_ks_p(round(float(d), 12), effective) for d in statistic])


@cache
def _ks_p(statistic: float, effective: int) -> float:
    return float(np.clip(stats.kstwo.sf(statistic, effective), 0.0, 1.0))
