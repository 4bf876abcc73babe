"""From what a trainer says of a run to the content of its result.json."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.digest import digest_of
from pipeline.files import read_bytes
from pipeline.provenance import versions
from pipeline.results import Attempt, RunEntry, RunResult, TaskFile
from pipeline.trainer import Measurement, RecordingOutcome, TrainingOutcome


def result_of(
    task: TaskFile,
    entry: RunEntry,
    outcome: TrainingOutcome,
    *,
    attempt: Attempt,
    folder: Path,
    started: datetime,
    unread: Sequence[str],
) -> RunResult:
    """The validated result of a run that ended now.

    Args:
        task: that trained it.
        entry: the run.
        outcome: what the trainer came to.
        attempt: who produced this.
        folder: of the attempt, with the files that the outcome names.
        started: when the task began.
        unread: config keys that the trainer never read.

    Raises:
        OSError: a file that the outcome names cannot be read.
        ValidationError: a value cannot stand in a result, such as nan.
    """
    ended = datetime.now(UTC)
    wall_s = (ended - started).total_seconds()
    stack = len(task.runs)
    content = {
        "study": task.study,
        "phase": task.phase,
        "run_id": entry.run_id,
        "condition": entry.condition,
        "seed": entry.seed,
        "config_digest": entry.config_digest,
        "attempt": attempt,
        "metrics": {name: _measured(m) for name, m in outcome.metrics.items()},
        "references": {
            metric: {name: _measured(m) for name, m in predictors.items()}
            for metric, predictors in outcome.references.items()
        },
        "data_digests": dict(outcome.data_digests),
        "details": dict(outcome.details),
        **_recorded(outcome, folder),
        "unread_keys": list(unread),
        "versions": versions(),
        "code": task.code,
        "started_at": started,
        "ended_at": ended,
        "wall_s": wall_s,
        "device_s": wall_s * max(1, task.gpus) / stack,
        "gpu_s": wall_s * task.gpus / stack,
    }
    return RunResult.model_validate(content)


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
