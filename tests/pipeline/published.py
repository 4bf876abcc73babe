"""The published study as inputs: 30 values of three conditions at ten seeds, and its pilot.

Facts that the published report does not state stay empty: "not recorded".
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.pilot import analyse_pilot
from pipeline.analysis.table import (
    AnalysisPlan,
    Hypothesis,
    Measurement,
    ResultTable,
    RunFacts,
    RunRow,
)
from pipeline.report_input import (
    ConditionInfo,
    Cost,
    FileInfo,
    JobInfo,
    LedgerLine,
    PhaseInfo,
    PhaseStatus,
    PlanSeal,
    ReportInput,
    SealState,
    provenance_of,
)

DATA = Path(__file__).parent.parent / "data"
METRIC = "validation_mse"
CONDITIONS = ("baseline", "random", "adversarial")
JOBS = {"baseline": "56602458", "random": "56602475", "adversarial": "56602491"}

PLAN = AnalysisPlan(
    metric=METRIC,
    direction="minimize",
    reference_condition="baseline",
    metric_label="validation MSE",
)
HYPOTHESES = (
    Hypothesis(
        "random-helps", "Random negative mining lowers validation MSE.", "random", "baseline"
    ),
    Hypothesis(
        "adversarial-helps",
        "Adversarial negative mining lowers validation MSE.",
        "adversarial",
        "baseline",
    ),
    Hypothesis(
        "adversarial-vs-random",
        "Adversarial negative mining lowers validation MSE compared with random mining.",
        "adversarial",
        "random",
        "secondary",
    ),
)


@cache
def golden() -> Any:
    """Return golden_stats.json: the values, and every statistic of them recomputed elsewhere."""
    return json.loads((DATA / "golden_stats.json").read_text())


def references() -> dict[str, dict[str, Measurement]]:
    """Return the reference predictors on the published study's generator."""
    values = golden()["reference_predictors"]["values"]
    return {
        METRIC: {
            name: Measurement(item["mse"], item["monte_carlo_se"], 200_000)
            for name, item in values.items()
        }
    }


def row(
    phase: str, condition: str, seed: int, metrics: dict[str, float], job_id: str | None
) -> RunRow:
    """Return one published run."""
    run_id = f"{condition}-s{seed}"
    return RunRow(
        phase=phase,
        condition=condition,
        seed=seed,
        run_id=run_id,
        metrics={name: Measurement(value, None, None) for name, value in metrics.items()},
        references=references(),
        data_digests={},
        facts=RunFacts(
            result_path=f"runs/{phase}/{run_id}/result.json",
            job_id=job_id,
            array_index=None if job_id is None else seed,
            commit="fef8849",
            device="NVIDIA A100 (80GB SXM4)",
            device_seconds=None if job_id is None else 5400.0,
        ),
    )


def table() -> ResultTable:
    """Return the published multi-seed phase."""
    data = golden()["data"]
    rows = tuple(
        row("multiseed", condition, seed, {METRIC: value}, JOBS[condition])
        for condition in CONDITIONS
        for seed, value in enumerate(data[condition])
    )
    return ResultTable("multiseed", tuple((r.condition, r.seed) for r in rows), rows)


def pilot_table() -> ResultTable:
    """Return the published pilot; its train errors stand in the published report only."""
    train = {"baseline": 0.009672, "random": 0.009688, "adversarial": 0.009810}
    validation = golden()["pilot"]["validation"]
    rows = tuple(
        row("pilot", name, 1000, {METRIC: validation[name], "train_mse": train[name]}, None)
        for name in CONDITIONS
    )
    return ResultTable("pilot", tuple((r.condition, r.seed) for r in rows), rows)


def report_input() -> ReportInput:
    """Return the published study as the report's input."""
    phase_1 = analyse_multiseed(table(), PLAN, HYPOTHESES)
    done = PhaseStatus.COMPLETE
    pilot, rows = pilot_table(), table().rows
    return ReportInput(
        study="published-values",
        question="Does adversarial negative mining improve matrix inversion by a diffusion model?",
        plan=PLAN,
        seal=PlanSeal(SealState.FROZEN, "0" * 64, "0" * 64),
        hypotheses=HYPOTHESES,
        conditions=(
            ConditionInfo("baseline", "Baseline (no mining)", {}),
            ConditionInfo("random", "Random mining", {"mining.strategy": '"random"'}),
            ConditionInfo(
                "adversarial",
                "Adversarial mining",
                {
                    "mining.strategy": '"adversarial"',
                    "mining.opt_steps": "2",
                    "mining.noise_scale": "3.0",
                },
            ),
        ),
        shared_config={
            "matrix_size": "20",
            "diffusion_steps": "10",
            "steps": "100000",
            "batch_size": "2048",
            "learning_rate": "0.0001",
        },
        phases=(
            PhaseInfo("pilot", "Pilot", done, pilot, analyse_pilot(pilot, METRIC)),
            PhaseInfo(
                "multiseed",
                "Multi-seed validation",
                done,
                table(),
                phase_1,
                cost=Cost(45.0, 45.0),
                cost_per_run={name: Cost(1.5, 1.5) for name in CONDITIONS},
                confirmatory=True,
                figures=("figures/multiseed-strip.svg", "figures/multiseed-forest.svg"),
            ),
            PhaseInfo("diagnostics", "Diagnostics", PhaseStatus.NOT_RUN),
            PhaseInfo("sweep", "Hyperparameter sweep", PhaseStatus.NOT_RUN),
            PhaseInfo("alternatives", "Alternatives", PhaseStatus.NOT_RUN),
        ),
        scope="20x20 matrices, this generator, this architecture, 100,000 steps",
        jobs=tuple(
            JobInfo(job, "multiseed", 10, "slurm", "2026-01-23", "2026-01-24", Cost(15.0, 15.0))
            for job in JOBS.values()
        ),
        ledger=(LedgerLine("multiseed", "GPU-hours", 45.0, 1.5, 0.0, 0.25, 1),),
        provenance=provenance_of((*pilot.rows, *rows)),
        deviations=(
            "The 30 values are replayed from a published table; no run of this pipeline made them.",
        ),
        files=(
            FileInfo("study.toml", "the study and its analysis plan"),
            FileInfo("runs/", "config, result and metrics of every run"),
            FileInfo(".state/pipeline.json", "what was planned, submitted and seen"),
        ),
        reproduce=("git checkout fef8849", "pipeline advance --watch"),
    )
