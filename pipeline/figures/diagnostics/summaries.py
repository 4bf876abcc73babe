"""summaries.svg: a panel for each diagnostic, every run as a dot, equal seeds joined."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.courses import OWN
from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.quantities import Quantity, quantity_label
from pipeline.figures.base import PALE, wrapped
from pipeline.figures.diagnostics.panels import (
    GRID,
    TITLE,
    colours,
    condition_entries,
    legend,
    note,
    plain,
)

COLUMNS = 4


def shown_quantities(analysis: DiagnosticsAnalysis) -> list[Quantity]:
    """Those that every condition has, so that there is something to compare."""
    return [
        quantity
        for quantity in analysis.quantities
        if not quantity.name.startswith(f"{OWN}_") and len(quantity.values) > 1
    ]


def summaries_figure(analysis: DiagnosticsAnalysis, labels: Mapping[str, str]) -> Figure:
    """One scale for each panel; the bar beside the dots is the mean with its t interval."""
    shown = shown_quantities(analysis)
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.4 * columns + 0.4, 1.62 * rows + 1.0), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, quantity in zip(panels, shown, strict=False):
        _panel(axes, analysis, quantity)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    legend(figure, condition_entries(analysis, labels))
    note(
        figure,
        analysis,
        "Dots: runs; lines join equal seeds. Bars: mean and 95% t interval over runs.",
        "Mining is that which every run is probed with. What each number is stands in the table.",
    )
    return figure


def _panel(axes: Axes, analysis: DiagnosticsAnalysis, quantity: Quantity) -> None:
    names = [name for name in analysis.conditions if name in quantity.values]
    for seed in sorted({seed for of in quantity.values.values() for seed in of}):
        heights = [quantity.values[name].get(seed, float("nan")) for name in names]
        axes.plot(range(len(names)), heights, color=PALE, linewidth=0.8, zorder=1)
    for place, name in enumerate(names):
        colour = colours(analysis)[name]
        heights = list(quantity.values[name].values())
        axes.scatter([place] * len(heights), heights, s=15, color=colour, zorder=3, linewidths=0)
        described = quantity.described(name)
        assert described is not None
        beside = place + 0.22
        if described.interval is not None:
            ends = [described.interval.low, described.interval.high]
            axes.plot([beside] * 2, ends, color=colour, linewidth=2, zorder=2)
        axes.plot([beside - 0.08, beside + 0.08], [described.mean] * 2, color=colour, linewidth=2)
    axes.set_xlim(-0.4, len(names) - 0.4)
    axes.set_xticks([])
    axes.set_title(wrapped(quantity_label(quantity.name), 30), **TITLE)
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)
    axes.grid(axis="y", **GRID)
    plain(axes)
