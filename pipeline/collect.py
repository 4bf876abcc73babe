"""Reads what runs left in their folders; accepts a result only from the current attempt."""

from pathlib import Path

from pipeline.digest import digest_of
from pipeline.reconcile import Outcome
from pipeline.results import ResultFileError, RunResult, read_failure, read_result
from pipeline.state import RunRecord


def outcome_of(folder: Path, key: str, run: RunRecord) -> Outcome | None:
    """What the run's current attempt left; None when it left nothing yet."""
    try:
        found = read_result(folder / "result.json")
    except ResultFileError as error:
        return Outcome(problem=str(error))
    if found is not None:
        result, content = found
        if result.attempt.token == run.job:
            problem = mismatch(result, key, run)
            if problem is not None:
                return Outcome(problem=problem)
            return Outcome(digest_of(content), result.gpu_s, result.device_s)
    failure = read_failure(folder / "failure.json")
    if failure is not None and failure.attempt.token == run.job:
        return Outcome(problem=failure.message)
    return None


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
