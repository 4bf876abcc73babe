"""What the panels of diagnostics share: curves over training, legends, titles, the closing note."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from pipeline import markdown
from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.recording import Array
from pipeline.analysis.stats import Vector
from pipeline.figures.base import INK, NOTE, colour_of, wrapped

TITLE: Any = {"fontsize": 9, "color": INK}
GRID: Any = {"color": "#eeeeee"}
DASHES = {"probe": (None, None), "own": (3, 1.6)}
"""Of the mining that every run is probed with, and of the run's own."""
_BAND = 0.13


def colours(analysis: DiagnosticsAnalysis) -> dict[str, str]:
    """A colour for each condition, as in the other figures of the study."""
    names = analysis.conditions
    return {name: colour_of(name, names, analysis.reference) for name in names}


def course(axes: Axes, steps: Vector, values: Array, colour: str, procedure: str = "probe") -> None:
    """Mean over runs as a line, smallest to largest as a band; values are (runs, steps)."""
    axes.fill_between(
        steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=_BAND, linewidth=0
    )
    dashes = DASHES.get(procedure, (1, 1))
    axes.plot(steps, values.mean(axis=0), color=colour, linewidth=1.5, dashes=dashes)


def training_axis(axes: Axes, steps: Vector, *, labelled: bool) -> None:
    """Steps of training along x; the name of the axis only where there is room for it."""
    axes.set_xlim(float(steps[0]), float(steps[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)
    axes.grid(axis="y", **GRID)
    if labelled:
        axes.set_xlabel("step", fontsize=8.5)


def _thousands(value: float, _: object) -> str:
    return f"{value / 1000:,.4g}k" if value >= 10_000 else f"{value:,.0f}"


def plain(axes: Axes, ticks: int = 4) -> None:
    """Few, short numbers along y."""
    axes.yaxis.set_major_locator(MaxNLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def whole(axes: Axes) -> None:
    """The axis of a share, all of it."""
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def legend(figure: Figure, entries: Sequence[tuple[str, Any]], columns: int = 4) -> None:
    """A legend above all panels; an entry is a text and the properties of its line."""
    handles = [Line2D([], [], label=text, **{"linewidth": 1.8, **look}) for text, look in entries]
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(columns, len(handles)),
        fontsize=8.5,
        frameon=False,
        handlelength=2.2,
    )


def condition_entries(
    analysis: DiagnosticsAnalysis, labels: Mapping[str, str]
) -> list[tuple[str, Any]]:
    """Legend entries of the conditions, each with the number of its runs."""
    found = colours(analysis)
    return [
        (f"{said(name, labels)} (n = {len(analysis.recorded[name])})", {"color": colour})
        for name, colour in found.items()
    ]


def procedure_entries(procedures: Sequence[str]) -> list[tuple[str, Any]]:
    """Legend entries of the ways to mine, where there is more than one."""
    texts = {"probe": "solid: probe mining", "own": "dashed: own mining"}
    if len(procedures) < 2:
        return []
    return [
        (texts.get(name, f"dotted: {name}"), {"color": INK, "dashes": DASHES.get(name, (1, 1))})
        for name in procedures
    ]


def procedures_of(analysis: DiagnosticsAnalysis) -> list[str]:
    """The ways to mine that any run has, probe first."""
    return list(dict.fromkeys(series.procedure for series in analysis.series))


def said(condition: str, labels: Mapping[str, str], width: int = 40) -> str:
    """How people call a condition, on one line."""
    return wrapped(labels.get(condition, condition), width).replace("\n", " ")


def note(figure: Figure, analysis: DiagnosticsAnalysis, *lines: str) -> None:
    """The closing note: seeds, what is drawn, and that none of it is a verdict."""
    seeds = f"Seeds {markdown.seeds(analysis.seeds)}; exploratory, no verdict."
    figure.supxlabel("\n".join([*lines, seeds]), **NOTE)


def positive(values: Array) -> Array:
    """Values for a logarithmic axis: what is not above zero is left out."""
    found: Array = np.where(values > 0, values, np.nan)
    return found
