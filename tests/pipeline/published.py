"""The published study as inputs: 30 values of three conditions at ten seeds, and its pilot.

Facts that the published report does not state stay empty: "not recorded".
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.analysis.table import (
    AnalysisPlan,
    Hypothesis,
    Measurement,
    ResultTable,
    RunFacts,
    RunRow,
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
