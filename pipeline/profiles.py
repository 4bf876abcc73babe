"""Profiles: where tasks run and with which resources, from slurm/profiles.toml."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from pipeline.errors import PipelineError
from pipeline.failures.policy import FailurePolicy
from pipeline.study_file import Name
from pipeline.toml_file import read_toml
from pipeline.validation import StrictModel, input_error, suggest

NodeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class _Profile(StrictModel):
    cpus_per_task: Count = 1
    walltime_min: Count = 1440
    stack_size: Count = 1
    signal_lead_s: Annotated[int, Field(ge=0)] = 30
    poll_interval_s: Annotated[float, Field(gt=0)]
    failures: FailurePolicy = Field(default_factory=FailurePolicy)
    """What is done about failed runs."""


class LocalProfile(_Profile):
    """This machine, `max_running` tasks at a time."""

    backend: Literal["local"]
    max_running: Count = 1
    gpus_per_task: Annotated[int, Field(ge=0)] = 0
    canary: bool = False
    poll_interval_s: Annotated[float, Field(gt=0)] = 1.0

    @property
    def gpus(self) -> int:
        """GPUs one task holds."""
        return self.gpus_per_task


class SlurmProfile(_Profile):
    """A Slurm partition reached with sbatch."""

    backend: Literal["slurm"]
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gres: str | None = None
    constraint: str | None = None
    mem_gb: Count = 16
    array_parallelism: Count = 256
    max_submitted: Count | None = None
    exclude: list[NodeName] = Field(default_factory=list)
    """Nodes that are never used; those that failed lately are left out beside them."""
    setup: list[str] = Field(default_factory=list)
    canary: bool = True
    """Whether the first task of a phase goes first; a phase of the study may say otherwise."""
    poll_interval_s: Annotated[float, Field(gt=0)] = 30.0

    @property
    def gpus(self) -> int:
        """GPUs one task holds: the count at the end of a gres such as "gpu:a100:1"."""
        if self.gres is None or not self.gres.startswith("gpu"):
            return 0
        last = self.gres.rpartition(":")[2]
        return int(last) if last.isdigit() else 1


Profile = LocalProfile | SlurmProfile


class ProfilesFile(StrictModel):
    """Everything profiles.toml may say."""

    profiles: Annotated[
        dict[Name, Annotated[Profile, Field(discriminator="backend")]], Field(min_length=1)
    ]


def load_profile(path: Path, name: str) -> Profile:
    """Return the profile `name` from a profiles.toml.

    Raises:
        PipelineError: no such profile, or the file says something wrong.
    """
    _, data = read_toml(path)
    try:
        profiles = ProfilesFile.model_validate(data).profiles
    except ValidationError as error:
        raise input_error(error, str(path), ProfilesFile) from None
    if name not in profiles:
        raise PipelineError(f'{path}: no profile "{name}"{suggest(name, list(profiles))}')
    return profiles[name]
