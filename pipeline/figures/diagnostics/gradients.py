"""gradients.svg, cosines.svg: gradient norms by loss term and layer, and how the losses agree."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.figures.base import BLUE, COLOURS, GREY, wrapped
from pipeline.figures.diagnostics.panels import (
    TITLE,
    colours,
    condition_entries,
    course,
    legend,
    note,
    positive,
    procedure_entries,
    procedures_of,
    said,
    training_axis,
    whole,
)

TERMS = {
    "denoising": ("denoising", GREY),
    "probe": ("contrastive, probe mining", BLUE),
    "own": ("contrastive, own mining", COLOURS[1]),
}
# Panels of a row of cosines; the row of six layers and the clipped share takes two of them.
COLUMNS = 4


def gradients_figure(analysis: DiagnosticsAnalysis, labels: Mapping[str, str]) -> Figure:
    """Rows are conditions, columns layers; one scale for all."""
    rows = analysis.gradients
    layers = list(next(iter(rows[0].norms.values())))
    figure = Figure(figsize=(1.6 * len(layers) + 0.8, 1.7 * len(rows) + 1.1), layout="constrained")
    panels = figure.subplots(len(rows), len(layers), sharex=True, sharey=True, squeeze=False)
    terms: dict[str, tuple[str, str]] = {}
    for row, of in enumerate(rows):
        for term in of.norms:
            terms.setdefault(term, TERMS.get(term, (term, COLOURS[2])))
        for column, layer in enumerate(layers):
            axes = panels[row, column]
            for term, norms in of.norms.items():
                course(axes, analysis.steps, positive(norms[layer]), terms[term][1])
            training_axis(axes, analysis.steps, labelled=row == len(rows) - 1)
            if row == 0:
                axes.set_title(_layer(layer), **TITLE)
        panels[row, 0].set_ylabel(wrapped(said(of.condition, labels), 22), fontsize=9)
    _logarithmic(panels[0, 0])
    legend(figure, [(text, {"color": colour}) for text, colour in terms.values()])
    note(
        figure,
        analysis,
        "Norm of the gradient of each loss on the probes, the contrastive one without its weight.",
        "Line: mean over runs. Band: smallest to largest.",
    )
    return figure


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def cosines_figure(analysis: DiagnosticsAnalysis, labels: Mapping[str, str]) -> Figure:
    """A panel for each layer, then the share of clipped steps."""
    rows = analysis.gradients
    layers = list(next(iter(rows[0].cosines.values())))
    count = len(layers) + 1
    high = -(-count // COLUMNS)
    figure = Figure(figsize=(2.35 * COLUMNS + 0.4, 1.75 * high + 1.1), layout="constrained")
    panels = figure.subplots(high, COLUMNS, squeeze=False).flatten()
    for place, layer in enumerate(layers):
        axes = panels[place]
        for of in rows:
            for procedure, cosines in of.cosines.items():
                colour = colours(analysis)[of.condition]
                course(axes, analysis.steps, cosines[layer], colour, procedure)
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
        axes.set_ylim(-1.05, 1.05)
        axes.yaxis.set_major_locator(FixedLocator([-1, -0.5, 0, 0.5, 1]))
        axes.set_title(f"cosine, {_layer(layer)}", **TITLE)
        training_axis(axes, analysis.steps, labelled=True)
    for of in rows:
        colour = colours(analysis)[of.condition]
        course(panels[count - 1], analysis.steps[1:], of.clipped_share, colour)
    panels[count - 1].set_title("share of clipped steps", **TITLE)
    whole(panels[count - 1])
    training_axis(panels[count - 1], analysis.steps, labelled=True)
    for axes in panels[count:]:
        axes.set_visible(False)
    entries = condition_entries(analysis, labels) + procedure_entries(procedures_of(analysis))
    legend(figure, entries, columns=3)
    note(
        figure,
        analysis,
        "Cosine of the contrastive with the denoising gradient on the probes: above 0 they agree, "
        "below 0 they oppose each other.\nLine: mean over runs. Band: smallest to largest.",
    )
    return figure


def _layer(name: str) -> str:
    return "all layers" if name == "all" else f"{name} layer"
