"""Does a quantity rise or fall along an ordered factor? Page's test on blocks (Page 1963).

Owns formulas only. Two-sided: twice the smaller of the two one-sided p values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy import stats

# Page's L needs as many.
LEAST_LEVELS, LEAST_BLOCKS = 3, 2


class Course(StrEnum):
    """How the quantity goes along the factor."""

    RISES = "rises"
    FALLS = "falls"
    UNRESOLVED = "unresolved"
    UNTESTED = "untested"


@dataclass(frozen=True)
class Trend:
    """One factor; p and statistic are None where the test is not defined."""

    key: str
    label: str
    levels: tuple[float, ...]
    seeds: tuple[int, ...]
    """The blocks."""
    means: tuple[float, ...]
    """Of the quantity at each level, over blocks."""
    course: Course
    statistic: float | None = None
    p: float | None = None


def page_trend(
    key: str,
    label: str,
    levels: Sequence[float],
    seeds: Sequence[int],
    blocks: Sequence[Sequence[float]],
    alpha: float,
) -> Trend:
    """Test a trend over levels in increasing order; `blocks` holds a row of them per seed."""
    means = tuple(float(sum(column) / len(column)) for column in zip(*blocks, strict=True))
    untested = Trend(key, label, tuple(levels), tuple(seeds), means, Course.UNTESTED)
    if len(levels) < LEAST_LEVELS or len(blocks) < LEAST_BLOCKS:
        return untested
    rising = stats.page_trend_test(blocks)
    falling = stats.page_trend_test([row[::-1] for row in blocks])
    p = min(1.0, 2 * float(min(rising.pvalue, falling.pvalue)))
    course = Course.RISES if rising.pvalue < falling.pvalue else Course.FALLS
    return Trend(
        key,
        label,
        tuple(levels),
        tuple(seeds),
        means,
        course if p < alpha else Course.UNRESOLVED,
        float(rising.statistic),
        p,
    )
