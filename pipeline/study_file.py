"""What study.toml may say: its models, and the checks that need nothing but the file."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic import model_validator as check

from pipeline.seeds import parse_seeds
from pipeline.validation import StrictModel, suggest

PHASE_KINDS = ("pilot", "multiseed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _text(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("control characters (such as a line break) cannot stand here")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a name is 1 to 64 letters, digits, '-' or '_', and starts with a letter or digit"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_text)]
Percent = Annotated[float, Field(gt=0, lt=100)]
Overrides = dict[str, Any]  # validated by the trainer's own config model


class Metric(StrictModel):
    """The one number a study is decided on."""

    name: str
    direction: Literal["minimize", "maximize"]


class StudyHeader(StrictModel):
    """Table [study]: what is asked, how it is trained, and what decides."""

    name: Name
    question: Text
    trainer: str
    metric: Metric
    scope: Text = "this study's configuration"
    """What the answer is about, for the report's scope line, such as "20x20 matrices"."""
    profile: Name = "local"


class Condition(StrictModel):
    """A named training configuration that is compared.

    A key in `config` replaces the whole value that key has in the study's [config].
    """

    label: Text
    config: Overrides = Field(default_factory=dict)


class Hypothesis(StrictModel):
    """The claim that `candidate` is better than `reference` on the study's metric."""

    statement: Text
    candidate: str
    reference: str
    family: Literal["primary", "secondary"] = "primary"


class AnalysisPlan(StrictModel):
    """Table [analysis]: fixed before the first confirmatory run, see the digest in RESULTS.md."""

    reference: str | None = None
    """Condition whose mean the margin is a percentage of; the first hypothesis' by default."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    margin_percent: Percent = 0.5
    sensitivity_margins_percent: list[Percent] = Field(default_factory=lambda: [0.25, 1.0])
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    min_pairs: Annotated[int, Field(ge=2)] = 8


class Phase(StrictModel):
    """A set of runs with one analysis; conditions default to all."""

    kind: Literal["pilot", "multiseed"]
    seeds: Annotated[tuple[int, ...], BeforeValidator(parse_seeds)]
    conditions: list[str] | None = None
    confirmatory: bool = False
    canary: bool | None = None
    """Whether its first task goes first, see pipeline/canary.py; the profile decides by default."""


class StudyFile(StrictModel):
    """Everything study.toml may say."""

    study: StudyHeader
    config: Overrides
    conditions: Annotated[dict[Name, Condition], Field(min_length=1)]
    hypotheses: dict[Name, Hypothesis] = Field(default_factory=dict)
    analysis: AnalysisPlan = Field(default_factory=AnalysisPlan)
    phases: Annotated[dict[Name, Phase], Field(min_length=1)]

    @check(mode="before")
    @classmethod
    def _kind_is_the_name(cls, data: Any) -> Any:
        """[phases.pilot] need not repeat kind = "pilot"."""
        phases = data.get("phases") if isinstance(data, dict) else None
        if not isinstance(phases, dict):
            return data
        for name, phase in phases.items():
            if isinstance(phase, dict) and "kind" not in phase and name not in PHASE_KINDS:
                raise ValueError(
                    f'phases.{name} is not named after its kind and says no kind = "..."'
                    f"{suggest(name, PHASE_KINDS)}"
                )
        named = {
            name: {"kind": name, **phase} if isinstance(phase, dict) else phase
            for name, phase in phases.items()
        }
        return {**data, "phases": named}

    @check(mode="after")
    def _names_are_known(self) -> Self:
        known = list(self.conditions)
        for name, hypothesis in self.hypotheses.items():
            for role in ("candidate", "reference"):
                _known(getattr(hypothesis, role), known, f"hypotheses.{name}.{role}")
            if hypothesis.candidate == hypothesis.reference:
                raise ValueError(f"hypotheses.{name} compares {hypothesis.candidate!r} with itself")
        if self.analysis.reference is not None:
            _known(self.analysis.reference, known, "analysis.reference")
        for name, phase in self.phases.items():
            if phase.conditions == []:
                raise ValueError(f"phases.{name}.conditions is empty; leave it out for all")
            chosen = phase.conditions or []
            for condition in chosen:
                _known(condition, known, f"phases.{name}.conditions")
                if chosen.count(condition) > 1:
                    raise ValueError(f"phases.{name}.conditions names {condition!r} twice")
        return self

    @check(mode="after")
    def _seeds_allow_the_statistics(self) -> Self:
        for (first, a), (second, b) in combinations(self.phases.items(), 2):
            shared = sorted(set(a.seeds) & set(b.seeds))
            if shared:
                raise ValueError(
                    f"phases {first} and {second} share seed {shared[0]}; "
                    "a phase must not be decided on seeds that an earlier one has seen"
                )
        for name, phase in self.phases.items():
            if phase.confirmatory:
                self._check_number_of_seeds(name, len(phase.seeds))
        return self

    def _check_number_of_seeds(self, name: str, seeds: int) -> None:
        """Refuse a phase whose every verdict would be INCONCLUSIVE, before it costs anything."""
        needed, alpha = self.analysis.min_pairs, self.analysis.alpha
        if seeds < needed:
            raise ValueError(
                f"phases.{name} has {seeds} seeds but analysis.min_pairs is {needed}: every "
                "verdict would be INCONCLUSIVE; add seeds or lower min_pairs"
            )
        # The smallest two-sided p of an exact sign-flip test is 2^(1-n), times Holm's family.
        primary = sum(h.family == "primary" for h in self.hypotheses.values())
        least = 2.0 ** (1 - seeds) * max(1, primary)
        if least >= alpha:
            raise ValueError(
                f"phases.{name} has {seeds} seeds: the smallest p that sign flips can give is "
                f"{least:.3g}, not below alpha = {alpha}, so no difference could ever be told; "
                "add seeds"
            )

    @check(mode="after")
    def _confirmatory_phases_hold_what_is_compared(self) -> Self:
        for name, phase in self.phases.items():
            if phase.confirmatory and not self.hypotheses:
                raise ValueError(f"phases.{name} is confirmatory but there are no hypotheses")
            if not phase.confirmatory or phase.conditions is None:
                continue
            for key, hypothesis in self.hypotheses.items():
                for condition in (hypothesis.candidate, hypothesis.reference):
                    if condition not in phase.conditions:
                        raise ValueError(
                            f"phases.{name} leaves out {condition!r}, which hypotheses.{key} needs"
                        )
            reference = self.analysis.reference
            if reference is not None and reference not in phase.conditions:
                raise ValueError(
                    f"phases.{name} leaves out {reference!r}, the analysis.reference of margins"
                )
        return self


def _known(name: str, valid: Sequence[str], where: str) -> None:
    if name not in valid:
        raise ValueError(f'{where}: unknown condition "{name}"{suggest(name, valid)}')
