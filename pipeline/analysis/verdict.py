"""The rule that turns tests into a verdict. Pure; the only place where a verdict is decided.

EQUIVALENT is asked first, so that a detectable but negligible difference is never sold as a
finding. Both the t tests and the sign-flip tests must agree: the latter hold without normality.
"""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.analysis.margins import Tost
from pipeline.analysis.table import Direction


class Outcome(StrEnum):
    """What the data say about "the candidate improves the metric over the reference"."""

    SUPPORTED = "SUPPORTED"
    REJECTED = "REJECTED"
    EQUIVALENT = "EQUIVALENT"
    INCONCLUSIVE = "INCONCLUSIVE"


class Shortfall(StrEnum):
    """Why a verdict is INCONCLUSIVE."""

    TOO_FEW_PAIRS = "too few complete pairs"
    UNTESTABLE = "the differences cannot be tested"
    UNRESOLVED = "the data do not resolve the question"


@dataclass(frozen=True)
class Side:
    """One side of the margin: is a difference as large as the margin excluded there?"""

    p: float
    """One-sided p of the paired t that the difference is short of the margin."""
    p_signflip: float
    excluded: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome, with what is needed to word it."""

    outcome: Outcome
    detectable: bool = False
    """EQUIVALENT and yet resolved from zero: real, and smaller than the margin."""
    shortfall: Shortfall | None = None
    improvement: Side | None = None
    """Is an improvement of the margin or more excluded?"""
    harm: Side | None = None


@dataclass(frozen=True)
class Evidence:
    """The tests of one comparison; difference = candidate - reference."""

    difference: float
    p_holm: float
    p_signflip_holm: float
    tost: Tost


def decide(
    n_pairs: int,
    evidence: Evidence | None,
    *,
    alpha: float,
    min_pairs: int,
    direction: Direction = "minimize",
) -> Verdict:
    """Return the verdict on "the candidate improves the metric".

    `evidence` is None where the pairs allow no test (no spread, fewer than two pairs).
    """
    improvement, harm = _sides(evidence.tost, alpha, direction) if evidence else (None, None)
    if n_pairs < min_pairs:
        return Verdict(Outcome.INCONCLUSIVE, False, Shortfall.TOO_FEW_PAIRS, improvement, harm)
    if evidence is None or improvement is None or harm is None:
        return Verdict(Outcome.INCONCLUSIVE, shortfall=Shortfall.UNTESTABLE)
    if improvement.excluded and harm.excluded:
        return Verdict(Outcome.EQUIVALENT, evidence.p_holm < alpha, None, improvement, harm)
    detected = evidence.p_holm < alpha and evidence.p_signflip_holm < alpha
    if not detected:
        return Verdict(Outcome.INCONCLUSIVE, False, Shortfall.UNRESOLVED, improvement, harm)
    improved = (evidence.difference < 0) == (direction == "minimize")
    outcome = Outcome.SUPPORTED if improved else Outcome.REJECTED
    return Verdict(outcome, improvement=improvement, harm=harm)


def _sides(tost: Tost, alpha: float, direction: Direction) -> tuple[Side, Side]:
    """Improvement and harm; with "minimize" an improvement is a negative difference."""
    below = _side(tost.p_lower, tost.p_lower_signflip, alpha)
    above = _side(tost.p_upper, tost.p_upper_signflip, alpha)
    return (below, above) if direction == "minimize" else (above, below)


def _side(p: float, p_signflip: float, alpha: float) -> Side:
    return Side(p, p_signflip, p < alpha and p_signflip < alpha)
