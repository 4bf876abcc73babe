"""Which diagnostics bear on which possible explanation: hypotheses, each tied to its estimate.

Nothing here says that an explanation holds: a diagnostic goes along with a condition, and the text
is what somebody might want to test next. Texts hold {candidate} and {reference}, filled in by the
report with the conditions' labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.analysis.quantities import Finding, Kind
from pipeline.analysis.stats import Interval


@dataclass(frozen=True)
class Explanation:
    """A hypothesis, and the finding that bears on it."""

    finding: Finding
    hypothesis: str
    """A text with the places {candidate} and {reference}."""

    @property
    def diagnostic(self) -> str:
        """The quantity or the hidden layer that was estimated."""
        return self.finding.name

    @property
    def estimate(self) -> float:
        """Its estimate; the hypothesis is the one for its sign."""
        assert self.finding.estimate is not None
        return self.finding.estimate

    @property
    def interval(self) -> Interval | None:
        """Its t interval over runs."""
        return self.finding.interval

    @property
    def q(self) -> float:
        """After Benjamini and Hochberg, over all diagnostics of the phase."""
        return self.finding.q

    @property
    def stands_out(self) -> bool:
        """Only then does the report offer the hypothesis."""
        return self.finding.stands_out


_STEEPER = "The landscape that {candidate} learns is steeper around the true inverse."
_FLATTER = "The landscape that {candidate} learns is flatter around the true inverse."
_FAR = "In the landscape of {candidate}, low energy remains in places far from the true inverse."
_NEAR = "In the landscape of {candidate}, mining ends close to the true inverse."
_TELLING = "Mined solutions of {candidate} are easy to tell from true inverses and teach little."
_ALIKE = "Mined solutions of {candidate} are hard to tell from true inverses."

_DIFFERENCES: Mapping[str, tuple[str, str]] = {
    "clipped_share": (
        "Clipping shortens the steps of {candidate}, so that it learns less in as many steps.",
        "Clipping shortens the steps of {reference}, so that it learns less in as many steps.",
    ),
    "gradient_cosine": (
        "{candidate} brings the contrastive loss in line with denoising.",
        "{candidate} sets the contrastive loss against denoising.",
    ),
    "gradient_ratio": (
        "In {candidate}, contrast takes a share of each step that denoising would have had.",
        "{candidate} has won its contrast early, and little of it is left to learn from.",
    ),
    "energy_gap": (_STEEPER, _FLATTER),
    "natural_energy_gap": (_STEEPER, _FLATTER),
    "random_energy_gap": (_STEEPER, _FLATTER),
    "distance": (_FAR, _NEAR),
    "residual": (_FAR, _NEAR),
    "lower_share": (
        "The sampler of {candidate} is drawn to solutions of low energy that are no inverses.",
        "{candidate} has removed low energies that are not at the true inverse.",
    ),
    "false_negative_share": (
        "{candidate} makes false negatives, on which the contrastive loss works against the truth.",
        "{candidate} leaves few false negatives.",
    ),
    "reverted_share": (
        "Inner steps fail in the landscape of {candidate}, and mining adds noise alone.",
        "The landscape of {candidate} is smooth enough for inner steps.",
    ),
    "energy_distance": (_TELLING, _ALIKE),
    "mmd_squared": (_TELLING, _ALIKE),
    "ks_statistic": (_TELLING, _ALIKE),
    "ks_share": (_TELLING, _ALIKE),
    "feature_dimension": (
        "With {candidate}, the network keeps apart more of what it knows of a matrix.",
        "With {candidate}, the network keeps less of a matrix apart in its features.",
    ),
}
"""Quantity -> what a difference above zero, and one below, may hint at."""

_AGREEMENT = (
    "The contrastive loss of {candidate} points where denoising points and adds little.",
    "The contrastive loss of {candidate} undoes a part of what denoising learns.",
)
_FEATURES: Mapping[Kind, str] = {
    Kind.APART: "{candidate} makes the network represent a matrix differently from {reference}.",
    Kind.MOVED: "{candidate} changes the features more than the luck of a seed does.",
}


def explanations_of(findings: Sequence[Finding]) -> tuple[Explanation, ...]:
    """Return the hypothesis that each finding bears on, in the order of the findings."""
    found = []
    for finding in findings:
        text = _hypothesis(finding)
        if text and finding.estimate:
            found.append(Explanation(finding, text))
    return tuple(found)


def _hypothesis(finding: Finding) -> str | None:
    above = (finding.estimate or 0.0) > 0
    if finding.kind in _FEATURES:
        return _FEATURES[finding.kind] if above else None
    if finding.kind is Kind.FROM_ZERO:  # without mining of its own it has no contrastive loss
        return _AGREEMENT[not above] if finding.name.startswith("own_") else None
    name = finding.name.removeprefix("own_")
    name = "feature_dimension" if name.startswith("feature_dimension") else name
    texts = _DIFFERENCES.get(name)
    return texts[not above] if texts else None
