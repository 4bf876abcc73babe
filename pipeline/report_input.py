"""What RESULTS.md is made from: the analyses, and every fact around them.

Owns plain values only; whoever knows the state, the study and the clock fills them in. What is
not known stays None and is printed as "not recorded".
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.analysis.alternatives import AlternativesAnalysis
from pipeline.analysis.confirm import ConfirmAnalysis
from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.analysis.pilot import PilotAnalysis
from pipeline.analysis.sweep import SweepAnalysis
from pipeline.analysis.table import (
    AnalysisPlan,
    Hole,
    HoleReason,
    Hypothesis,
    ResultTable,
    RunRow,
)

PhaseAnalysis = (
    PilotAnalysis
    | MultiseedAnalysis
    | DiagnosticsAnalysis
    | SweepAnalysis
    | ConfirmAnalysis
    | AlternativesAnalysis
)


Curve = Mapping[int, float]
"""Step -> the metric, on the same held-out matrices for every run."""


class PhaseStatus(StrEnum):
    """How far a phase is."""

    NOT_RUN = "not run"
    RUNNING = "running"
    COMPLETE = "complete"
    NEEDS_PERSON = "needs a person"
    DROPPED = "not in the study any more"


class SealState(StrEnum):
    """Whether the analysis plan is the one that was fixed before the confirmatory runs."""

    OPEN = "not frozen"
    FROZEN = "frozen"
    CHANGED = "changed after it was frozen"


@dataclass(frozen=True)
class Cost:
    """What runs took, in hours; None stands for "not recorded"."""

    gpu_hours: float | None = None
    """Of GPUs alone: 0 on a machine without."""
    task_hours: float | None = None
    """Of devices, where a task without a GPU counts as one device."""


@dataclass(frozen=True)
class ConditionInfo:
    """A condition of the study."""

    name: str
    label: str
    differences: Mapping[str, str]
    """Config keys that differ from the shared config, and their values, as text."""


@dataclass(frozen=True)
class GateInfo:
    """A gate of a phase, or an alarm that its results raised."""

    name: str
    passed: bool
    words: str
    """The numbers behind it."""
    override_reason: str | None = None
    """Why a person went on in spite of it; None when nobody did."""
    override_at: str | None = None

    @property
    def outcome(self) -> str:
        """The gate's state in a word."""
        if self.passed:
            return "open"
        return "closed" if self.override_reason is None else "closed, overridden"


@dataclass(frozen=True)
class AsideInfo:
    """Complete results that do not count, since their attempts were late or the second ones."""

    likeness: str
    """How they compare with the accepted results, in words."""
    paths: tuple[str, ...]
    """Relative to the workspace."""


@dataclass(frozen=True)
class SelectionInfo:
    """What a sweep handed on, as it was recorded; arms by name."""

    candidate: str
    reference: str
    made_at: str
    results_digest: str


@dataclass(frozen=True)
class PhaseInfo:
    """A phase in the order of the study."""

    id: str
    title: str
    status: PhaseStatus
    table: ResultTable | None = None
    """Every planned run, done or not; None without any."""
    analysis: PhaseAnalysis | None = None
    """None until no hole of the table may still be filled."""
    part_of: str | None = None
    """The phase that this one completes, as a confirmation does its sweep."""
    awaits: str | None = None
    """The phase on whose selection the runs of this one depend, while there is none."""
    selection: SelectionInfo | None = None
    """Of a sweep, once it is made."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Config keys that the phase sets for all its runs, and their values, as text."""
    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    """Condition -> the study's metric over training, for each run that recorded it."""
    confirmatory: bool = False
    """The frozen plan covers this phase."""
    begun_unfrozen: bool = False
    """Runs of it were submitted before the plan was frozen."""
    dropped: int = 0
    """Runs once submitted that the study does not ask for any more."""
    cost: Cost = Cost()
    """Of all its results, those included that the study does not ask for any more."""
    cost_per_run: Mapping[str, Cost] = field(default_factory=dict)
    """Condition -> mean over its runs."""
    gates: tuple[GateInfo, ...] = ()
    """As last evaluated, raised alarms first."""
    aside: tuple[AsideInfo, ...] = ()
    figures: tuple[str, ...] = ()
    """Those that were drawn, relative to RESULTS.md."""

    @property
    def rows(self) -> tuple[RunRow, ...]:
        """The results so far."""
        return self.table.rows if self.table else ()

    @property
    def holes(self) -> tuple[Hole, ...]:
        """Planned runs without a result."""
        return self.table.holes if self.table else ()

    @property
    def done(self) -> int:
        """Number of runs with a result."""
        return len(self.rows)

    @property
    def total(self) -> int:
        """Number of planned runs."""
        return len(self.table.planned) if self.table else 0

    @property
    def failed(self) -> tuple[Hole, ...]:
        """Holes that stay, unless a person has the runs tried again."""
        return tuple(hole for hole in self.holes if hole.reason is HoleReason.FAILED)

    @property
    def running(self) -> int:
        """Number of runs that train now."""
        return sum(hole.reason is HoleReason.RUNNING for hole in self.holes)

    @property
    def not_run(self) -> int:
        """Number of runs that have not begun."""
        return sum(hole.reason is HoleReason.NOT_RUN for hole in self.holes)

    @property
    def without_failed(self) -> bool:
        """Was the phase analysed although runs of it failed?"""
        return self.analysis is not None and bool(self.failed)


