"""A small study in many states, as inputs of the report."""

import dataclasses
from collections.abc import Callable
from functools import cache

import numpy as np

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.pilot import analyse_pilot
from pipeline.analysis.table import Direction, Hole, HoleReason, ResultTable
from pipeline.report import render_report
from pipeline.report_input import (
    ConditionInfo,
    GateInfo,
    PhaseInfo,
    PhaseStatus,
    PlanSeal,
    ReportInput,
    SealState,
)
from tests.pipeline import published
from tests.pipeline.analysis.arms import BASE, HYPOTHESIS, PLAN, run, scaled, table
from tests.pipeline.refresh_golden import TEMPLATES


def report(
    results: ResultTable | None = None,
    status: PhaseStatus = PhaseStatus.COMPLETE,
    direction: Direction = "minimize",
) -> ReportInput:
    """Return a small study with these results of its multi-seed phase."""
    plan = dataclasses.replace(PLAN, direction=direction)
    complete = status is PhaseStatus.COMPLETE
    given = results or unrun()
    phases = [
        pilot() if results else PhaseInfo("pilot", "Pilot", PhaseStatus.RUNNING, running_pilot()),
        PhaseInfo(
            "multiseed",
            "Multi-seed validation",
            status,
            given,
            analyse_multiseed(given, plan, HYPOTHESIS) if complete else None,
            confirmatory=True,
        ),
    ]
    return ReportInput(
        study="toy",
        question="Is the arm any use?",
        plan=plan,
        seal=PlanSeal(SealState.FROZEN, "abc", "abc", "2026-01-01"),
        hypotheses=HYPOTHESIS,
        conditions=(ConditionInfo("base", "Base", {}), ConditionInfo("arm", "Arm", {"a": "1"})),
        shared_config={"k": "v"},
        phases=tuple(phases),
        scope="toy data",
    )


def pilot() -> PhaseInfo:
    """Return a pilot of one run."""
    one = ResultTable("pilot", (("base", 1000),), (run("base", 1000, 1.0),))
    return PhaseInfo("pilot", "Pilot", PhaseStatus.COMPLETE, one, analyse_pilot(one, "loss"))


def running_pilot() -> ResultTable:
    """Return a pilot with one of its two runs done."""
    planned = (("base", 1000), ("arm", 1000))
    rows = (run("base", 1000, 1.0),)
    return ResultTable("pilot", planned, rows, (Hole("arm", 1000, HoleReason.RUNNING),))


def unrun() -> ResultTable:
    """Return a multi-seed phase of which nothing was run."""
    planned = tuple((name, seed) for seed in range(10) for name in ("base", "arm"))
    holes = tuple(Hole(name, seed, HoleReason.NOT_RUN) for name, seed in planned)
    return ResultTable("multiseed", planned, (), holes)


def half_done() -> ResultTable:
    """Return a multi-seed phase with runs done, failed, running and waiting."""
    given = table(scaled(0.97), missing=(2, 5, 7, 8, 9))
    reasons = {7: HoleReason.RUNNING, 8: HoleReason.NOT_RUN, 9: HoleReason.NOT_RUN}
    holes = tuple(
        Hole("arm", hole.seed, reasons[hole.seed]) if hole.seed in reasons else hole
        for hole in given.holes
    )
    return dataclasses.replace(given, holes=holes)


def gated(given: ReportInput) -> ReportInput:
    """Return the report with a pilot that has an open, a closed and an overridden gate."""
    words = "loss of zero 1, mean of base 2; not past it: base"
    gates = (
        GateInfo("unread-config:rate", False, "the trainer never read the config key rate"),
        GateInfo("finite-metrics", True, "1 metric finite in 1 run"),
        GateInfo("clears-reference:zero", False, words, "known | and *meant*", "2026-01-02"),
    )
    first, *others = given.phases
    return dataclasses.replace(given, phases=(dataclasses.replace(first, gates=gates), *others))


SCENES: dict[str, Callable[[], ReportInput]] = {
    "published": published.report_input,
    "nothing run": lambda: report(None, PhaseStatus.NOT_RUN),
    "improvement": lambda: report(table(scaled(0.97))),
    "harm": lambda: report(table(scaled(1.03))),
    "maximize": lambda: report(table(scaled(1.03)), direction="maximize"),
    "within the margin": lambda: report(table(scaled(1.003))),
    "identical": lambda: report(table(BASE)),
    "copied": lambda: report(table(BASE + 0.25)),
    "outlier": lambda: report(table(BASE - np.eye(10)[3] * 0.5)),
    "missing runs": lambda: report(table(scaled(0.97), missing=(2, 5, 7))),
    "partly done": lambda: report(half_done(), PhaseStatus.NEEDS_PERSON),
    "failed runs": lambda: report(table(scaled(0.97), missing=(2, 5, 7)), PhaseStatus.NEEDS_PERSON),
    "one pair": lambda: report(table(scaled(0.97), missing=tuple(range(1, 10)))),
    "no pair": lambda: report(table(scaled(0.97), missing=tuple(range(10)))),
    "gates": lambda: gated(report(table(scaled(0.97)))),
    "changed plan": lambda: dataclasses.replace(
        report(table(scaled(1.03))), seal=PlanSeal(SealState.CHANGED, "new", "old", "2026-01-01")
    ),
}


@cache
def told(scene: str) -> str:
    """The rendered report of a scene."""
    return render_report(SCENES[scene](), [TEMPLATES])
