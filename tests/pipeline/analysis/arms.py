"""Two arms at ten seeds with a planted difference, and the plan to compare them by."""

import numpy as np

from pipeline.analysis.table import (
    AnalysisPlan,
    Hole,
    HoleReason,
    Hypothesis,
    Measurement,
    ResultTable,
    RunFacts,
    RunRow,
)

PLAN = AnalysisPlan("loss", "minimize", "base", margin_percent=1.0)
HYPOTHESIS = (Hypothesis("h", "arm lowers the loss", "arm", "base"),)
BASE = 1 + 0.01 * np.random.default_rng(3).standard_normal(10)
NOISE = 0.002 * np.random.default_rng(4).standard_normal(10)


def run(condition: str, seed: int, value: float, data: str = "d" * 64) -> RunRow:
    """Return one run with its metric."""
    name = f"{condition}-s{seed}"
    facts = RunFacts(f"runs/multiseed/{name}/result.json", commit="c" * 40, dirty=False)
    reference = {"loss": {"zero": Measurement(2.0, 0.01, 1000)}}
    return RunRow(
        "multiseed", condition, seed, name, {"loss": Measurement(value, 0.001, 1000)},
        reference, {"validation": data}, facts,
    )  # fmt: skip


def table(arm: np.ndarray, base: np.ndarray = BASE, missing: tuple[int, ...] = ()) -> ResultTable:
    """Return two conditions at shared seeds; runs of `arm` at the missing seeds failed."""
    rows = [run("base", seed, float(value)) for seed, value in enumerate(base)]
    rows += [run("arm", s, float(value)) for s, value in enumerate(arm) if s not in missing]
    planned = [(name, seed) for name in ("base", "arm") for seed in range(len(base))]
    holes = tuple(Hole("arm", seed, HoleReason.FAILED, "loss is nan") for seed in missing)
    return ResultTable("multiseed", tuple(planned), tuple(rows), holes)


def scaled(factor: float) -> np.ndarray:
    """Return an arm that is `factor` times the base, give or take little noise."""
    return BASE * factor + NOISE
