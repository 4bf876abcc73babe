"""From a study to runs, and from runs to tasks. Pure: values in, values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from pipeline.digest import digest_of
from pipeline.study import Study

_ID_DIGITS = 8


@dataclass(frozen=True)
class RunSpec:
    """One condition at one seed: the unit of analysis."""

    phase: str
    trainer: str
    condition: str
    seed: int
    config: dict[str, Any]
    """Resolved config, defaults included, as JSON values."""

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


def plan_phase(study: Study, phase: str) -> list[RunSpec]:
    """All runs of a phase, seed by seed, so that a phase cut short holds complete pairs."""
    return [
        RunSpec(phase, study.file.study.trainer, condition, seed, study.config_of(condition))
        for seed in study.file.phases[phase].seeds
        for condition in study.phase_conditions(phase)
    ]


def plan_study(study: Study) -> dict[str, RunSpec]:
    """Every run of every phase by key, in the order they would be run."""
    return {run.key: run for phase in study.file.phases for run in plan_phase(study, phase)}


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
        key = study.trainer.stack_key(study.configs[run.condition])
        groups.setdefault((key, bonds.get(run.key)), []).append(run)
    return [
        TaskSpec(tuple(stack)) for group in groups.values() for stack in _cut(group, stack_size)
    ]


def _cut(group: Sequence[RunSpec], size: int) -> list[Sequence[RunSpec]]:
    stacks = -(-len(group) // size)
    bounds = [round(index * len(group) / stacks) for index in range(stacks + 1)]
    return [group[start:end] for start, end in pairwise(bounds)]
