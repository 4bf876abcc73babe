"""The figures of a diagnostics phase: small multiples, none with more than the recordings hold."""

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.figures.diagnostics.components import components_figure
from pipeline.figures.diagnostics.energies import energies_figure
from pipeline.figures.diagnostics.gradients import cosines_figure, gradients_figure
from pipeline.figures.diagnostics.likeness import likeness_figure
from pipeline.figures.diagnostics.negatives import negatives_figure
from pipeline.figures.diagnostics.summaries import shown_quantities, summaries_figure

Drawing = Callable[[DiagnosticsAnalysis, Mapping[str, str]], Figure]


def diagnostics_drawings(
    analysis: DiagnosticsAnalysis, labels: Mapping[str, str]
) -> dict[str, Callable[[], Figure]]:
    """Return what draws each figure, in the order of the report's section."""
    drawings: dict[str, Drawing] = {}
    if shown_quantities(analysis):
        drawings["summaries"] = summaries_figure
    if analysis.levels:
        drawings["likeness"] = likeness_figure
    if analysis.pictures:
        drawings["components"] = components_figure
    if len(analysis.steps) > 1:
        drawings |= {"gradients": gradients_figure, "cosines": cosines_figure}
    if analysis.energies is not None:
        drawings["energies"] = energies_figure
    if len(analysis.steps) > 1:
        drawings["negatives"] = negatives_figure
    return {kind: lambda draw=draw: draw(analysis, labels) for kind, draw in drawings.items()}  # type: ignore[misc]
