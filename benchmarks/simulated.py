"""Simulated studies as arrays, and the same studies through the package's whole analysis."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.sweep import SweepDesign, analyse_sweep
from pipeline.analysis.table import (
    AnalysisPlan,
    Hypothesis,
    Measurement,
    ResultTable,
    RunFacts,
    RunRow,
)
from pipeline.analysis.verdict import Outcome

Array = np.ndarray[Any, np.dtype[np.float64]]
Shape = Callable[[np.random.Generator, tuple[int, ...]], Array]


def studies_of(
    generator: np.random.Generator, shape: Shape, mean: float, luck: float
) -> Callable[[int, int, int, float, float], tuple[Array, Array]]:
    """Return a function that draws base (studies, pairs) and arms (studies, k, pairs).

    Runs of one seed share its luck; the effect moves the first arm alone.
    """

    def draw(studies: int, k: int, pairs: int, effect: float, noise: float) -> tuple[Array, Array]:
        shared = mean + luck * generator.standard_normal((studies, 1, pairs))
        values = shared + noise * shape(generator, (studies, k + 1, pairs))
        values[:, 1] += effect
        return values[:, 0], values[:, 1:]

    return draw


def table_of(arms: dict[str, Array]) -> ResultTable:
    """One study as the analysis takes it."""
    rows = tuple(
        RunRow("p", arm, seed, f"{arm}-{seed}", {"m": Measurement(float(value), None, None)},
               {}, {}, RunFacts("r"))
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    )  # fmt: skip
    return ResultTable("p", tuple((row.condition, row.seed) for row in rows), rows)


def checked(
    base: Array,
    arms: Array,
    found: Sequence[Sequence[Outcome]],
    count: int,
    alpha: float,
    margin_percent: float,
    min_pairs: int,
) -> None:
    """Refuse vectorised verdicts that are not those of the package's analysis.

    Raises:
        AssertionError: naming the study.
    """
    names = [f"arm{j}" for j in range(arms.shape[1])]
    plan = AnalysisPlan("m", "minimize", "base", alpha, margin_percent, (), 0.8, min_pairs)
    hypotheses = tuple(Hypothesis(name, name, name, "base") for name in names)
    for i in range(min(count, len(base))):
        table = table_of({"base": base[i], **dict(zip(names, arms[i], strict=True))})
        analysed = analyse_multiseed(table, plan, hypotheses).comparisons
        own = [comparison.verdict.outcome for comparison in analysed]
        if own != list(found[i]):
            raise AssertionError(f"study {i}: vectorised {found[i]}, analysed {own}")


def sweep_selections(base: Array, cells: Array, count: int) -> tuple[Array, Array]:
    """Selected cell of each study and its estimate in percent.

    Raises:
        AssertionError: the package's own sweep selects another, or estimates it otherwise.
    """
    percents = 100 * (cells - base[:, None, :]).mean(axis=2) / base.mean(axis=1)[:, None]
    selected = percents.argmin(axis=1)
    names = [f"cell{j}" for j in range(cells.shape[1])]
    plan = AnalysisPlan("m", "minimize", "base")
    design = SweepDesign("cell", "base", {name: {"x": j} for j, name in enumerate(names)})
    for i in range(min(count, len(base))):
        table = table_of({"base": base[i], **dict(zip(names, cells[i], strict=True))})
        analysis = analyse_sweep(table, plan, design)
        own = names.index(analysis.ranking[0])
        if own != selected[i] or not np.isclose(analysis.cells[own].percent or 0, percents[i, own]):
            raise AssertionError(f"study {i}: vectorised cell {selected[i]}, analysed {own}")
    return selected, percents[np.arange(len(base)), selected]
