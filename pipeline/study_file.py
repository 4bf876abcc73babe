"""What study.toml may say: its models, and the checks that need nothing but the file."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic import model_validator as check

from pipeline import gates
from pipeline.cells import MOST_CELLS
from pipeline.seeds import parse_seeds
from pipeline.validation import StrictModel, suggest

PHASE_KINDS = ("pilot", "multiseed", "diagnostics", "sweep", "confirm", "alternatives")
RECORDING = "diagnostics"
"""The config key by which a run is asked to record; see `pipeline.trainer`."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def _text(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("control characters (such as a line break) cannot stand here")
    if any(ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in value):
        raise ValueError("code points that are no characters cannot stand here")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a name is 1 to 64 letters, digits, '-' or '_', and starts with a letter or digit"
        )
    return value


def _gate(value: str) -> str:
    kind, colon, argument = value.partition(":")
    if kind not in gates.NAMES:
        raise ValueError(f'unknown gate "{kind}"{suggest(kind, gates.NAMES)}')
    wanted = gates.WITH_ARGUMENT.get(kind)
    if wanted is not None and not argument:
        raise ValueError(f'say {wanted} after a colon, such as "{kind}:zero"')
    if wanted is None and colon:
        raise ValueError(f'nothing can stand after the gate\'s name; write "{kind}"')
    return value


def _once(values: list[str]) -> list[str]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f'"{value}" stands there twice')
    return values


Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_text)]
Percent = Annotated[float, Field(gt=0, lt=100)]
Overrides = dict[str, Any]  # validated by the trainer's own config model
Gate = Annotated[str, AfterValidator(_text), AfterValidator(_gate)]


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


def _flat(grid: Any, prefix: str = "") -> Any:
    """Axes by dotted key: TOML reads an unquoted `mining.opt_steps` as a table in a table."""
    if not isinstance(grid, dict):
        return grid
    flat: dict[str, Any] = {}
    for key, values in grid.items():
        flat |= (
            _flat(values, f"{prefix}{key}.")
            if isinstance(values, dict)
            else {f"{prefix}{key}": values}
        )
    return flat


