"""A study ready to be run: loaded, checked against its trainer, every config resolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.arms import Arm, ArmResolver, refuse_equal, refuse_no_json
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.phase_checks import check_phases
from pipeline.study_file import (
    RECORDING,
    ConditionsPhase,
    ConfirmPhase,
    StudyFile,
    SweepPhase,
)
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

    arms: Mapping[str, tuple[Arm, ...]]
    """Phase -> all that it may run."""

    source_digest: str
    """SHA-256 of the bytes of study.toml."""

    def config_of(self, condition: str) -> dict[str, Any]:
        """Resolved config of a condition as JSON values, defaults included."""
        return self.configs[condition].model_dump(mode="json")

    def arms_digest(self, phase: str) -> str:
        """Digest of a phase's arms: their names and configs."""
        return digest_of({arm.name: arm.config for arm in self.arms[phase]})

    def plan_digest(self) -> str:
        """Digest of all that decides a verdict: trainer, metric, hypotheses, margins, configs."""
        return digest_of(
            {
                "trainer": self.file.study.trainer,
                "metric": self.file.study.metric.model_dump(),
                "hypotheses": {k: v.model_dump() for k, v in self.file.hypotheses.items()},
                "analysis": self.file.analysis.model_dump(),
                "phases": {
                    name: self._decides(name)
                    for name, phase in self.file.phases.items()
                    if phase.confirmatory
                },
            }
        )

    def _decides(self, name: str) -> dict[str, Any]:
        """What decides the verdicts of a confirmatory phase; a confirmation's are its sweep's."""
        phase = self.file.phases[name]
        decides: dict[str, Any] = {
            "seeds": list(phase.seeds),
            "configs": {arm.name: arm.config for arm in self.arms[name]},
        }
        if isinstance(phase, ConfirmPhase):
            decides |= {"metric": phase.metric, "sweep": self._sweep(phase.of)}
        elif isinstance(phase, ConditionsPhase) and phase.kind == "alternatives":
            decides |= {"kind": phase.kind}
        return decides

    def _sweep(self, name: str) -> dict[str, Any]:
        """The part of a sweep that decides what it selects, with the sweep that pruned it."""
        phase = self.file.phases[name]
        keep = phase.keep if isinstance(phase, SweepPhase) else None
        return {
            "seeds": list(phase.seeds),
            "configs": {arm.name: arm.config for arm in self.arms[name]},
            "keep": keep and {"share": keep.share, "of": self._sweep(keep.of)},
        }


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
    try:
        check_phases(file)
    except ValueError as error:
        raise PipelineError(f"{path.name}: {error}") from None
    refuse_no_json(file.config, f"{path.name}: config")
    for name, condition in file.conditions.items():
        refuse_no_json(condition.config, f"{path.name}: conditions.{name}.config")
    try:
        trainer = load_trainer(file.study.trainer, path.parent)
    except PipelineError as error:
        raise PipelineError(f"{path.name}: study.{error}") from error
    _check_metrics(file, trainer, path.name)
    resolver = ArmResolver(file, trainer, path.name)
    configs = {name: resolver.condition(name) for name in file.conditions}
    refuse_equal(configs.items(), f"{path.name}: conditions")
    arms = {name: resolver.phase(name) for name in file.phases}
    _check_kept_cells(file, arms, path.name)
    _check_recording(file, arms, path.name)
    return Study(file, trainer, configs, arms, digest_of(content))


def _check_kept_cells(file: StudyFile, arms: Mapping[str, tuple[Arm, ...]], source: str) -> None:
    """A sweep that keeps the first cells of an earlier one can have no others."""
    for name, phase in file.phases.items():
        if not isinstance(phase, SweepPhase) or phase.keep is None:
            continue
        tried = {arm.name for arm in arms[phase.keep.of]}
        for arm in arms[name]:
            if not arm.of_reference and arm.name not in tried:
                raise PipelineError(
                    f"{source}: phases.{name}.keep: {phase.keep.of} does not try {arm.name}; "
                    "give both sweeps the same cells"
                )


def _check_recording(file: StudyFile, arms: Mapping[str, tuple[Arm, ...]], source: str) -> None:
    """Runs of diagnostics that record nothing would be paid for in vain."""
    for name, phase in file.phases.items():
        if phase.kind != "diagnostics":
            continue
        for arm in arms[name]:
            if not arm.config.get(RECORDING):
                raise PipelineError(
                    f"{source}: phases.{name}: {arm.name} would record nothing; say what to "
                    f"record, such as config.{RECORDING} = {{ every = 1000 }}"
                )


def _check_metrics(file: StudyFile, trainer: Trainer, source: str) -> None:
    named = {"study.metric.name": file.study.metric.name}
    for phase, declared in file.phases.items():
        if isinstance(declared, ConfirmPhase) and declared.metric is not None:
            named[f"phases.{phase}.metric"] = declared.metric
    for where, name in named.items():
        if name not in trainer.metrics:
            raise PipelineError(
                f'{source}: {where} = "{name}": the trainer measures no such thing'
                f"{suggest(name, trainer.metrics)}"
            )
