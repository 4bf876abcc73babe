"""One candidate against one reference, paired by seed: every number the report prints of it.

Owns the choice of statistics (statistics only; the verdict's rule is in verdict.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis import effects, margins, power, signs, stats
from pipeline.analysis.margins import RopePosterior, Tost
from pipeline.analysis.stats import Interval, TTest, Vector
from pipeline.analysis.table import AnalysisPlan


@dataclass(frozen=True)
class Sized:
    """A difference in percent of the reference's mean; `None` where it has no bounds."""

    value: float
    interval: Interval | None
    """At level 1 - alpha."""
    interval_corrected: Interval | None
    """At level 1 - alpha / k for a family of k comparisons (Bonferroni)."""
    interval_tost: Interval | None
    """At level 1 - 2 alpha: inside the margin exactly when TOST passes, up to the conversion."""


@dataclass(frozen=True)
class Planning:
    """What this number of pairs could detect, and how many a margin takes; None: no solution."""

    detectable: float | None
    """In the metric's unit, at alpha."""
    detectable_percent: float | None
    detectable_percent_corrected: float | None
    """At alpha / k."""
    pairs_to_detect_margin: int | None
    pairs_to_detect_margin_corrected: int | None
    pairs_to_bound_margin: int | None
    """For TOST to pass when the true difference is 0."""


@dataclass(frozen=True)
class Checks:
    """Other analyses of the same numbers; shown, never decided on. None: not defined here."""

    welch: TTest | None
    wilcoxon_p: float | None
    without_one_seed: Interval | None
    """Smallest and largest difference in percent when one pair is left out (level 0)."""
    largest_p_without_one: float | None
    posterior: RopePosterior
    spread_ratio: float | None
    """sd of the candidate over sd of the reference."""
    spread_p: float | None
    """Brown-Forsythe test of equal spread."""
    seed_correlation: float | None


@dataclass(frozen=True)
class Tested:
    """The statistics of one comparison before any correction for the family."""

    differences: tuple[float, ...]
    """By increasing seed, in the metric's unit."""
    identical: bool
    """Every pair agrees to rounding: the two conditions computed the same."""
    paired: TTest
    p: float
    signflip: signs.SignFlip
    interval: Interval
    interval_corrected: Interval
    interval_tost: Interval
    percent: Sized
    margin: Tost
    margin_percent: float
    """The margin in percent of this comparison's reference."""
    sensitivity: tuple[tuple[float, Tost], ...]
    """Other margins, as declared (in percent of the plan's reference), with their tests."""
    hedges_g: effects.Effect | None
    d_z: effects.Effect | None
    planning: Planning
    checks: Checks


def examine(
    candidate: Vector, reference: Vector, base: float, family_size: int, plan: AnalysisPlan
) -> Tested:
    """Compute everything about the pairs; margins are percentages of |base|.

    Raises:
        StatisticsError: fewer than two pairs, values that are not finite, differences without
            spread, or a base of zero.
    """
    test, d = stats.paired_t(candidate, reference), stats.differences(candidate, reference)
    level, corrected = 1 - plan.alpha, 1 - plan.alpha / family_size
    tost_level = 1 - 2 * plan.alpha
    margin = _margin(plan.margin_percent, base)
    tests = tuple(
        (percent, margins.tost(candidate, reference, _margin(percent, base)))
        for percent in plan.sensitivity_margins_percent
    )
    return Tested(
        differences=tuple(float(value) for value in d),
        identical=not d.any(),
        paired=test,
        p=test.p,
        signflip=signs.signflip(d),
        interval=test.interval(level),
        interval_corrected=test.interval(corrected),
        interval_tost=test.interval(tost_level),
        percent=Sized(
            effects.percent_change(candidate, reference),
            effects.percent_interval(candidate, reference, level),
            effects.percent_interval(candidate, reference, corrected),
            effects.percent_interval(candidate, reference, tost_level),
        ),
        margin=margins.tost(candidate, reference, margin),
        margin_percent=100 * margin / abs(float(reference.mean())),
        sensitivity=tests,
        hedges_g=effects.hedges_g(candidate, reference, level),
        d_z=effects.d_z(candidate, reference, level),
        planning=_planning(d, test, margin, 100 / abs(float(reference.mean())), family_size, plan),
        checks=_checks(candidate, reference, test, margin),
    )


def _margin(percent: float, base: float) -> float:
    """Return a margin in the metric's unit."""
    return percent / 100 * abs(base)


def _planning(
    d: Vector, test: TTest, margin: float, to_percent: float, family_size: int, plan: AnalysisPlan
) -> Planning:
    sd, corrected = float(d.std(ddof=1)), plan.alpha / family_size
    smallest = _scaled(power.detectable(test.df, plan.alpha, plan.power), test.standard_error)
    smallest_corrected = _scaled(
        power.detectable(test.df, corrected, plan.power), test.standard_error
    )
    return Planning(
        smallest,
        _scaled(smallest, to_percent),
        _scaled(smallest_corrected, to_percent),
        power.pairs_to_detect(sd, margin, plan.alpha, plan.power),
        power.pairs_to_detect(sd, margin, corrected, plan.power),
        power.pairs_to_bound(sd, margin, plan.alpha, plan.power),
    )


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _checks(candidate: Vector, reference: Vector, test: TTest, margin: float) -> Checks:
    ranks = signs.wilcoxon(stats.differences(candidate, reference))
    left_out, largest_p = _without_one_seed(candidate, reference)
    spread = float(reference.std(ddof=1))
    return Checks(
        welch=stats.welch_t(candidate, reference),
        wilcoxon_p=None if ranks is None else ranks.p,
        without_one_seed=left_out,
        largest_p_without_one=largest_p,
        posterior=margins.rope(test, margin),
        spread_ratio=float(candidate.std(ddof=1)) / spread if spread else None,
        spread_p=stats.brown_forsythe((candidate, reference)),
        seed_correlation=stats.correlation(candidate, reference),
    )


def _without_one_seed(candidate: Vector, reference: Vector) -> tuple[Interval | None, float | None]:
    try:
        tests = stats.leave_one_out(candidate, reference)
    except stats.StatisticsError:  # without some seed the rest has no spread
        return None, None
    if tests is None:
        return None, None
    percent = _percents_without(candidate, reference)
    return Interval(0.0, min(percent), max(percent)), max(test.p for test in tests)


def _percents_without(candidate: Vector, reference: Vector) -> Sequence[float]:
    return [
        effects.percent_change(np.delete(candidate, i), np.delete(reference, i))
        for i in range(candidate.size)
    ]
