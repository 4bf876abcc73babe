"""Is a difference short of a margin on both sides? Two one-sided tests, and the posterior shares.

TOST: Schuirmann (1987). Region of practical equivalence: Benavoli et al. (2017), for one data set.
"""

from dataclasses import dataclass

from scipy import stats

from pipeline.analysis.signs import signflip
from pipeline.analysis.stats import StatisticsError, TTest, Values, differences, paired_t


@dataclass(frozen=True)
class Tost:
    """Two one-sided tests that the difference lies above -margin and below +margin."""

    margin: float
    p_lower: float
    """Of the claim difference > -margin (paired t)."""
    p_upper: float
    """Of the claim difference < +margin (paired t)."""
    p_lower_signflip: float
    p_upper_signflip: float

    @property
    def p(self) -> float:
        """The p of both claims together, by the paired t."""
        return max(self.p_lower, self.p_upper)

    @property
    def p_signflip(self) -> float:
        """The p of both claims together, by the sign-flip test."""
        return max(self.p_lower_signflip, self.p_upper_signflip)


@dataclass(frozen=True)
class RopePosterior:
    """Posterior shares under a flat prior (a t distribution around the mean difference)."""

    below: float
    """Difference < -margin."""
    within: float
    above: float
    """Difference > +margin."""


def tost(candidate: Values, reference: Values, margin: float) -> Tost:
    """Two one-sided tests, by the paired t and by the sign-flip test of shifted differences.

    Raises:
        StatisticsError: a margin that is not positive, or as `differences` does.
    """
    if not margin > 0:
        raise StatisticsError(f"the margin must be positive, not {margin:.6g}")
    d, test = differences(candidate, reference), paired_t(candidate, reference)
    return Tost(
        margin,
        test.p_above(-margin),
        test.p_below(margin),
        signflip(d + margin, "greater").p,
        signflip(d - margin, "less").p,
    )


def rope(test: TTest, margin: float) -> RopePosterior:
    """Return the posterior shares outside and inside +-margin under a flat prior."""
    below, above = test.p_above(-margin), test.p_below(margin)
    inside = stats.t.cdf(-test.standardised(margin), test.df) - stats.t.cdf(
        -test.standardised(-margin), test.df
    )
    return RopePosterior(below, float(inside), above)
