"""result.json as a task would have written it, without one."""

import json
from collections.abc import Mapping

from pipeline.state import RunRecord


def result_for(
    study: str,
    key: str,
    run: RunRecord,
    metrics: Mapping[str, float],
    attempt: Mapping[str, object],
    **other: object,
) -> bytes:
    """The result of a run: its metrics, what is said of the attempt, and other keys where given."""
    record = {
        "study": study, "phase": run.phase, "run_id": key.partition("/")[2],
        "condition": run.condition, "seed": run.seed, "config_digest": run.config_digest,
        "attempt": {"task": 0, "job_id": "77", "array_index": None, "node": "n", **attempt},
        "metrics": {
            name: {"value": value, "standard_error": 0.001, "count": 100}
            for name, value in metrics.items()
        },
        "references": {}, "data_digests": {"validation": "d" * 64},
        "details": {"device": "cpu"}, "versions": {},
        "code": {"commit": "c" * 40, "dirty": False, "source_digest": "0" * 64},
        "started_at": "2026-01-02T00:00:00Z", "ended_at": "2026-01-02T02:00:00Z",
        "wall_s": 60.0, "device_s": 60.0, "gpu_s": 0.0,
    }  # fmt: skip
    return json.dumps({**record, **other}).encode()
