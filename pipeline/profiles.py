"""Profiles: where tasks run and with which resources, from slurm/profiles.toml."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic import model_validator as check

from pipeline.errors import PipelineError
from pipeline.failures.policy import FailurePolicy
from pipeline.scheduler.sbatch_options import check_options
from pipeline.study_file import Name
from pipeline.toml_file import read_toml
from pipeline.validation import StrictModel, input_error, suggest

_SLURM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@+-]{0,127}")
_GRES = re.compile(r"[A-Za-z][A-Za-z0-9_./:,-]{0,255}")
_CONSTRAINT = re.compile(r"[A-Za-z0-9_.:,&|!*()\[\]=+-]{1,255}")


def _slurm_name(value: str) -> str:
    if not _SLURM_NAME.fullmatch(value):
        raise ValueError(
            "a name in Slurm is letters, digits and _.:@+- and starts with a letter or digit"
        )
    return value


def _gres(value: str) -> str:
    if not _GRES.fullmatch(value):
        raise ValueError('write it as Slurm does, such as "gpu:a100:1"')
    return value


def _constraint(value: str) -> str:
    if not _CONSTRAINT.fullmatch(value):
        raise ValueError('write it as Slurm does, such as "a100" or "a100&nvlink", without spaces')
    return value


def _partitions(value: object) -> str:
    """One name or a list of them, as Slurm writes it: joined by commas."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("write one partition or a list of them")
    return ",".join(_slurm_name(name) for name in names or [""])


def _setup_line(value: str) -> str:
    if any(line.lstrip().startswith("#SBATCH") for line in value.splitlines()):
        raise ValueError("options of sbatch belong in the profile's keys or its sbatch table")
    if "\0" in value:
        raise ValueError("a shell cannot read a zero byte")
    return value


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Pause = Annotated[float, Field(gt=0, le=86_400)]
SlurmName = Annotated[str, AfterValidator(_slurm_name)]
Partitions = Annotated[str, BeforeValidator(_partitions)]
SetupLine = Annotated[str, AfterValidator(_setup_line)]


class _Profile(StrictModel):
    cpus_per_task: Count = 1
    walltime_min: Count = 1440
    stack_size: Count = 1
    signal_lead_s: Annotated[int, Field(ge=0, le=65_535)] = 30
    """Seconds before the time limit at which a task is told to checkpoint and stop."""
    poll_interval_s: Pause
    failures: FailurePolicy = Field(default_factory=FailurePolicy)
    """What is done about failed runs."""

    @check(mode="after")
    def _warned_while_running(self) -> Self:
        if self.signal_lead_s >= self.walltime_min * 60:
            raise ValueError(
                f"signal_lead_s = {self.signal_lead_s} is not shorter than "
                f"walltime_min = {self.walltime_min}: every task would be stopped as it starts"
            )
        return self


class LocalProfile(_Profile):
    """This machine, `max_running` tasks at a time."""

    backend: Literal["local"]
    max_running: Count = 1
    gpus_per_task: Annotated[int, Field(ge=0, le=1000)] = 0
    canary: bool = False
    poll_interval_s: Pause = 1.0

    @property
    def gpus(self) -> int:
        """GPUs one task holds."""
        return self.gpus_per_task


class AutoRequest(StrictModel):
    """Table [profiles.NAME.auto]: the follow-up job of `advance --auto`, a CPU job without gres.

    What is left out (partition, account, qos, setup) is the profile's own.
    """

    partition: Partitions | None = None
    account: SlurmName | None = None
    qos: SlurmName | None = None
    walltime_min: Count = 60
    mem_gb: Count = 4
    cpus: Count = 1
    setup: list[SetupLine] | None = None
    poll_min: Count = 10
    """Between looks while something waits that no job's end will tell, such as a free place."""
    retry_s: Pause = 60.0
    """Between tries while the scheduler does not answer."""


class SlurmProfile(_Profile):
    """One or several Slurm partitions reached with sbatch."""

    backend: Literal["slurm"]
    partition: Partitions | None = None
    """One name or a list; Slurm starts each task in the first of them that has room."""
    account: SlurmName | None = None
    qos: SlurmName | None = None
    gres: Annotated[str, AfterValidator(_gres)] | None = None
    constraint: Annotated[str, AfterValidator(_constraint)] | None = None
    cpus_per_task: Count = 2
    mem_gb: Count = 16
    array_parallelism: Count = 256
    max_submitted: Count | None = None
    setup: list[SetupLine] = Field(default_factory=list)
    """Lines of shell that run before the task, word for word."""
    sbatch: Annotated[dict[str, Any], AfterValidator(check_options)] = Field(default_factory=dict)
    """Further long options of sbatch; true for one that takes no value."""
    canary: bool = True
    """Whether the first task of a phase goes first; a phase of the study may say otherwise."""
    auto: AutoRequest = Field(default_factory=AutoRequest)
    poll_interval_s: Pause = 30.0

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions by name; empty for the cluster's default one."""
        return tuple(self.partition.split(",")) if self.partition else ()

    @property
    def gpus(self) -> int:
        """GPUs one task holds: the counts at the ends of a gres such as "gpu:a100:1"."""
        parts = [part.split(":") for part in (self.gres or "").split(",")]
        return sum(
            int(words[-1]) if words[-1].isdigit() else 1
            for words in parts
            if words[0] in {"gpu", "gres/gpu"}
        )


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
