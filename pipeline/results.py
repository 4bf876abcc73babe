"""The files of one run and one task: models of task.json, result.json and failure.json."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from pipeline.files import read_bytes
from pipeline.strict_json import JsonError, decoded, parsed
from pipeline.validation import StrictModel

SCHEMA_VERSION = 1

_MOST_BYTES = 64 << 20
_LARGEST = 1e100


def _computable(value: float) -> float:
    if abs(value) > _LARGEST:
        raise ValueError("so large that sums of squares are not finite")
    return value


Number = Annotated[float, AfterValidator(_computable)]
Whole = Annotated[int, Field(ge=-(2**64), le=2**64)]
Count = Annotated[int, Field(ge=1, le=10**15)]
Index = Annotated[int, Field(ge=0, le=10**9)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
ConfigKey = Annotated[str, Field(pattern=r"^[^\s\p{C}]+$", max_length=300)]


class Measured(StrictModel):
    """A mean over `count` evaluated items with its standard error."""

    value: Number
    standard_error: Annotated[Number, Field(ge=0)]
    count: Count


class Code(StrictModel):
    """Which code ran."""

    commit: str | None
    """Git commit of the training code, None outside a repository."""
    dirty: bool | None
    """True when the trainer's files differed from that commit."""
    source_digest: Digest
    """Digest over the Python files of the trainer: its package and what that imports beside it."""
    snapshot: Digest | None = None
    """Digest of all code that was submitted; None for results of versions without snapshots."""


class CodePlace(StrictModel):
    """Where a job finds the trainer's files in the snapshot that it runs from."""

    root: Path
    names: tuple[str, ...]


class Attempt(StrictModel):
    """Which try of which task produced a file."""

    token: str
    task: Index
    job_id: str | None
    array_index: Index | None
    node: str
    folder: FileName | None = None
    """Its folder among the run's attempts, where its other files are; None where attempts wrote in
    the run's folder itself, as those of earlier versions did."""


class Artefact(StrictModel):
    """A file of an attempt that belongs to its result."""

    file: FileName
    """Name in the attempt's folder."""
    sha256: Digest


class RunEntry(StrictModel):
    """One run as its task gets it."""

    run_id: str
    condition: str
    seed: int
    config: dict[str, Any]
    config_digest: Digest


class TaskFile(StrictModel):
    """task-NNN.json: all that a task needs to know."""

    schema_version: Literal[1] = 1
    study: str
    phase: str
    trainer: str
    metric: str
    backend: Literal["local", "slurm"]
    token: str
    task: Index
    cpus: Annotated[Index, Field(ge=1)]
    gpus: Index
    code: Code
    sources: CodePlace
    runs: Annotated[list[RunEntry], Field(min_length=1)]


class RunResult(StrictModel):
    """result.json: written once, when a run has ended well."""

    schema_version: Literal[1] = 1
    study: str
    phase: str
    run_id: str
    condition: str
    seed: int
    config_digest: Digest
    attempt: Attempt
    metrics: dict[str, Measured]
    references: dict[str, dict[str, Measured]]
    """Trivial predictors on the same held-out data: metric -> predictor -> value."""
    data_digests: dict[str, Digest]
    """SHA-256 of each held-out set, by its name."""
    details: dict[str, str | Whole | Number]
    """What the trainer adds for the record: device, precision, parameters, ..."""
    diagnostics: dict[str, Number] = Field(default_factory=dict)
    """Numbers that explain rather than score the run; the trainer documents names and units."""
    artefacts: dict[str, Artefact] = Field(default_factory=dict)
    """Files of results in the attempt's folder, by what they are."""
    unread_keys: list[ConfigKey] = Field(default_factory=list)
    """Dotted keys of the config that the trainer never read; an alarm is made of each."""
    versions: dict[str, str]
    """Python and the packages that decide what the code computes."""
    code: Code
    started_at: datetime
    ended_at: datetime
    wall_s: Seconds
    """Wall time from the start of the task to this result."""
    device_s: Seconds
    """This run's share of the task's device time: wall time x devices / runs in the stack."""
    gpu_s: Seconds
    """The same for GPUs alone; 0 on a machine without."""


class FailureFile(StrictModel):
    """failure.json: why an attempt at a run ended without a result."""

    schema_version: Literal[1] = 1
    run_id: str
    attempt: Attempt
    message: str
    at: datetime
    wall_s: Seconds | None = None
    """Wall time from the start of the task to this failure."""


_Model = TypeVar("_Model", bound=StrictModel)


class ResultFileError(Exception):
    """A result.json that is there but cannot be accepted; the message says why."""


def read_result(path: Path) -> tuple[RunResult, bytes] | None:
    """The validated result and its bytes; None when there is no file yet.

    Raises:
        ResultFileError: the file is unreadable, broken, or has a value that is not finite.
    """
    content = _read(path)
    if content is None:
        return None
    return _validated(RunResult, path, content), content


def read_task(path: Path) -> TaskFile:
    """What a task is to do.

    Raises:
        ResultFileError: the file is gone, unreadable or broken.
    """
    content = _read(path)
    if content is None:
        raise ResultFileError(f"{path}: is gone; submit the runs again")
    return _validated(TaskFile, path, content)


def read_failure(path: Path) -> FailureFile | None:
    """Why an attempt failed, when it was able to say so; a broken file says nothing."""
    try:
        content = _read(path)
        return None if content is None else _validated(FailureFile, path, content)
    except ResultFileError:
        return None


def _validated(model: type[_Model], path: Path, content: bytes) -> _Model:
    try:
        text = decoded(content)
        parsed(text)  # pydantic takes the last of two equal keys, and says nothing
        return model.model_validate_json(text)
    except JsonError as error:
        raise ResultFileError(f"{path.name}:{error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ResultFileError(f"{path.name}: {where}: {first['msg']}") from None


def _read(path: Path) -> bytes | None:
    try:
        return read_bytes(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResultFileError(f"{path.name}: cannot be read ({error.strerror})") from error
