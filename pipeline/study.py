"""A study ready to be run: loaded, checked against its trainer, every config resolved."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.study_file import StudyFile
from pipeline.toml_file import read_toml
from pipeline.trainer import Trainer, load_trainer
from pipeline.validation import input_error, suggest


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
        """Digest of all that decides a verdict: trainer, metric, hypotheses, margins, configs."""
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
                "trainer": self.file.study.trainer,
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
    content, data = read_toml(path)
    try:
        file = StudyFile.model_validate(data)
    except ValidationError as error:
        raise input_error(error, path.name, StudyFile) from None
    _refuse_not_finite(data.get("config"), f"{path.name}: config")
    for name, condition in file.conditions.items():
        _refuse_not_finite(condition.config, f"{path.name}: conditions.{name}.config")
    try:
        trainer = load_trainer(file.study.trainer, path.parent)
    except PipelineError as error:
        raise PipelineError(f"{path.name}: study.{error}") from error
    _check_metric(file, trainer, path.name)
    configs = {name: _resolve(file, name, trainer, path.name) for name in file.conditions}
    _check_conditions_differ(configs, path.name)
    return Study(file, trainer, configs, digest_of(content))


def _resolve(file: StudyFile, condition: str, trainer: Trainer, source: str) -> BaseModel:
    overrides = file.conditions[condition].config
    try:
        return trainer.config_type.model_validate({**file.config, **overrides})
    except ValidationError as error:
        own = ("conditions", condition, "config")
        raise input_error(
            error, source, trainer.config_type, lambda key: own if key in overrides else ("config",)
        ) from None


def _refuse_not_finite(value: object, where: str) -> None:
    """nan equals nothing, not even itself: no run could be told by such a config."""
    if isinstance(value, float) and not math.isfinite(value):
        raise PipelineError(f"{where} = {value}: a config holds finite numbers only")
    items = value.items() if isinstance(value, dict) else ()
    for key, item in [*items, *(enumerate(value) if isinstance(value, list) else ())]:
        _refuse_not_finite(item, f"{where}.{key}")


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