def _axes(grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
    if prod(len(values) for values in grid.values()) > MOST_CELLS:
        raise ValueError(f"a grid of more than {MOST_CELLS:,} cells")
    for key, values in grid.items():
        texts = Counter(json.dumps(value, sort_keys=True, default=str) for value in values)
        if not texts:
            raise ValueError(f"{key} has no values; an axis needs at least one")
        text, count = texts.most_common(1)[0]
        if count > 1:
            raise ValueError(f"{key} has the value {text} twice")
    return grid


Grid = Annotated[dict[str, list[Any]], BeforeValidator(_flat), AfterValidator(_axes)]


class Phase(StrictModel):
    """What every kind of phase says: a set of runs with one analysis."""

    seeds: Annotated[tuple[int, ...], BeforeValidator(parse_seeds)]
    config: Overrides = Field(default_factory=dict)
    """For all runs of this phase; a key replaces the whole value it has in its condition."""
    confirmatory: bool = False
    canary: bool | None = None
    """Whether its first task goes first, see pipeline/canary.py; the profile decides by default."""
    gates: Annotated[list[Gate], AfterValidator(_once)] = Field(
        default_factory=lambda: list(gates.DEFAULT)
    )
    """What must hold of its results before the next phase begins; see `pipeline.gates`."""


class ConditionsPhase(Phase):
    """Runs conditions as they are declared: those named, or all.

    Alternatives are each compared with the reference condition, as one family. Diagnostics are
    runs that record, by the key RECORDING of their config, what may explain a result.
    """

    kind: Literal["pilot", "multiseed", "diagnostics", "alternatives"]
    conditions: list[str] | None = None

    @check(mode="after")
    def _diagnostics_explore(self) -> Self:
        if self.kind == "diagnostics" and self.confirmatory:
            raise ValueError("diagnostics confirm nothing; leave confirmatory out")
        return self


class Keep(StrictModel):
    """Only the share of cells that an earlier sweep put first; the others are not run."""

    of: str
    share: Annotated[float, Field(gt=0, le=1)]


class SweepPhase(Phase):
    """Runs one condition in many settings, and the reference condition at the same seeds.

    Cells are every combination of the grid's axes, then the lists' sets of overrides. A key of
    either may be dotted: "mining.opt_steps" names a setting inside a table.
    """

    kind: Literal["sweep"]
    condition: str
    grid: Grid = Field(default_factory=dict)
    lists: list[Annotated[Overrides, Field(min_length=1)]] = Field(default_factory=list)
    baseline_grid: Grid = Field(default_factory=dict)
    """Settings of the reference condition that are tried as well, so that it is tuned, too."""
    keep: Keep | None = None

    @check(mode="after")
    def _explores(self) -> Self:
        if not self.grid and not self.lists:
            raise ValueError("no cells: a sweep needs a grid or lists")
        if self.confirmatory:
            raise ValueError(
                "a sweep confirms nothing; leave confirmatory to a phase of kind confirm"
            )
        return self


class ConfirmPhase(Phase):
    """Runs the cell that a sweep selected against the reference condition, at fresh seeds."""

    kind: Literal["confirm"]
    of: str
    """The sweep."""
    metric: str | None = None
    """What decides, such as one of the test set; the study's metric by default."""


AnyPhase = Annotated[ConditionsPhase | SweepPhase | ConfirmPhase, Field(discriminator="kind")]


class StudyFile(StrictModel):
    """Everything study.toml may say."""

    study: StudyHeader
    config: Overrides
    conditions: Annotated[dict[Name, Condition], Field(min_length=1)]
    hypotheses: dict[Name, Hypothesis] = Field(default_factory=dict)
    analysis: AnalysisPlan = Field(default_factory=AnalysisPlan)
    phases: Annotated[dict[Name, AnyPhase], Field(min_length=1)]

    @property
    def reference(self) -> str:
        """The condition that margins are percentages of, and that sweeps are set against."""
        first = next(iter(self.hypotheses.values()), None)
        return self.analysis.reference or (
            first.reference if first else next(iter(self.conditions))
        )

    def family_size(self, name: str) -> int:
        """How many hypotheses a phase corrects for at once."""
        phase = self.phases[name]
        if phase.kind in ("confirm", "alternatives"):
            return len(self.brought_hypotheses(name))
        return max(1, sum(h.family == "primary" for h in self.hypotheses.values()))

    def brought_hypotheses(self, name: str) -> dict[str, str]:
        """Names of hypotheses that a phase brings with it -> the condition each is about."""
        phase = self.phases[name]
        if isinstance(phase, ConfirmPhase):
            sweep = self.phases.get(phase.of)
            return {name: sweep.condition if isinstance(sweep, SweepPhase) else self.reference}
        if isinstance(phase, ConditionsPhase) and phase.kind == "alternatives":
            chosen = phase.conditions or list(self.conditions)
            return {f"{name}-{key}": key for key in chosen if key != self.reference}
        return {}

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
    def _names_differ(self) -> Self:
        """Folders and figures are called after them, and not every file system tells a from A."""
        for table in ("conditions", "hypotheses", "phases"):
            seen: dict[str, str] = {}
            for name in getattr(self, table):
                other = seen.setdefault(name.lower(), name)
                if other != name:
                    raise ValueError(f'{table}: "{other}" and "{name}" differ in case alone')
        return self

    @check(mode="after")
    def _names_are_known(self) -> Self:
        known = list(self.conditions)
        for name, hypothesis in self.hypotheses.items():
            for role in ("candidate", "reference"):
                known_condition(getattr(hypothesis, role), known, f"hypotheses.{name}.{role}")
            if hypothesis.candidate == hypothesis.reference:
                raise ValueError(f"hypotheses.{name} compares {hypothesis.candidate!r} with itself")
        if self.analysis.reference is not None:
            known_condition(self.analysis.reference, known, "analysis.reference")
        return self


def known_condition(name: str, valid: Sequence[str], where: str) -> None:
    """Refuse a condition that is not declared, and name the nearest that is.

    Raises:
        ValueError: saying where the name stands.
    """
    if name not in valid:
        raise ValueError(f'{where}: unknown condition "{name}"{suggest(name, valid)}')
