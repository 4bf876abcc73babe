"""negatives.svg: mined examples over training, and how far they are from natural ones."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.figures.base import GREY
from pipeline.figures.diagnostics.panels import (
    TITLE,
    colours,
    condition_entries,
    course,
    legend,
    note,
    plain,
    procedure_entries,
    procedures_of,
    training_axis,
    whole,
)

PANELS = {
    "distance": "distance to the true inverse",
    "residual": "residual |A X - I| / sqrt(n)",
    "false_negative_share": "share of false negatives",
    "lower_share": "share of lower energy\nthan the true inverse",
    "reverted_share": "share of reverted inner steps",
    "energy_distance": "energy distance\nfrom true inverses",
    "mmd_squared": "MMD² from true inverses,\nunbiased, Gaussian kernel",
    "ks_share": "share of directions told apart\n(Kolmogorov-Smirnov, Holm)",
}
COLUMNS = 4
# Levels closer than this share of the axis have one text.
NEAR = 0.09


def negatives_figure(analysis: DiagnosticsAnalysis, labels: Mapping[str, str]) -> Figure:
    """A panel for each quantity; dotted levels are of solutions that no model had a part in."""
    shown = [name for name in PANELS if any(series.name == name for series in analysis.series)]
    high = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(2.45 * COLUMNS + 0.4, 2.0 * high + 1.2), layout="constrained")
    panels = figure.subplots(high, COLUMNS, squeeze=False).flatten()
    for axes, name in zip(panels, shown, strict=False):
        for series in (series for series in analysis.series if series.name == name):
            colour = colours(analysis)[series.condition]
            course(axes, analysis.steps, series.values, colour, series.procedure)
        axes.set_title(PANELS[name], **TITLE)
        plain(axes)
        if name.endswith("share"):
            whole(axes)
        _levels(axes, analysis.fixed.get(name, {}))
        training_axis(axes, analysis.steps, labelled=True)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    entries = condition_entries(analysis, labels) + procedure_entries(procedures_of(analysis))
    legend(figure, entries, columns=3)
    note(
        figure,
        analysis,
        "Line: mean over runs. Band: smallest to largest. Dotted: solutions without a model",
        "(noised: the true inverse under its noise; natural: the inverse of another probe;",
        "inverses: one half of them against the other).",
    )
    return figure


def _levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Where solutions without a model lie; near levels share one text."""
    for value in levels.values():
        axes.axhline(value, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    low, high = axes.get_ylim()
    names: list[tuple[float, list[str]]] = []
    for name, value in sorted(levels.items(), key=lambda item: item[1]):
        if not names or value - names[-1][0] > NEAR * (high - low):
            names.append((value, []))
        names[-1][1].append("inverses" if name == "inverse" else name)
    for value, joined in names:
        below = value > high - NEAR * (high - low)
        axes.annotate(
            ", ".join(joined), (0.98, value), xycoords=("axes fraction", "data"), ha="right",
            va="top" if below else "bottom", fontsize=7, color=GREY,
        )  # fmt: skip
