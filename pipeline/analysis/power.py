"""What a number of pairs can detect, and how many pairs a margin takes.

Owns formulas only. Power of the two-sided paired t test by the noncentral t (Cohen 1988), power of
TOST as the exact integral over the standard deviation's distribution (Phillips 1990).
"""

from collections.abc import Callable

import numpy as np
from scipy import integrate, optimize, stats

# Above this nobody plans; the search answers None. A power of two, as the search doubles.
MOST_PAIRS = 2**16


def t_power(noncentrality: float, df: float, alpha: float) -> float:
    """Return the chance that a two-sided t test rejects; noncentrality in standard errors."""
    critical = stats.t.isf(alpha / 2, df)
    with np.errstate(all="ignore"):
        near = float(stats.nct.sf(critical, df, noncentrality))
        far = float(stats.nct.cdf(-critical, df, noncentrality))
    # scipy gives nan instead of 0 for the far tail at large noncentrality.
    return near + (0.0 if np.isnan(far) else far)


def detectable(df: float, alpha: float, power: float) -> float | None:
    """Return the smallest detectable difference (MDE) in standard errors of the difference.

    None where scipy's noncentral t gives no number.
    """

    def shortfall(noncentrality: float) -> float:
        return t_power(noncentrality, df, alpha) - power

    high = 1.0
    while shortfall(high) < 0:
        high *= 1.25
    if np.isnan(shortfall(high)):
        return None
    return float(optimize.brentq(shortfall, 0.0, high, xtol=1e-12))


def pairs_to_detect(sd_difference: float, size: float, alpha: float, power: float) -> int | None:
    """Return the pairs that detect a true difference of `size` with the given power.

    `sd_difference` and `size` are in the metric's unit; None above 65,536 pairs.
    """
    if sd_difference == 0:
        return 2
    ratio = abs(size) / sd_difference
    return _fewest(lambda n: t_power(ratio * float(np.sqrt(n)), n - 1, alpha) >= power)


def tost_power(margin_in_errors: float, df: float, alpha: float) -> float:
    """Return the chance that TOST passes at a true difference of 0; margin in standard errors."""
    critical = float(stats.t.isf(alpha, df))

    def integrand(ratio: float) -> float:
        # ratio = estimated / true standard error, chi-distributed over sqrt(df)
        density = stats.chi.pdf(ratio * np.sqrt(df), df) * np.sqrt(df)
        return float((2 * stats.norm.cdf(margin_in_errors - critical * ratio) - 1) * density)

    # Beyond ten standard deviations of the ratio there is no mass to integrate.
    spread = 10 / np.sqrt(2 * df)
    low, high = max(0.0, 1 - spread), min(margin_in_errors / critical, 1 + spread)
    if high <= low:
        return 0.0
    return float(min(1.0, integrate.quad(integrand, low, high, limit=200)[0]))


def pairs_to_bound(sd_difference: float, margin: float, alpha: float, power: float) -> int | None:
    """Return the pairs with which TOST passes with the given power if the true difference is 0."""
    if sd_difference == 0:
        return 2
    ratio = margin / sd_difference
    return _fewest(lambda n: tost_power(ratio * float(np.sqrt(n)), n - 1, alpha) >= power)


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """Smallest n >= 2 that is enough: doubling, then bisection (power grows with n)."""
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST_PAIRS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
