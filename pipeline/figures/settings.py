"""settings.svg: the settings of a sweep that lie on no grid, each with estimate and interval."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline import markdown
from pipeline.analysis.sweep import CellEstimate, SweepAnalysis
from pipeline.cells import cell_label
from pipeline.figures.base import BLUE, GREY, INK, NOTE, wrapped


def settings_figure(
    analysis: SweepAnalysis,
    cells: Sequence[CellEstimate],
    labels: Mapping[str, str],
    selected: str,
) -> Figure:
    """A line for each setting; those of the reference condition are grey."""
    figure = Figure(figsize=(7.6, 1.5 + 0.52 * len(cells)), layout="constrained")
    axes = figure.subplots()
    for place, cell in enumerate(cells):
        assert cell.percent is not None
        colour = GREY if cell.arm in analysis.design.reference_cells else BLUE
        if cell.half_width is not None:
            ends = [cell.percent - cell.half_width, cell.percent + cell.half_width]
            axes.plot(ends, [place] * 2, color=colour, linewidth=4)
        axes.plot(cell.percent, place, marker="o", markersize=7, color="white", mec=colour, mew=2)
        axes.annotate(
            _said(cell, selected), (1.02, place), xycoords=("axes fraction", "data"),
            va="center", fontsize=9,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1, zorder=0)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_yticks(range(len(cells)), [_title(analysis, cell, labels) for cell in cells])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.4g}" if x else "0"))
    axes.margins(x=0.08)
    axes.set_xlabel(f"difference in {analysis.plan.label}, percent of the reference")
    reference = labels.get(analysis.design.reference, analysis.design.reference)
    note = (
        f"Mean difference from {wrapped(reference, 60)}, paired by seed "
        f"(seeds {markdown.seeds(analysis.seeds)}).\n"
        f"Lines: {markdown.level(1 - analysis.plan.alpha)} t interval. "
        "No setting of a sweep has a verdict."
    )
    figure.supxlabel(note, **NOTE)
    return figure


def _title(analysis: SweepAnalysis, cell: CellEstimate, labels: Mapping[str, str]) -> str:
    own = cell.arm in analysis.design.reference_cells
    name = analysis.design.reference if own else analysis.design.condition
    return wrapped(f"{labels.get(name, name)}: {cell_label(cell.settings)}", 34)


def _said(cell: CellEstimate, selected: str) -> str:
    width = "" if cell.half_width is None else f" ± {cell.half_width:.2f}"
    mark = ", selected" if cell.arm == selected else ""
    return f"{cell.percent:+.2f}%{width}\nn = {len(cell.seeds)}{mark}"
