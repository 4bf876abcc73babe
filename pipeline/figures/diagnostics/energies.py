"""energies.svg: histograms of energies, mined solutions beside true inverses and others."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.energies import Histograms
from pipeline.figures.base import BLUE, COLOURS, GREY, wrapped
from pipeline.figures.diagnostics.panels import GRID, TITLE, legend, note, said

SOLUTIONS = {
    "inverse": ("true inverse", GREY),
    "natural": ("inverse of another probe", COLOURS[2]),
    "random": ("random solution", COLOURS[4]),
    "probe": ("mined, probe mining", BLUE),
    "own": ("mined, own mining", COLOURS[1]),
}


def energies_figure(analysis: DiagnosticsAnalysis, labels: Mapping[str, str]) -> Figure:
    """Rows are conditions, columns moments of training; one scale for all."""
    found = analysis.energies
    assert found is not None
    names = list(found.densities)
    figure = Figure(
        figsize=(2.9 * len(found.steps) + 0.9, 1.75 * len(names) + 1.2), layout="constrained"
    )
    panels = figure.subplots(len(names), len(found.steps), sharex=True, sharey=True, squeeze=False)
    looks: dict[str, tuple[str, str]] = {}
    for row, name in enumerate(names):
        for solution in found.densities[name]:
            looks.setdefault(solution, SOLUTIONS.get(solution, (solution, COLOURS[3])))
        for column, step in enumerate(found.steps):
            axes = panels[row, column]
            _panel(axes, found, name, column, looks)
            if row == 0:
                axes.set_title("before training" if step == 0 else f"step {step:,}", **TITLE)
        panels[row, 0].set_ylabel(wrapped(said(name, labels), 22), fontsize=9)
    highest = max(float(of.max()) for name in names for of in found.densities[name].values())
    panels[0, 0].set_ylim(0, 1.04 * highest)
    for axes in panels[-1]:
        axes.set_xlabel("standardised energy", fontsize=8.5)
    legend(figure, [(text, {"color": colour}) for text, colour in looks.values()], columns=3)
    note(
        figure,
        analysis,
        "Energy from the mean of true inverses of the same noise level, in their standard "
        "deviations;\nthe outermost bins are open. Mean of the runs' own histograms.",
    )
    return figure


def _panel(
    axes: Axes, found: Histograms, name: str, column: int, looks: Mapping[str, tuple[str, str]]
) -> None:
    for solution, densities in found.densities[name].items():
        colour, density = looks[solution][1], densities[column]
        truth = solution == "inverse"
        axes.stairs(
            density, found.edges, color=colour, fill=truth, alpha=0.35 if truth else 1,
            linewidth=1.3, linestyle="--" if solution == "own" else "-",
            zorder=1 if truth else 3,
        )  # fmt: skip
    axes.set_xlim(float(found.edges[0]), float(found.edges[-1]))
    axes.set_yticks([])
    axes.tick_params(labelsize=8)
    axes.spines["left"].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="x", **GRID)
