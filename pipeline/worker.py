"""What runs inside a job: train the runs of one task file, write their results.

Runs on the compute node. Everything it learns goes into the folders of its runs; it never touches
the state.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import ValidationError

from pipeline.claim import Claim, SupersededError, claim
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.files import read_bytes, write_atomic
from pipeline.provenance import node_name, versions
from pipeline.reading import Reading, watched
from pipeline.results import (
    Attempt,
    FailureFile,
    RunEntry,
    RunResult,
    TaskFile,
    read_task,
)
from pipeline.sources import Sources, import_root
from pipeline.trainer import (
    Measurement,
    RecordingOutcome,
    Trainer,
    TrainingOutcome,
    TrainingRun,
    load_trainer,
)
from pipeline.words import one_line
from pipeline.workspace import Workspace

# A local task may itself run inside a Slurm allocation: then Slurm's job is not ours.
_JOB_ID = {
    "local": ("SUBMITIT_LOCAL_JOB_ID",),
    "slurm": ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID"),
}
_STOPPED = "stopped before its last step (the job was asked to end)"
_SILENT = "the trainer ended without an outcome for this run"


class TaskFailedError(Exception):
    """Some run of the task has no result; Slurm is to see a failed task."""


class OtherCodeError(Exception):
    """What would run is not what was submitted."""


@dataclass(frozen=True)
class _Run:
    """One run as the trainer sees it (satisfies `TrainingRun`)."""

    run_id: str
    seed: int
    config: Any
    directory: Path


class _Context:
    """Progress reports and the stop flag (satisfies `TrainingContext`)."""

    def __init__(self, claims: Mapping[str, Claim]) -> None:
        self._claims = claims
        self._stop = False
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)

    def report(
        self, run: TrainingRun, *, step: int, total_steps: int, values: Mapping[str, float]
    ) -> None:
        self._claims[run.run_id].check()
        record = {**values, "step": step, "total_steps": total_steps, "time": time.time()}
        try:
            with (run.directory / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:  # a full disk costs a point of a curve, not the training
            _say(f"metrics.jsonl of {run.run_id}: {error.strerror}")

    def should_stop(self) -> bool:
        return self._stop

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        _say(f"signal {number}: asked to stop")
        self._stop = True


def run_task(workspace_root: str, task_file: str) -> None:
    """Train one task; the function that submitit calls in the job.

    A task whose place another attempt has taken ends without a word in any run's folder.

    Raises:
        TaskFailedError: a run failed or was stopped; each has a failure.json that says why.
    """
    workspace = Workspace(Path(workspace_root))
    task = read_task(Path(task_file))
    os.environ["OMP_NUM_THREADS"] = str(task.cpus)  # read when torch is first imported
    try:
        _Task(workspace, task).train()
    except SupersededError as error:
        _say(f"superseded: {error}; this attempt ends and writes nothing")


class _Task:
    """One task being trained: which runs still lack an outcome, and how to record one."""

    def __init__(self, workspace: Workspace, task: TaskFile) -> None:
        self._workspace = workspace
        self._task = task
        self._attempt = Attempt(
            token=task.token,
            task=task.task,
            job_id=_first_of(*_JOB_ID[task.backend]),
            array_index=_array_index(task),
            node=os.environ.get("SLURMD_NODENAME") or node_name(),
        )
        self._folders = {
            entry.run_id: workspace.run_dir(f"{task.phase}/{entry.run_id}") for entry in task.runs
        }
        self._claims = {run: claim(folder, task.token) for run, folder in self._folders.items()}
        self._open = {entry.run_id: entry for entry in task.runs}
        self._failures: list[str] = []
        self._context = _Context(self._claims)
        self._started = datetime.now(UTC)

    def train(self) -> None:
        """Train all runs; whatever happens, every run ends with a result or a failure."""
        try:
            self._train()
        except SupersededError:
            raise
        except BaseException as error:
            for run_id in list(self._open):
                self._fail(run_id, f"{type(error).__name__}: {error}")
            raise
        for run_id in list(self._open):
            self._fail(run_id, _STOPPED if self._context.should_stop() else _SILENT)
        if self._failures:
            raise TaskFailedError("; ".join(self._failures))

    def _train(self) -> None:
        trainer = load_trainer(self._task.trainer, self._workspace.root)
        _refuse_other_code(self._task)
        runs = [self._training_run(trainer, entry) for entry in self._task.runs]
        with watched({run.run_id: run.config for run in runs}) as reading:
            for outcome in trainer.train(runs, self._context):
                self._take(outcome, reading)

    def _take(self, outcome: TrainingOutcome, reading: Reading) -> None:
        if outcome.run_id not in self._open:
            raise ValueError(f"the trainer gave an unknown or second outcome: {outcome.run_id}")
        if outcome.failure is not None:
            self._fail(outcome.run_id, outcome.failure)
        else:
            self._accept(outcome, reading.unread(outcome.run_id))

    def _training_run(self, trainer: Trainer, entry: RunEntry) -> _Run:
        folder = self._folders[entry.run_id]
        folder.mkdir(parents=True, exist_ok=True)
        for stale in ("metrics.jsonl", "failure.json"):  # of an earlier attempt at this run
            (folder / stale).unlink(missing_ok=True)
        config = trainer.config_type.model_validate_json(json.dumps(entry.config))
        return _Run(entry.run_id, entry.seed, config, folder)

    def _accept(self, outcome: TrainingOutcome, unread: list[str]) -> None:
        entry = self._open[outcome.run_id]
        if self._task.metric not in outcome.metrics:
            self._fail(entry.run_id, f"the trainer gave no {self._task.metric}, the study's metric")
            return
        try:
            result = self._result(entry, outcome, unread)
        except OSError as error:
            self._fail(entry.run_id, f"result refused: {error.filename}: {error.strerror}")
            return
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            shown = f"{where} = {first['input']}"
            self._fail(entry.run_id, f"result refused: {shown}: {first['msg']}")
            return
        self._write(entry.run_id, "result.json", result.model_dump_json(indent=1))
        del self._open[outcome.run_id]

    def _result(self, entry: RunEntry, outcome: TrainingOutcome, unread: list[str]) -> RunResult:
        ended = datetime.now(UTC)
        wall_s = (ended - self._started).total_seconds()
        task, stack = self._task, len(self._task.runs)
        content = {
            "study": task.study,
            "phase": task.phase,
            "run_id": entry.run_id,
            "condition": entry.condition,
            "seed": entry.seed,
            "config_digest": entry.config_digest,
            "attempt": self._attempt,
            "metrics": {name: _measured(m) for name, m in outcome.metrics.items()},
            "references": {
                metric: {name: _measured(m) for name, m in predictors.items()}
                for metric, predictors in outcome.references.items()
            },
            "data_digests": dict(outcome.data_digests),
            "details": dict(outcome.details),
            **_recorded(outcome, self._folders[entry.run_id]),
            "unread_keys": unread,
            "versions": versions(),
            "code": task.code,
            "started_at": self._started,
            "ended_at": ended,
            "wall_s": wall_s,
            "device_s": wall_s * max(1, task.gpus) / stack,
            "gpu_s": wall_s * task.gpus / stack,
        }
        return RunResult.model_validate(content)

    def _fail(self, run_id: str, message: str) -> None:
        del self._open[run_id]
        self._failures.append(f"{run_id}: {message}")
        ended = datetime.now(UTC)
        failure = FailureFile(
            run_id=run_id,
            attempt=self._attempt,
            message=one_line(message),
            at=ended,
            wall_s=(ended - self._started).total_seconds(),
        )
        try:
            self._write(run_id, "failure.json", failure.model_dump_json(indent=1))
        except PipelineError as error:  # a full disk: the log, which is open, may still take a line
            _say(f"{run_id}: {failure.message}; {error}")

    def _write(self, run_id: str, name: str, text: str) -> None:
        self._claims[run_id].check()
        write_atomic(self._folders[run_id] / name, text.encode())


def _refuse_other_code(task: TaskFile) -> None:
    """Make sure that the code which was imported is the code which was submitted.

    Raises:
        OtherCodeError: it came from elsewhere, or the snapshot was changed.
    """
    module, place = task.trainer.partition(":")[0], task.sources
    if import_root(module) != place.root.resolve():
        raise OtherCodeError(
            f"{module} was imported from {import_root(module)} instead of {place.root}: "
            "does a setup line of the profile change PYTHONPATH?"
        )
    if Sources(place.root, place.names).digest() != task.code.source_digest:
        raise OtherCodeError(f"{place.root} was changed after the submission; remove that folder")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _measured(measurement: Measurement) -> dict[str, Any]:
    """The numbers as they are; the result's model checks them and names the metric."""
    return {
        "value": measurement.value,
        "standard_error": measurement.standard_error,
        "count": measurement.count,
    }


def _recorded(outcome: TrainingOutcome, folder: Path) -> dict[str, Any]:
    """What a trainer that records more than metrics adds, its files by their digests."""
    if not isinstance(outcome, RecordingOutcome):
        return {}
    artefacts = {
        what: {"file": name, "sha256": digest_of(read_bytes(folder / name))}
        for what, name in outcome.artefacts.items()
    }
    return {"diagnostics": dict(outcome.diagnostics), "artefacts": artefacts}


def _first_of(*names: str) -> str | None:
    return next((os.environ[name] for name in names if name in os.environ), None)


def _array_index(task: TaskFile) -> int | None:
    text = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    return int(text) if task.backend == "slurm" and text.isdigit() else None
