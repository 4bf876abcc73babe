"""The declared hypotheses: tested on complete pairs, corrected within families, and decided.

Owns the families. Primary hypotheses are corrected among themselves (Holm); secondary ones among
all, so that they never weaken a primary one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.analysis import stats
from pipeline.analysis.comparison import Tested, examine
from pipeline.analysis.margins import Tost
from pipeline.analysis.stats import StatisticsError, pair_by_seed
from pipeline.analysis.table import AnalysisPlan, Hypothesis
from pipeline.analysis.verdict import Evidence, Verdict, decide

Values = Mapping[str, Mapping[int, float]]
"""Condition -> seed -> the metric."""


@dataclass(frozen=True)
class MarginVerdict:
    """The verdict under another margin, in percent of the plan's reference condition."""

    margin_percent: float
    p_tost: float
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """One hypothesis in one phase, its numbers and its verdict."""

    phase: str
    plan: AnalysisPlan
    """What it was decided by: metric, margin, level."""
    hypothesis: Hypothesis
    seeds: tuple[int, ...]
    """Of the complete pairs."""
    unpaired_seeds: tuple[int, ...]
    """Planned seeds at which either side is missing; no run is replaced by another."""
    family_size: int
    tested: Tested | None
    untestable: str
    """Why `tested` is None; empty otherwise."""
    p_holm: float
    p_signflip_holm: float
    verdict: Verdict
    sensitivity: tuple[MarginVerdict, ...]

    @property
    def n_pairs(self) -> int:
        """Number of complete pairs."""
        return len(self.seeds)


@dataclass(frozen=True)
class _Draft:
    """A hypothesis tested on its own, before the family is known."""

    hypothesis: Hypothesis
    seeds: tuple[int, ...]
    tested: Tested | None
    untestable: str

    @property
    def p(self) -> float:
        """Untestable hypotheses stay in their family with p = 1: it was planned that large."""
        return self.tested.p if self.tested else 1.0

    @property
    def p_signflip(self) -> float:
        return self.tested.signflip.p if self.tested else 1.0


def assess(
    hypotheses: tuple[Hypothesis, ...],
    values: Values,
    phase: str,
    planned_seeds: frozenset[int],
    plan: AnalysisPlan,
) -> tuple[Comparison, ...]:
    """Test every hypothesis, correct within the families, decide.

    Margins are percentages of the mean over all runs of the plan's reference condition.
    """
    base = list(values[plan.reference_condition].values())
    drafts = []
    for hypothesis in hypotheses:
        size = len(_family(hypothesis, hypotheses))
        drafts.append(_draft(hypothesis, values, base, size, plan))
    return tuple(_decided(draft, drafts, phase, planned_seeds, plan) for draft in drafts)


def _family(hypothesis: Hypothesis, hypotheses: tuple[Hypothesis, ...]) -> tuple[Hypothesis, ...]:
    """Return the hypotheses that are corrected together with this one, itself included."""
    if hypothesis.family == "secondary":
        return hypotheses
    return tuple(other for other in hypotheses if other.family == "primary")


def _draft(
    hypothesis: Hypothesis, values: Values, base: list[float], family_size: int, plan: AnalysisPlan
) -> _Draft:
    candidate, reference = values[hypothesis.candidate], values[hypothesis.reference]
    seeds = tuple(sorted(set(candidate) & set(reference)))
    if len(seeds) < 2:
        return _Draft(hypothesis, seeds, None, "fewer than two complete pairs")
    if not base:
        return _Draft(hypothesis, seeds, None, f"{plan.reference_condition} has no result")
    pairs = pair_by_seed(
        {seed: candidate[seed] for seed in seeds}, {seed: reference[seed] for seed in seeds}
    )
    try:
        tested = examine(*pairs, sum(base) / len(base), family_size, plan)
    except StatisticsError as error:
        return _Draft(hypothesis, seeds, None, str(error))
    return _Draft(hypothesis, seeds, tested, "")


def _decided(
    draft: _Draft,
    drafts: list[_Draft],
    phase: str,
    planned_seeds: frozenset[int],
    plan: AnalysisPlan,
) -> Comparison:
    family = _family(draft.hypothesis, tuple(other.hypothesis for other in drafts))
    together = [other for other in drafts if other.hypothesis in family]
    place = together.index(draft)
    p_holm = stats.holm([other.p for other in together])[place]
    p_signflip = stats.holm([other.p_signflip for other in together])[place]

    def verdict(tost: Tost | None) -> Verdict:
        evidence = None
        if draft.tested and tost:
            evidence = Evidence(draft.tested.paired.estimate, p_holm, p_signflip, tost)
        return decide(
            len(draft.seeds),
            evidence,
            alpha=plan.alpha,
            min_pairs=plan.min_pairs,
            direction=plan.direction,
        )

    return Comparison(
        phase=phase,
        plan=plan,
        hypothesis=draft.hypothesis,
        seeds=draft.seeds,
        unpaired_seeds=tuple(sorted(planned_seeds - set(draft.seeds))),
        family_size=len(family),
        tested=draft.tested,
        untestable=draft.untestable,
        p_holm=p_holm,
        p_signflip_holm=p_signflip,
        verdict=verdict(draft.tested.margin if draft.tested else None),
        sensitivity=tuple(
            MarginVerdict(percent, tost.p, verdict(tost))
            for percent, tost in (draft.tested.sensitivity if draft.tested else ())
        ),
    )
