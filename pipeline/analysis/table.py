"""What an analysis is given: the results of one phase, the analysis plan and the hypotheses.

Owns plain values only. It must not know how results are stored, and imports neither numpy nor
scipy, so that listing results stays cheap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pipeline.errors import PipelineError

Direction = Literal["minimize", "maximize"]
Family = Literal["primary", "secondary"]


@dataclass(frozen=True)
class Measurement:
    """A mean over `count` evaluated items, in the metric's unit."""

    value: float
    standard_error: float | None
    """From the spread over the evaluated items; None when it was not measured."""
    count: int | None


@dataclass(frozen=True)
class RunFacts:
    """Where a result comes from; None stands for "not recorded"."""

    result_path: str
    """Path of result.json, relative to the workspace, with forward slashes."""
    folder: str | None = None
    """Where the attempt's other files are; the same way."""
    job_id: str | None = None
    array_index: int | None = None
    attempt: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    code_digest: str | None = None
    config_digest: str | None = None
    device: str | None = None
    node: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    device_seconds: float | None = None
    train_seconds: float | None = None
    recording_seconds: float | None = None
    """Of an instrumented run, all runs of its stack together."""
    ended_at: str | None = None
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class RunFile:
    """A file that a run left with its result."""

    path: str
    """Relative to the workspace, with forward slashes."""
    sha256: str


@dataclass(frozen=True)
class RunRow:
    """The result of one run: one condition at one seed, the unit of analysis."""

    phase: str
    condition: str
    """In a sweep, with the cell: every cell counts as a condition of its own."""
    seed: int
    run_id: str
    metrics: Mapping[str, Measurement]
    references: Mapping[str, Mapping[str, Measurement]]
    """Trivial predictors on the same held-out data: metric -> predictor -> measurement."""
    data_digests: Mapping[str, str]
    """Held-out set -> SHA-256 of its content."""
    facts: RunFacts
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """Numbers that explain rather than score the run."""
    artefacts: Mapping[str, RunFile] = field(default_factory=dict)
    """What it is -> the file."""


def metric_label(name: str) -> str:
    """Return a metric's name as prose: validation_mse becomes "validation MSE"."""
    return " ".join(word.upper() if word == "mse" else word for word in name.split("_"))


class HoleReason(StrEnum):
    """Why a planned run has no result."""

    NOT_RUN = "not run"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True)
class Hole:
    """A planned run without a result."""

    condition: str
    seed: int
    reason: HoleReason
    detail: str = ""
    """One line for a person, such as "OUT_OF_MEMORY after 3 attempts"; may be empty."""


@dataclass(frozen=True)
class ResultTable:
    """All there is of one phase: what was planned, what came back, and every hole by name."""

    phase: str
    planned: tuple[tuple[str, int], ...]
    rows: tuple[RunRow, ...]
    holes: tuple[Hole, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a table whose rows and holes are not exactly the planned runs.

        Raises:
            PipelineError: naming both runs of a duplicate, or the runs too many or too few.
        """
        seen: dict[tuple[str, int], str] = {}
        for row in self.rows:
            key = (row.condition, row.seed)
            if key in seen:
                raise PipelineError(
                    f"phase {self.phase}: two results for {row.condition} at seed {row.seed}: "
                    f"{seen[key]} and {row.run_id}; move one of them out of runs/"
                )
            seen[key] = row.run_id
        accounted = set(seen) | {(hole.condition, hole.seed) for hole in self.holes}
        odd = sorted(accounted ^ set(self.planned))
        if odd or len(self.rows) + len(self.holes) != len(self.planned):
            raise PipelineError(
                f"phase {self.phase}: {len(self.rows)} results and {len(self.holes)} holes do not "
                f"make up the {len(self.planned)} planned runs; look at {odd or 'duplicates'}"
            )

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the planned conditions, in the order of the plan."""
        return tuple(dict.fromkeys(condition for condition, _ in self.planned))

    def of(self, condition: str) -> tuple[RunRow, ...]:
        """Return the results of a condition, by increasing seed."""
        rows = (row for row in self.rows if row.condition == condition)
        return tuple(sorted(rows, key=lambda row: row.seed))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics that any run measured, in the order of their appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.metrics))


@dataclass(frozen=True)
class AnalysisPlan:
    """What is fixed before the first confirmatory phase is submitted."""

    metric: str
    direction: Direction
    reference_condition: str
    """Condition whose mean the margin is a percentage of."""
    alpha: float = 0.05
    margin_percent: float = 0.5
    sensitivity_margins_percent: tuple[float, ...] = (0.25, 1.0)
    power: float = 0.8
    min_pairs: int = 8
    metric_label: str = ""
    """How the report calls the metric, such as "validation MSE"; empty: the metric's name."""

    @property
    def label(self) -> str:
        """The metric as the report calls it."""
        return self.metric_label or metric_label(self.metric)


@dataclass(frozen=True)
class Hypothesis:
    """The claim that `candidate` improves the metric over `reference`, in its direction."""

    id: str
    statement: str
    candidate: str
    reference: str
    family: Family = "primary"
