"""Reads a run's metrics.jsonl while it grows, and what is left to be computed from it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.attempts import METRICS
from pipeline.claim import current_folder
from pipeline.files import open_regular
from pipeline.state import RunRecord, RunStatus
from pipeline.workspace import Workspace

_TAIL_BYTES = 65_536
_LARGEST = 1e18  # beyond is no step, time or loss; nan is not below it either
Record = dict[str, float]


@dataclass(frozen=True)
class Speed:
    """Progress of the runs that are training right now, summed over runs."""

    runs: int
    steps_done: int
    steps_total: int
    steps_per_second: float
    """A stack of ten at 5 steps/s makes 50."""

    def left_s(self, waiting_runs: int) -> float:
        """Seconds until the running runs and `waiting_runs` like them are through."""
        steps = self.steps_total - self.steps_done
        steps += waiting_runs * self.steps_total // max(1, self.runs)
        return steps / self.steps_per_second


def speed_of(workspace: Workspace, runs: Mapping[str, RunRecord]) -> Speed | None:
    """Speed of the running ones; None before the first of them has reported twice."""
    done = total = count = 0
    rate = 0.0
    for key, run in runs.items():
        if run.status is not RunStatus.RUNNING:
            continue
        folder = current_folder(workspace.run_dir(key))
        first, last = first_and_last(folder / METRICS) if folder else ({}, {})
        elapsed = last.get("time", 0.0) - first.get("time", 0.0)
        steps = last.get("step", 0.0) - first.get("step", 0.0)
        if elapsed > 0 and steps > 0:
            rate += steps / elapsed
            done += int(last["step"])
            total += int(last.get("total_steps", 0.0))
            count += 1
    return Speed(count, done, total, rate) if count else None


def first_and_last(path: Path) -> tuple[Record, Record]:
    """First and last complete line of a metrics.jsonl; empty where there is none.

    Lines that a resumed run repeats of its earlier attempt are marked "restored" and do not count:
    their steps took no time now.
    """
    try:
        with open_regular(path) as file:
            first = file.readline(_TAIL_BYTES)
            while _numbers(first).get("restored"):
                first = file.readline(_TAIL_BYTES)
            tail = _tail(file)
    except OSError:
        return {}, {}
    if not _numbers(first):
        return {}, {}
    return _numbers(first), next((r for line in reversed(tail) if (r := _numbers(line))), {})


def last_report(path: Path) -> Record:
    """All numbers of the last complete line, nan and infinities too; empty where there is none."""
    try:
        with open_regular(path) as file:
            tail = _tail(file)
    except OSError:
        return {}
    return next((record for line in reversed(tail) if (record := _parsed(line))), {})


def _tail(file: BinaryIO) -> list[bytes]:
    file.seek(0, 2)
    file.seek(max(0, file.tell() - _TAIL_BYTES))
    return file.read().splitlines(keepends=True)


def _numbers(line: bytes) -> Record:
    """The numbers of one line that can be a step, a time or a loss."""
    return {key: value for key, value in _parsed(line).items() if abs(value) < _LARGEST}


def _parsed(line: bytes) -> Record:
    """All numbers of one line; empty for a line that is cut off or damaged."""
    if not line.endswith(b"\n"):
        return {}
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    return {
        key: _as_float(value)
        for key, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # JSON bounds no whole number
        return math.inf
