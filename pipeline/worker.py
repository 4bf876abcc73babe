"""What runs inside a job: train the runs of one task file, write their results.

Runs on the compute node. Everything it learns goes into the folder of its own attempt at each run,
and a result from there into the run's (see `pipeline.promotion`); it never touches the state.
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

from pipeline.attempts import (
    FAILURE,
    METRICS,
    RESULT,
    drop_checkpoints,
    drop_earlier_checkpoints,
)
from pipeline.claim import Claim, SupersededError, claim, recover
from pipeline.errors import PipelineError
from pipeline.files import write_atomic
from pipeline.provenance import node_name
from pipeline.reading import Reading, watched
from pipeline.result_content import result_of
from pipeline.results import (
    Attempt,
    FailureFile,
    ResultFileError,
    RunEntry,
    TaskFile,
    read_result,
    read_task,
)
from pipeline.sources import Sources, import_root
from pipeline.trainer import (
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
        self._training: set[str] = set()
        self._stop = False
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._ask_to_stop)

    def report(
        self, run: TrainingRun, *, step: int, total_steps: int, values: Mapping[str, float]
    ) -> None:
        claim = self._claims[run.run_id]
        claim.check()
        record = {**values, "step": step, "total_steps": total_steps, "time": time.time()}
        try:
            with (run.directory / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:  # a full disk costs a point of a curve, not the training
            _say(f"{METRICS} of {run.run_id}: {error.strerror}")
        if run.run_id not in self._training:
            self._training.add(run.run_id)
            drop_earlier_checkpoints(claim.folder)
            claim.show()

    def should_stop(self) -> bool:
        return self._stop

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        _say(f"signal {number}: asked to stop")
        self._stop = True


def run_task(workspace_root: str, task_file: str) -> None:
    """Train one task; the function that submitit calls in the job.

    A task whose place another attempt has taken ends, and what it may have come to is set aside.

    Raises:
        TaskFailedError: a run failed or was stopped; each has a failure.json that says why.
    """
    workspace = Workspace(Path(workspace_root))
    task = read_task(Path(task_file))
    os.environ["OMP_NUM_THREADS"] = str(task.cpus)  # read when torch is first imported
    run_dirs = {
        entry.run_id: workspace.run_dir(f"{task.phase}/{entry.run_id}") for entry in task.runs
    }
    try:
        for run_dir in run_dirs.values():
            recover(run_dir, task.token)
        if all(_has_result(run_dir, task.token) for run_dir in run_dirs.values()):
            _say("an earlier start of this task has brought every result; there is nothing to do")
            return
        claims = {run_id: claim(run_dir, task.token) for run_id, run_dir in run_dirs.items()}
        _Task(workspace, task, claims).train()
    except SupersededError as error:
        _say(f"superseded: {error}; this attempt ends, none of its results counts")


def _has_result(run_dir: Path, token: str) -> bool:
    """Has the run a result of this submission?"""
    try:
        found = read_result(run_dir / RESULT)
    except ResultFileError:
        return False
    if found is None:
        return False
    result, _ = found
    return (result.attempt.token, result.run_id) == (token, run_dir.name)


class _Task:
    """One task being trained: which runs still lack an outcome, and how to record one."""

    def __init__(self, workspace: Workspace, task: TaskFile, claims: Mapping[str, Claim]) -> None:
        self._workspace = workspace
        self._task = task
        self._attempt = Attempt(
            token=task.token,
            task=task.task,
            job_id=_first_of(*_JOB_ID[task.backend]),
            array_index=_array_index(task),
            node=os.environ.get("SLURMD_NODENAME") or node_name(),
        )
        self._claims = claims
        self._open = {entry.run_id: entry for entry in task.runs}
        self._failures: list[str] = []
        self._superseded: SupersededError | None = None
        self._context = _Context(claims)
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
        if self._superseded is not None:
            raise self._superseded
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
        config = trainer.config_type.model_validate_json(json.dumps(entry.config))
        return _Run(entry.run_id, entry.seed, config, self._claims[entry.run_id].folder)

    def _accept(self, outcome: TrainingOutcome, unread: list[str]) -> None:
        entry = self._open[outcome.run_id]
        if self._task.metric not in outcome.metrics:
            self._fail(entry.run_id, f"the trainer gave no {self._task.metric}, the study's metric")
            return
        try:
            result = result_of(
                self._task,
                entry,
                outcome,
                attempt=self._attempt_at(entry.run_id),
                folder=self._claims[entry.run_id].folder,
                started=self._started,
                unread=unread,
            )
        except OSError as error:
            self._fail(entry.run_id, f"result refused: {error.filename}: {error.strerror}")
            return
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            shown = f"{where} = {first['input']}"
            self._fail(entry.run_id, f"result refused: {shown}: {first['msg']}")
            return
        self._write(entry.run_id, RESULT, result.model_dump_json(indent=1))
        del self._open[outcome.run_id]
        self._promote(entry.run_id)

    def _promote(self, run_id: str) -> None:
        """Make our result the run's; a late or second one stays where it was written."""
        claim = self._claims[run_id]
        try:
            if claim.promote():
                return
            why = "the run has one already"
        except SupersededError as error:
            self._superseded = error
            why = str(error)
        except PipelineError as error:
            _say(f"{error}; until then it lies in {claim.folder}")
            return
        _say(f"the result of {run_id} is set aside in {claim.folder}: {why}")
        if _has_result(claim.run_dir, self._task.token):
            drop_checkpoints(claim.folder)

    def _fail(self, run_id: str, message: str) -> None:
        del self._open[run_id]
        self._failures.append(f"{run_id}: {message}")
        ended = datetime.now(UTC)
        failure = FailureFile(
            run_id=run_id,
            attempt=self._attempt_at(run_id),
            message=one_line(message),
            at=ended,
            wall_s=(ended - self._started).total_seconds(),
        )
        try:
            self._write(run_id, FAILURE, failure.model_dump_json(indent=1))
        except PipelineError as error:  # a full disk: the log, which is open, may still take a line
            _say(f"{run_id}: {failure.message}; {error}")
        self._claims[run_id].show()

    def _attempt_at(self, run_id: str) -> Attempt:
        return self._attempt.model_copy(update={"folder": self._claims[run_id].folder.name})

    def _write(self, run_id: str, name: str, text: str) -> None:
        write_atomic(self._claims[run_id].folder / name, text.encode())


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


def _first_of(*names: str) -> str | None:
    return next((os.environ[name] for name in names if name in os.environ), None)


def _array_index(task: TaskFile) -> int | None:
    text = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    return int(text) if task.backend == "slurm" and text.isdigit() else None
