"""Tests by flipping signs: they hold for any distribution of differences symmetric about zero.

The exact sign-flip test is Fisher's (The Design of Experiments, 1935, section 21); Wilcoxon's
signed-rank test is the same on ranks.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from pipeline.analysis.stats import Values, Vector, sample

Alternative = Literal["two-sided", "greater", "less"]

# 2^20 sign patterns take 8 MB and some 10 ms; beyond that patterns are drawn at random.
EXACT_SIGNFLIP_PAIRS = 20
MONTE_CARLO_PATTERNS = 199_999
MONTE_CARLO_SEED = 20260123


@dataclass(frozen=True)
class SignFlip:
    """p of a sign-flip test; `exact` is False when sign patterns were drawn at random."""

    p: float
    exact: bool


def signflip(values: Values, alternative: Alternative = "two-sided") -> SignFlip:
    """Test that differences are symmetric about zero, by flipping their signs.

    Exact over all 2^n sign patterns up to n = 20, above that 199,999 random patterns from a
    fixed seed. One-sided: "greater" claims a positive centre.
    """
    d = sample(values, 1)
    exact = d.size <= EXACT_SIGNFLIP_PAIRS
    sums = _all_signed_sums(d) if exact else _random_signed_sums(d)
    observed = float(d.sum())
    slack = 1e-12 * float(np.abs(d).sum())  # equal sums differ by rounding
    if alternative == "two-sided":
        extreme = np.abs(sums) >= abs(observed) - slack
    else:
        sign = 1.0 if alternative == "greater" else -1.0
        extreme = sign * sums >= sign * observed - slack
    count = int(np.count_nonzero(extreme))
    return SignFlip(count / sums.size if exact else (count + 1) / (sums.size + 1), exact)


def _all_signed_sums(d: Vector) -> Vector:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_signed_sums(d: Vector) -> Vector:
    generator = np.random.default_rng(MONTE_CARLO_SEED)
    sums = np.zeros(MONTE_CARLO_PATTERNS)
    for value in d:  # one column at a time keeps the memory at a few MB for any n
        sums += np.where(generator.random(MONTE_CARLO_PATTERNS) < 0.5, value, -value)
    return sums


def wilcoxon(values: Values) -> SignFlip | None:
    """Wilcoxon's signed-rank test as a sign-flip test on mid-ranks, so ties stay exact.

    Zero differences are dropped (Wilcoxon's own rule); None when nothing is left.
    """
    d = sample(values, 1)
    d = d[d != 0]
    if d.size == 0:
        return None
    return signflip(np.sign(d) * stats.rankdata(np.abs(d)))
