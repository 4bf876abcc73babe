"""The verdict's rule, row by row, and what it carries for the wording."""

import pytest

from pipeline.analysis.margins import Tost
from pipeline.analysis.table import Direction
from pipeline.analysis.verdict import Evidence, Outcome, Shortfall, decide

YES, NO = 0.001, 0.5


def tost(lower: float, upper: float, lower_flip: float = YES, upper_flip: float = YES) -> Tost:
    """Return TOST results of a margin that does not matter here."""
    return Tost(0.1, lower, upper, lower_flip, upper_flip)


INSIDE, BROAD = tost(YES, YES), tost(NO, NO, NO, NO)


@pytest.mark.parametrize(
    ("difference", "p_holm", "p_flip", "margin", "direction", "outcome"),
    [
        (-1.0, YES, YES, BROAD, "minimize", Outcome.SUPPORTED),
        (+1.0, YES, YES, BROAD, "minimize", Outcome.REJECTED),
        (-1.0, YES, YES, BROAD, "maximize", Outcome.REJECTED),
        (+1.0, YES, YES, BROAD, "maximize", Outcome.SUPPORTED),
        (-1.0, YES, NO, BROAD, "minimize", Outcome.INCONCLUSIVE),
        (-1.0, NO, YES, BROAD, "minimize", Outcome.INCONCLUSIVE),
        (-1.0, YES, YES, INSIDE, "minimize", Outcome.EQUIVALENT),
        (-1.0, NO, NO, INSIDE, "minimize", Outcome.EQUIVALENT),
        (-1.0, YES, YES, tost(YES, YES, YES, NO), "minimize", Outcome.SUPPORTED),
        (-1.0, 0.05, YES, BROAD, "minimize", Outcome.INCONCLUSIVE),
        (-1.0, NO, NO, tost(YES, 0.05), "minimize", Outcome.INCONCLUSIVE),
    ],
)
def test_the_rule(
    difference: float,
    p_holm: float,
    p_flip: float,
    margin: Tost,
    direction: Direction,
    outcome: Outcome,
) -> None:
    """Both tests must agree, the margin is asked first, p = alpha is not enough."""
    evidence = Evidence(difference, p_holm, p_flip, margin)
    verdict = decide(10, evidence, alpha=0.05, min_pairs=8, direction=direction)
    assert verdict.outcome is outcome


def test_a_detectable_difference_inside_the_margin_says_so() -> None:
    """EQUIVALENT tells a real but negligible difference from an unresolved one."""
    seen = decide(10, Evidence(1, YES, YES, INSIDE), alpha=0.05, min_pairs=8)
    unseen = decide(10, Evidence(1, NO, YES, INSIDE), alpha=0.05, min_pairs=8)
    assert (seen.detectable, unseen.detectable) == (True, False)


def test_too_few_pairs_end_every_argument() -> None:
    """Seven pairs where eight were promised: INCONCLUSIVE, whatever the p."""
    verdict = decide(7, Evidence(1, YES, YES, INSIDE), alpha=0.05, min_pairs=8)
    assert (verdict.outcome, verdict.shortfall) == (
        Outcome.INCONCLUSIVE,
        Shortfall.TOO_FEW_PAIRS,
    )


def test_pairs_that_cannot_be_tested_are_inconclusive() -> None:
    """Differences without spread carry no evidence."""
    verdict = decide(10, None, alpha=0.05, min_pairs=8)
    assert verdict.shortfall is Shortfall.UNTESTABLE


@pytest.mark.parametrize(
    ("direction", "improvement", "harm"),
    [("minimize", True, False), ("maximize", False, True)],
)
def test_an_inconclusive_verdict_carries_the_excluded_side(
    direction: Direction, improvement: bool, harm: bool
) -> None:
    """Difference > -margin is settled: that excludes gains of an error, losses of a score."""
    evidence = Evidence(0.5, NO, NO, tost(YES, NO, YES, NO))
    verdict = decide(10, evidence, alpha=0.05, min_pairs=8, direction=direction)
    assert verdict.shortfall is Shortfall.UNRESOLVED
    assert verdict.improvement is not None
    assert verdict.harm is not None
    assert (verdict.improvement.excluded, verdict.harm.excluded) == (improvement, harm)
