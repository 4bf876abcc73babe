"""The study as declared in study.toml: models, loading, checks, digest of the analysis plan."""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic import model_validator as check

from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.trainer import Trainer, load_trainer
from pipeline.validation import StrictModel, input_error, suggest

PHASE_KINDS = ("pilot", "multiseed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAX_SEEDS = 100_000


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a name is 1 to 64 letters, digits, '-' or '_', and starts with a letter or digit"
        )
    return value


def parse_seeds(value: object) -> tuple[int, ...]:
    """Read `[0, 1, 2]`, `"0-9"` or `"0-3,7"` into seeds, in the order given.

    Raises:
        ValueError: not seeds, a seed twice, none at all, or a range that runs backwards.
    """
    if isinstance(value, str):
        seeds = [seed for part in value.split(",") for seed in _seed_range(part.strip())]
    elif isinstance(value, list | tuple):
        seeds = [seed for seed in value if isinstance(seed, int) and not isinstance(seed, bool)]
        if len(seeds) != len(value) or any(seed < 0 for seed in seeds):
            raise ValueError("seeds are whole numbers from 0 on")
    else:
        raise ValueError('seeds are a list such as [0, 1, 2] or a range such as "0-9"')
    if not seeds:
        raise ValueError("no seeds: a phase without runs measures nothing")
    for seed, count in Counter(seeds).items():
        if count > 1:
            raise ValueError(f"seed {seed} stands twice; a run repeated is no new evidence")
    return tuple(seeds)


def _seed_range(text: str) -> range:
    match = re.fullmatch(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?", text)
    if match is None:
        raise ValueError(f'"{text}" is neither a seed nor a range such as "0-9"')
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f'range "{text}" runs backwards')
    if last - first >= _MAX_SEEDS:
        raise ValueError(f'range "{text}" holds more than {_MAX_SEEDS} seeds')
    return range(first, last + 1)


Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
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
            for condition in phase.conditions or ():
                _known(condition, known, f"phases.{name}.conditions")
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
            if phase.confirmatory and len(phase.seeds) < self.analysis.min_pairs:
                raise ValueError(
                    f"phases.{name} has {len(phase.seeds)} seeds but analysis.min_pairs is "
                    f"{self.analysis.min_pairs}: every verdict would be INCONCLUSIVE; "
                    "add seeds or lower min_pairs"
                )
        return self

    @check(mode="after")
    def _confirmatory_phases_answer_the_hypotheses(self) -> Self:
        for name, phase in self.phases.items():
            if not phase.confirmatory:
                continue
            if not self.hypotheses:
                raise ValueError(f"phases.{name} is confirmatory but there are no hypotheses")
            for key, hypothesis in self.hypotheses.items():
                for condition in (hypothesis.candidate, hypothesis.reference):
                    if phase.conditions is not None and condition not in phase.conditions:
                        raise ValueError(
                            f"phases.{name} leaves out {condition!r}, which hypotheses.{key} needs"
                        )
        return self


def _known(name: str, valid: Sequence[str], where: str) -> None:
    if name not in valid:
        raise ValueError(f'{where}: unknown condition "{name}"{suggest(name, valid)}')


@dataclass(frozen=True)
class Study:
    """A validated study with its trainer; what the rest of the pipeline works on."""

    file: StudyFile
    trainer: Trainer
    configs: Mapping[str, BaseModel]
    """Resolved config of every condition, validated by the trainer's own model."""

    source_digest: str
    """SHA-256 of the bytes of study.toml."""

    def phase_conditions(self, phase: str) -> list[str]:
        """Conditions that run in a phase, in the order of the study."""
        chosen = self.file.phases[phase].conditions
        return [name for name in self.file.conditions if chosen is None or name in chosen]

    def config_of(self, condition: str) -> dict[str, Any]:
        """Resolved config of a condition as JSON values, defaults included."""
        return self.configs[condition].model_dump(mode="json")

    def plan_digest(self) -> str:
        """Digest of all that decides a verdict: metric, hypotheses, margins, conditions, seeds."""
        confirmatory = {
            name: {
                "seeds": list(phase.seeds),
                "configs": {c: self.config_of(c) for c in self.phase_conditions(name)},
            }
            for name, phase in self.file.phases.items()
            if phase.confirmatory
        }
        return digest_of(
            {
                "metric": self.file.study.metric.model_dump(),
                "hypotheses": {k: v.model_dump() for k, v in self.file.hypotheses.items()},
                "analysis": self.file.analysis.model_dump(),
                "phases": confirmatory,
            }
        )


def load_study(path: Path) -> Study:
    """Read, validate and resolve a study.

    Raises:
        PipelineError: the file cannot be read or says something wrong; the message names the key
            path, the value and the nearest valid name.
    """
    content = read_bytes(path)
    data = parse_toml(content, path)
    try:
        file = StudyFile.model_validate(data)
    except ValidationError as error:
        raise input_error(error, path.name, StudyFile) from None
    trainer = load_trainer(file.study.trainer, path.parent)
    _check_metric(file, trainer, path.name)
    configs = {name: _resolve(file, name, trainer, path.name) for name in file.conditions}
    _check_conditions_differ(configs, path.name)
    return Study(file, trainer, configs, digest_of(content))


def read_bytes(path: Path) -> bytes:
    """The file's content, or a one-line error that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror})") from error


def parse_toml(content: bytes, path: Path) -> dict[str, Any]:
    """Parse TOML; a leading byte-order mark, which some editors write, is allowed."""
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path.name}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise PipelineError(f"{path.name}: not valid TOML: {error}") from error


def _resolve(file: StudyFile, condition: str, trainer: Trainer, source: str) -> BaseModel:
    overrides = file.conditions[condition].config
    try:
        return trainer.config_type.model_validate({**file.config, **overrides})
    except ValidationError as error:
        own = ("conditions", condition, "config")
        raise input_error(
            error, source, trainer.config_type, lambda key: own if key in overrides else ("config",)
        ) from None


def _check_metric(file: StudyFile, trainer: Trainer, source: str) -> None:
    name = file.study.metric.name
    if name not in trainer.metrics:
        raise PipelineError(
            f'{source}: study.metric.name = "{name}": the trainer measures no such thing'
            f"{suggest(name, trainer.metrics)}"
        )


def _check_conditions_differ(configs: Mapping[str, BaseModel], source: str) -> None:
    for (first, a), (second, b) in combinations(configs.items(), 2):
        if a == b:
            raise PipelineError(
                f"{source}: conditions {first} and {second} resolve to the same config; "
                "comparing them would measure nothing: change one or remove it"
            )
