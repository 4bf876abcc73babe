"""What is known of an attempt that ended without a result: plain values to judge it by."""

from dataclasses import dataclass
from typing import Literal

from pipeline.failures.kinds import FailureClass


@dataclass(frozen=True)
class Progress:
    """How far an attempt came, from the run's metrics.jsonl."""

    step: int
    total_steps: int
    steps_per_s: float | None
    """None before it has reported twice."""
    age_s: float
    """Seconds since the last report."""


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What an attempt left on disk."""

    log: str = ""
    """The end of the task's log, from the last start on; "" for an empty or missing one."""
    log_exists: bool = False
    progress: Progress | None = None
    checkpoint: bool = False
    active_s: float | None = None
    """Seconds between its first and its last report: a lower bound of how long it ran."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a failed attempt is judged by."""

    backend: Literal["local", "slurm"] = "slurm"
    state: str | None = None
    """The scheduler's word, such as "TIMEOUT"; "GONE" when it knows the task no more."""
    step_state: str | None = None
    """The word that accounting has for the worst step of the job."""
    exit_code: str | None = None
    """As Slurm writes it: "code:signal"."""
    reason: str | None = None
    message: str | None = None
    """What the attempt itself said (failure.json)."""
    ended_by: str | None = None
    """Set when we ended it ourselves: "cancel", "stall" or "pause"."""
    elapsed_s: float | None = None
    limit_s: float | None = None
    lead_s: float = 0.0
    """How long before the limit the task is told."""
    node: str | None = None
    traces: Traces = Traces()


@dataclass(frozen=True)
class Failure:
    """The class of a failure, and the lines that show it: the most telling one first."""

    kind: FailureClass
    evidence: tuple[str, ...]
