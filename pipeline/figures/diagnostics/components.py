"""components.svg: where runs lie by their features, and where the probes lie in those features."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.features import Likeness, Picture, run_map
from pipeline.analysis.stats import Vector
from pipeline.figures.base import GREY, PALE, wrapped
from pipeline.figures.diagnostics.panels import (
    TITLE,
    colours,
    condition_entries,
    legend,
    note,
    said,
)


def components_figure(analysis: DiagnosticsAnalysis, labels: Mapping[str, str]) -> Figure:
    """Columns are hidden layers; the first row places runs, the others the probes of one run."""
    last = {of.layer: of for of in analysis.likenesses}
    layers = list(last)
    names = list(dict.fromkeys(picture.condition for picture in analysis.pictures))
    pictures = {(p.condition, p.layer): p for p in analysis.pictures}
    figure = Figure(
        figsize=(2.6 * len(layers) + 0.7, 2.05 * (1 + len(names)) + 1.1), layout="constrained"
    )
    panels = figure.subplots(1 + len(names), len(layers), squeeze=False)
    for column, layer in enumerate(layers):
        panels[0, column].set_title(f"{layer} hidden layer", **TITLE)
        _runs(panels[0, column], analysis, last[layer])
        shade = pictures[names[0], layer].scores[:, 0]
        for row, name in enumerate(names, start=1):
            _probes(panels[row, column], pictures[name, layer], shade)
    panels[0, 0].set_ylabel("runs", fontsize=9)
    for row, name in enumerate(names, start=1):
        seed = pictures[name, layers[0]].seed
        text = f"probes: {said(name, labels)}, seed {seed}"
        panels[row, 0].set_ylabel(wrapped(text, 24), fontsize=9)
    legend(figure, condition_entries(analysis, labels))
    note(
        figure,
        analysis,
        "First two principal components after training; percentages are shares of the spread.",
        "First row: runs by their CKA, lines join equal seeds. Other rows: probes, coloured by "
        f"their place along the\nfirst component in {said(names[0], labels)}; panels are rotated "
        "towards that condition's, as rotation means nothing.",
    )
    return figure


def _runs(axes: Axes, analysis: DiagnosticsAnalysis, likeness: Likeness) -> None:
    places, shares = run_map(likeness)
    by_name = dict(zip(likeness.runs, places, strict=True))
    for seed in analysis.seeds:
        joined = [by_name[name, seed] for name in analysis.conditions if (name, seed) in by_name]
        axes.plot(*np.array(joined).T, color=PALE, linewidth=0.9, zorder=1)
    for (name, _), place in by_name.items():
        colour = colours(analysis)[name]
        axes.scatter(place[0], place[1], s=22, color=colour, zorder=3, linewidths=0)
    _bare(axes, shares)


def _probes(axes: Axes, picture: Picture, shade: Vector) -> None:
    across, up = picture.scores.T
    axes.scatter(across, up, s=7, c=shade, cmap=mpl.colormaps["viridis"], linewidths=0, zorder=3)
    _bare(axes, picture.shares)


def _bare(axes: Axes, shares: Vector) -> None:
    """Coordinates mean nothing; what a component explains does."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    across, up = (f"{100 * share:.0f}%" for share in shares)
    axes.set_xlabel(f"{across} across, {up} up", fontsize=7.5, color=GREY, labelpad=2)
