"""Reads what runs left in their folders; accepts a result only from the current attempt."""

from dataclasses import replace
from pathlib import Path

from pipeline.analysis.table import (
    Hole,
    HoleReason,
    Measurement,
    ResultTable,
    RunFacts,
    RunFile,
    RunRow,
)
from pipeline.attempts import ATTEMPTS, FAILURE, RESULT
from pipeline.claim import current_folder
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.plan import plan_phase
from pipeline.reconcile import Outcome
from pipeline.results import Measured, ResultFileError, RunResult, read_failure, read_result
from pipeline.state import RunRecord, RunStatus, State
from pipeline.study import Study
from pipeline.workspace import Workspace

_FINGERPRINT_DIGITS = 16
_MEND = "put the accepted file back from a copy"


def outcome_of(folder: Path, key: str, run: RunRecord) -> Outcome | None:
    """What the run's current attempt left; None when it left nothing yet.

    The run's own result counts before one that was not promoted. One that is none of the current
    submission's, such as a file copied there by hand, stands in nobody's way.
    """
    promoted = _judged(folder / RESULT, key, run)
    if promoted is not None and promoted.result_digest is not None:
        return promoted
    attempt = current_folder(folder)
    if attempt is not None and attempt != folder:
        left = _judged(attempt / RESULT, key, run)
        if left is not None:
            return replace(left, left_in=attempt.name if left.result_digest else None)
    failure = read_failure(attempt / FAILURE) if attempt is not None else None
    if failure is not None and failure.attempt.token == run.job:
        return Outcome(problem=failure.message, wall_s=failure.wall_s)
    return promoted


def _judged(path: Path, key: str, run: RunRecord) -> Outcome | None:
    """What a result.json says of the run; None when there is none of its current submission."""
    try:
        found = read_result(path)
    except ResultFileError as error:
        return Outcome(problem=str(error))
    if found is None or found[0].attempt.token != run.job:
        return None
    result, content = found
    problem = mismatch(result, key, run)
    if problem is not None:
        return Outcome(problem=problem)
    return Outcome(
        digest_of(content),
        result.gpu_s,
        result.device_s,
        wall_s=result.wall_s,
        resumed=bool(result.details.get("resumed_from_step")),
        fingerprint=fingerprint_of(result),
        unread=tuple(result.unread_keys),
    )


def fingerprint_of(result: RunResult) -> str:
    """Digest of what training came to alone: every measured number, and the weights' digest.

    Seconds, nodes and curves stay out: curves are reported by the clock, and begin anew when a run
    is resumed.
    """
    metrics = {name: measured.model_dump() for name, measured in result.metrics.items()}
    weights = result.details.get("weights_digest")
    return digest_of({"metrics": metrics, "weights": weights})[:_FINGERPRINT_DIGITS]


def mismatch(result: RunResult, key: str, run: RunRecord) -> str | None:
    """Why a result is not this run's, although it lies in its folder; None when it is."""
    expected = {
        "run": (f"{result.phase}/{result.run_id}", key),
        "condition": (result.condition, run.condition),
        "seed": (result.seed, run.seed),
        "config digest": (result.config_digest, run.config_digest),
    }
    for what, (found, wanted) in expected.items():
        if found != wanted:
            return f"result.json is of another {what}: {found} instead of {wanted}"
    return None


def table_of(workspace: Workspace, study: Study, state: State, phase: str) -> ResultTable:
    """The results of a phase as the analysis takes them, in the plan's order, every hole named.

    Raises:
        PipelineError: an accepted result is gone, or is no longer the file that was accepted.
    """
    rows, holes = [], []
    runs = {spec.key: state.runs[spec.key] for spec in plan_phase(study, phase, state.selections)}
    for key, run in runs.items():
        if run.status is RunStatus.DONE:
            rows.append(_row(workspace, key, run))
        else:
            holes.append(Hole(run.arm, run.seed, _reason(run), run.reason or ""))
    planned = tuple((run.arm, run.seed) for run in runs.values())
    return ResultTable(phase, planned, tuple(rows), tuple(holes))


def _reason(run: RunRecord) -> HoleReason:
    if run.status is RunStatus.FAILED:
        return HoleReason.FAILED
    return HoleReason.RUNNING if run.status is RunStatus.RUNNING else HoleReason.NOT_RUN


def _row(workspace: Workspace, key: str, run: RunRecord) -> RunRow:
    path = workspace.run_dir(key) / RESULT
    try:
        found = read_result(path)
    except ResultFileError as error:
        raise PipelineError(f"{path}: {error}; {_MEND}") from None
    if found is None:
        raise PipelineError(f"{path}: the accepted result is gone; {_MEND}")
    result, content = found
    if digest_of(content) != run.result_digest:
        raise PipelineError(f"{path}: was changed after it was accepted; {_MEND}")
    for name, ours, theirs in (
        ("device", run.device_seconds, result.device_s),
        ("GPU", run.gpu_seconds, result.gpu_s),
    ):
        if ours is not None and ours != theirs:
            raise PipelineError(
                f"{path}: the run took {theirs} s of {name} time, and the state says {ours}; "
                "mend .state/pipeline.json"
            )
    return replace(row_of(result, workspace.relative(path)), condition=run.arm)


def row_of(result: RunResult, path: str) -> RunRow:
    """A result as the analysis takes it; `path` is where it lies in the workspace."""
    attempt, details = result.attempt, result.details
    folder = path.rpartition("/")[0]
    if attempt.folder is not None:
        folder = f"{folder}/{ATTEMPTS}/{attempt.folder}"
    return RunRow(
        phase=result.phase,
        condition=result.condition,
        seed=result.seed,
        run_id=result.run_id,
        metrics={name: _measurement(m) for name, m in result.metrics.items()},
        references={
            metric: {name: _measurement(m) for name, m in predictors.items()}
            for metric, predictors in result.references.items()
        },
        data_digests=result.data_digests,
        facts=RunFacts(
            result_path=path,
            folder=folder,
            job_id=attempt.job_id,
            array_index=attempt.array_index,
            attempt=attempt.token,
            commit=result.code.commit,
            dirty=result.code.dirty,
            code_digest=result.code.source_digest,
            config_digest=result.config_digest,
            device=str(details["device"]) if "device" in details else None,
            node=attempt.node,
            versions=result.versions,
            device_seconds=result.device_s,
            train_seconds=_seconds(details.get("train_seconds")),
            recording_seconds=_seconds(details.get("diagnostics_seconds")),
            ended_at=result.ended_at.isoformat(timespec="seconds"),
        ),
        diagnostics=result.diagnostics,
        artefacts={
            what: RunFile(f"{folder}/{artefact.file}", artefact.sha256)
            for what, artefact in result.artefacts.items()
        },
    )


def _seconds(detail: str | float | None) -> float | None:
    return float(detail) if isinstance(detail, int | float) and detail >= 0 else None


def _measurement(measured: Measured) -> Measurement:
    return Measurement(measured.value, measured.standard_error, measured.count)
