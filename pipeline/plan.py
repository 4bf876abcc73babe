"""From a study to runs, and from runs to tasks. Pure: values in, values out.

Some phases depend on what an earlier sweep selected; the selection is a value like the others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from pipeline.arms import Arm
from pipeline.cells import cell_name
from pipeline.digest import digest_of
from pipeline.state import Selection
from pipeline.study import Study
from pipeline.study_file import ConfirmPhase, SweepPhase

_ID_DIGITS = 8
Selections = Mapping[str, Selection]
"""What sweeps have selected, by phase."""

NONE_YET: Selections = MappingProxyType({})


@dataclass(frozen=True)
class RunSpec:
    """One condition, or one cell of it, at one seed: the unit of analysis."""

    phase: str
    trainer: str
    condition: str
    seed: int
    config: dict[str, Any]
    """Resolved config, defaults included, as JSON values."""
    settings: BaseModel = field(repr=False)
    """The same as the trainer's own model."""
    cell: str = ""
    """Name of the cell; empty for the condition as declared."""

    @property
    def digest(self) -> str:
        """Identity of the run: the digest of all that decides its outcome."""
        return digest_of({"trainer": self.trainer, "config": self.config, "seed": self.seed})

    @property
    def run_id(self) -> str:
        """Name of the run, unique in its phase."""
        return f"{self.condition}-s{self.seed}-{self.digest[:_ID_DIGITS]}"

    @property
    def key(self) -> str:
        """Name of the run, unique in the study, and its folder under runs/."""
        return f"{self.phase}/{self.run_id}"


@dataclass(frozen=True)
class TaskSpec:
    """What one array element does: runs trained together as a stack on one device."""

    runs: tuple[RunSpec, ...]


def plan_phase(study: Study, phase: str, selections: Selections = NONE_YET) -> list[RunSpec]:
    """All runs of a phase, seed by seed, so that a phase cut short holds complete pairs.

    A phase that waits for a selection has none yet.
    """
    trainer = study.file.study.trainer
    arms = [(arm, arm.config) for arm in _arms(study, phase, selections)]
    return [
        RunSpec(phase, trainer, arm.condition, seed, config, arm.settings, cell_name(arm.cell))
        for seed in study.file.phases[phase].seeds
        for arm, config in arms
    ]


def awaited(study: Study, phase: str, selections: Selections) -> str | None:
    """The sweep whose selection the phase's runs depend on, while there is none that holds."""
    sweep = _follows(study, phase)
    return sweep if sweep is not None and valid(study, sweep, selections) is None else None


def valid(study: Study, sweep: str, selections: Selections) -> Selection | None:
    """What a sweep selected, unless study.toml asks for other arms by now."""
    made = selections.get(sweep)
    holds = made is not None and made.arms_digest == study.arms_digest(sweep)
    return made if holds else None


def _follows(study: Study, phase: str) -> str | None:
    declared = study.file.phases[phase]
    if isinstance(declared, ConfirmPhase):
        return declared.of
    keep = declared.keep if isinstance(declared, SweepPhase) else None
    return keep.of if keep else None


def _arms(study: Study, phase: str, selections: Selections) -> list[Arm]:
    """The arms that run; after a sweep, those alone that it lets through."""
    declared, arms = study.file.phases[phase], list(study.arms[phase])
    sweep = _follows(study, phase)
    if sweep is None:
        return arms
    made = valid(study, sweep, selections)
    if made is None:
        return []
    if isinstance(declared, ConfirmPhase):
        return [arm for arm in arms if arm.name in (made.reference, made.ranking[0])]
    assert isinstance(declared, SweepPhase)
    assert declared.keep is not None
    kept = made.ranking[: math.ceil(declared.keep.share * len(made.ranking))]
    return [arm for arm in arms if arm.of_reference or arm.name in kept]


def plan_study(study: Study, selections: Selections = NONE_YET) -> dict[str, RunSpec]:
    """Every run of every phase by key, in the order they would be run."""
    phases = study.file.phases
    return {run.key: run for phase in phases for run in plan_phase(study, phase, selections)}


def pack(
    study: Study,
    runs: Sequence[RunSpec],
    stack_size: int,
    bonds: Mapping[str, str] = MappingProxyType({}),
) -> list[TaskSpec]:
    """Group runs that may train together into tasks of at most `stack_size`, order kept.

    A group larger than one stack is cut into stacks of nearly equal size: the slowest one decides
    when the phase ends.

    Args:
        study: whose trainer says what may train together.
        runs: what is to be trained.
        stack_size: most runs of a task.
        bonds: run key -> stack; runs of one such stack stay among themselves.
    """
    groups: dict[tuple[str, str | None], list[RunSpec]] = {}
    for run in runs:
        key = study.trainer.stack_key(run.settings)
        groups.setdefault((key, bonds.get(run.key)), []).append(run)
    return [
        TaskSpec(tuple(stack)) for group in groups.values() for stack in _cut(group, stack_size)
    ]


def _cut(group: Sequence[RunSpec], size: int) -> list[Sequence[RunSpec]]:
    stacks = -(-len(group) // size)
    bounds = [round(index * len(group) / stacks) for index in range(stacks + 1)]
    return [group[start:end] for start, end in pairwise(bounds)]
