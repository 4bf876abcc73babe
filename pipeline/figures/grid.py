"""grid.svg: a sweep's grid as a heatmap of estimates, diverging from 0 %.

With more than two axes a panel is drawn for each combination of the further ones.
"""

import json
from collections.abc import Mapping
from itertools import product
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from pipeline import markdown
from pipeline.analysis.sweep import Axis, CellEstimate, SweepAnalysis
from pipeline.figures.base import INK, NOTE, wrapped

EMPTY = "#f2f2f2"
# Panels of a row; more would not be readable at the width of a page.
MOST_COLUMNS = 3
# From this share of the colour scale on, dark text is hard to read on the cell.
DARK = 0.62


def grid(analysis: SweepAnalysis, labels: Mapping[str, str], selected: str) -> Figure:
    """Every cell with estimate and half-width; the selected one is outlined."""
    rows, columns, *further = _axes(analysis)
    panels = [
        dict(zip([axis.key for axis in further], values, strict=True))
        for values in product(*(axis.values for axis in further))
    ]
    wide = min(MOST_COLUMNS, len(panels))
    high = -(-len(panels) // wide)
    size = (
        max(4.4, wide * (0.6 + 0.98 * len(columns.values)) + 1.6),
        high * (0.9 + 0.62 * len(rows.values)) + 1.1,
    )
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(high, wide, squeeze=False).flatten()
    colours = _Colours(analysis)
    for place, panel in zip(places, panels, strict=False):
        _panel(place, analysis, (rows, columns), panel, colours, selected)
    for place in places[len(panels) :]:
        place.set_visible(False)
    _bar(figure, list(places), colours)
    figure.supxlabel(_note(analysis, labels, selected), **NOTE)
    return figure


class _Colours:
    """Estimate -> colour; blue is where the candidate improves, whichever way that is."""

    def __init__(self, analysis: SweepAnalysis) -> None:
        cells = [cell for cell in analysis.cells if cell.arm in analysis.design.grid]
        known = [abs(cell.percent) for cell in cells if cell.percent is not None]
        self.reach = max(known, default=0.0) or 1.0
        name = "RdBu_r" if analysis.plan.direction == "minimize" else "RdBu"
        self.map: Colormap = mpl.colormaps[name]
        self.scale = Normalize(-self.reach, self.reach)

    def of(self, percent: float) -> Any:
        # The ends of the map are too dark to read figures on.
        return self.map(0.5 + 0.42 * percent / self.reach)

    def text(self, percent: float) -> str:
        return "white" if abs(percent) / self.reach > DARK else INK


def _axes(analysis: SweepAnalysis) -> list[Axis]:
    """Rows, columns, then the axes that make panels; a single axis lies in one row."""
    axes = list(analysis.design.axes)
    return axes if len(axes) > 1 else [Axis("", "", ("",)), *axes]


def _panel(
    axes: Axes,
    analysis: SweepAnalysis,
    sides: tuple[Axis, Axis],
    panel: Mapping[str, Any],
    colours: _Colours,
    selected: str,
) -> None:
    rows, columns = sides
    cells = {_place(cell.settings): cell for cell in analysis.cells}
    for y, row in enumerate(rows.values):
        for x, column in enumerate(columns.values):
            settings = {rows.key: row, columns.key: column, **panel}
            settings.pop("", None)
            _cell(axes, x, y, cells[_place(settings)], colours, analysis)
            if cells[_place(settings)].arm == selected:
                _outline(axes, x, y)
    axes.set_xlim(-0.5, len(columns.values) - 0.5)
    axes.set_ylim(-0.5, len(rows.values) - 0.5)
    axes.set_xticks(range(len(columns.values)), [_said(value) for value in columns.values])
    axes.set_yticks(range(len(rows.values)), [_said(value) for value in rows.values])
    axes.set_xlabel(columns.label)
    axes.set_ylabel(rows.label)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if panel:
        axes.set_title(
            ", ".join(f"{key.rpartition('.')[2]} = {_said(v)}" for key, v in panel.items()),
            fontsize=10,
        )


def _place(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), sort_keys=True)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cell(
    axes: Axes, x: int, y: int, cell: CellEstimate, colours: _Colours, analysis: SweepAnalysis
) -> None:
    known = cell.percent is not None
    face = colours.of(cell.percent) if cell.percent is not None else EMPTY
    axes.add_patch(
        Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, facecolor=face, hatch="" if known else "///",
                  edgecolor="white" if known else "#d5d5d5", linewidth=0)
    )  # fmt: skip
    if cell.percent is None:
        text = "no result" if cell.run else "not run"
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color=INK)
        return
    colour = colours.text(cell.percent)
    width = "" if cell.half_width is None else f"± {cell.half_width:.2f}"
    fewer = len(cell.seeds) < len(analysis.seeds)
    below = f"{width}, n = {len(cell.seeds)}".lstrip(", ") if fewer else width
    axes.text(x, y + 0.13, f"{cell.percent:+.2f}", ha="center", va="center", fontsize=10.5,
              color=colour, fontweight="bold")  # fmt: skip
    axes.text(x, y - 0.2, below, ha="center", va="center", fontsize=8.5, color=colour)


def _outline(axes: Axes, x: int, y: int) -> None:
    axes.add_patch(
        Rectangle(
            (x - 0.46, y - 0.45), 0.92, 0.9, fill=False, edgecolor=INK, linewidth=2.2, zorder=5
        )
    )


def _bar(figure: Figure, places: list[Axes], colours: _Colours) -> None:
    shades = [colours.of(colours.reach * (step / 64 - 1)) for step in range(129)]
    shown = mpl.cm.ScalarMappable(colours.scale, mpl.colors.ListedColormap(shades))
    bar = figure.colorbar(shown, ax=places, fraction=0.06, pad=0.03, aspect=18)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:+.3g}" if v else "0"))
    bar.ax.tick_params(length=0, labelsize=8.5)
    bar.set_label("percent", fontsize=8.5)


def _note(analysis: SweepAnalysis, labels: Mapping[str, str], selected: str) -> str:
    reference = labels.get(analysis.design.reference, analysis.design.reference)
    side = "below" if analysis.plan.direction == "minimize" else "above"
    level, seeds = markdown.level(1 - analysis.plan.alpha), markdown.seeds(analysis.seeds)
    lines = [
        f"Mean difference in {analysis.plan.label} from {wrapped(reference, 60)}, percent,",
        f"± half-width of its {level} t interval; n = {len(analysis.seeds)} pairs (seeds {seeds}).",
        f"Blue: {side} zero, where the metric improves. No setting has a verdict.",
    ]
    if selected in analysis.design.grid:
        lines.append("Outlined: selected by the declared rule.")
    return "\n".join(lines)