@dataclass(frozen=True)
class PlanSeal:
    """The analysis plan's digest, and the one it was frozen with."""

    state: SealState
    digest: str
    frozen_digest: str | None = None
    frozen_at: str | None = None

    @property
    def post_hoc(self) -> bool:
        """True unless the plan is the one that was fixed before the runs."""
        return self.state is not SealState.FROZEN


@dataclass(frozen=True)
class JobInfo:
    """One submission to a scheduler."""

    job_id: str
    phase: str
    tasks: int
    profile: str
    submitted: str | None = None
    ended: str | None = None
    cost: Cost = Cost()


@dataclass(frozen=True)
class LedgerLine:
    """What the ended attempts of a phase took and what came of it, in hours."""

    phase: str
    unit: str
    useful: float
    failed: float
    duplicated: float
    preempted: float
    untimed: int
    """Attempts whose length nobody knows."""


@dataclass(frozen=True)
class FileInfo:
    """A file or folder of the workspace, and what it holds."""

    path: str
    what: str


@dataclass(frozen=True)
class CodeUse:
    """A version of the code and how many runs it made."""

    commit: str | None
    dirty: bool | None
    digest: str | None
    """Of the source files as they ran, which holds without git and for a dirty tree."""
    runs: int


@dataclass(frozen=True)
class Provenance:
    """What made the results; counts are runs, None stands for "not recorded"."""

    code: tuple[CodeUse, ...] = ()
    devices: Mapping[str | None, int] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Package -> version -> runs."""
    data: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Held-out set -> SHA-256 of its content -> runs."""


@dataclass(frozen=True)
class ReportInput:
    """All that RESULTS.md says."""

    study: str
    question: str
    plan: AnalysisPlan
    seal: PlanSeal
    hypotheses: tuple[Hypothesis, ...]
    conditions: tuple[ConditionInfo, ...]
    shared_config: Mapping[str, str]
    phases: tuple[PhaseInfo, ...]
    scope: str
    """What the study was about, for the scope line: "20x20 matrices, this generator, ..."."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """How people call conditions, and cells of them; a name without one stands for itself."""
    jobs: tuple[JobInfo, ...] = ()
    ledger: tuple[LedgerLine, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    deviations: tuple[str, ...] = ()
    """From the plan, beyond those that the analyses found."""
    files: tuple[FileInfo, ...] = ()
    reproduce: tuple[str, ...] = ()
    """Shell commands, one per line."""
    reproduce_note: str = ""
    """Why no commit alone gives these runs; empty when one does."""

    @property
    def names(self) -> dict[str, str]:
        """How people call conditions and cells, by name."""
        return {condition.name: condition.label for condition in self.conditions} | dict(
            self.labels
        )

    def marks(self, phase: PhaseInfo) -> tuple[str, ...]:
        """What every verdict of a phase is marked with.

        Only a plan that was frozen before the runs of a confirmatory phase leaves it unmarked.
        """
        if not phase.confirmatory:
            changed = self.seal.state is SealState.CHANGED
            return ("exploratory", "POST-HOC") if changed else ("exploratory",)
        return ("POST-HOC",) if self.seal.post_hoc or phase.begun_unfrozen else ()


def provenance_of(rows: Iterable[RunRow]) -> Provenance:
    """Count the code versions, devices, packages and held-out sets behind some runs."""
    code: Counter[tuple[str | None, bool | None, str | None]] = Counter()
    devices: Counter[str | None] = Counter()
    versions: dict[str, Counter[str]] = {}
    data: dict[str, Counter[str]] = {}
    for row in rows:
        facts = row.facts
        code[facts.commit, facts.dirty, facts.code_digest] += 1
        devices[facts.device] += 1
        for package, version in sorted(facts.versions.items()):
            versions.setdefault(package, Counter())[version] += 1
        for name, digest in sorted(row.data_digests.items()):
            data.setdefault(name, Counter())[digest] += 1
    uses = tuple(CodeUse(*key, runs) for key, runs in code.items())
    return Provenance(uses, devices, versions, data)
