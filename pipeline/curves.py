"""The curves that runs recorded while they trained: one metric over steps, run by run."""

import json
from pathlib import Path
from typing import TypeGuard

from pipeline.analysis.table import ResultTable
from pipeline.attempts import METRICS
from pipeline.files import read_bytes
from pipeline.report_input import Curve
from pipeline.workspace import Workspace


def curves_of(workspace: Workspace, table: ResultTable, metric: str) -> dict[str, list[Curve]]:
    """Curves of the runs with a result, by condition; runs without any point have none."""
    found: dict[str, list[Curve]] = {}
    for row in table.rows:
        folder = row.facts.folder
        curve = read_curve(workspace.root / folder / METRICS, metric) if folder else None
        if curve:
            found.setdefault(row.condition, []).append(curve)
    return found


def read_curve(path: Path, metric: str) -> Curve:
    """Points of one metrics.jsonl by increasing step; a damaged line says nothing."""
    try:
        lines = read_bytes(path).splitlines()
    except OSError:
        return {}
    points: dict[int, float] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            step, value = record.get("step"), record.get(metric)
            if _is_number(step) and _is_number(value) and step >= 0:
                points[int(step)] = float(value)
    return dict(sorted(points.items()))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
