"""The figures beside RESULTS.md: SVG whose bytes depend on the data alone.

Owns the only use of matplotlib. No figure says more than the tables do; each states n, the kind
of interval and the seeds.
"""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from pipeline.analysis.alternatives import AlternativesAnalysis
from pipeline.analysis.confirm import ConfirmAnalysis
from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.analysis.sweep import SweepAnalysis
from pipeline.figures.base import drawn
from pipeline.figures.curves import Curves, curves_figure, shared_steps
from pipeline.figures.diagnostics import diagnostics_drawings
from pipeline.figures.forest import forest, forest_rows
from pipeline.figures.grid import grid
from pipeline.figures.power import power_figure
from pipeline.figures.settings import settings_figure
from pipeline.figures.strip import strip
from pipeline.remembered import remembered

Drawings = dict[str, Callable[[], Figure]]
"""Kind of figure -> what draws it."""


@remembered
def figures_of(
    analysis: object,
    labels: Mapping[str, str],
    marks: Sequence[str] = (),
    curves: Curves | None = None,
    selected: str = "",
) -> dict[str, bytes]:
    """Draw what there is to draw of a phase; return SVG by file name, which names the phase.

    `labels` gives the conditions' names as the report prints them; `marks` stand behind verdicts;
    `selected` is the arm that a sweep handed on. An analysis without a figure of its own gives
    none.

    Raises:
        PipelineError: matplotlib cannot draw the figure.
    """
    if isinstance(analysis, SweepAnalysis):
        drawings = _sweep(analysis, labels, selected)
    elif isinstance(analysis, DiagnosticsAnalysis):
        drawings = diagnostics_drawings(analysis, labels)
    elif isinstance(analysis, AlternativesAnalysis):
        order = [place.comparison for place in analysis.order]
        drawings = _paired(analysis.paired, order, labels, marks, curves or {})
    elif isinstance(analysis, ConfirmAnalysis):
        paired = analysis.paired
        drawings = _paired(paired, paired.comparisons, labels, marks, {})
    elif isinstance(analysis, MultiseedAnalysis):
        drawings = _paired(analysis, analysis.comparisons, labels, marks, curves or {})
    else:
        return {}
    names = {f"{analysis.phase}-{kind}.svg": draw for kind, draw in drawings.items()}
    return {name: drawn(name, draw) for name, draw in names.items()}


def _paired(
    analysis: MultiseedAnalysis,
    comparisons: Sequence[Comparison],
    labels: Mapping[str, str],
    marks: Sequence[str],
    curves: Curves,
) -> Drawings:
    drawings: Drawings = {}
    if any(arm.runs for arm in analysis.arms):
        drawings["strip"] = lambda: strip(analysis, labels)
    rows = forest_rows(comparisons, labels, marks)
    if rows:
        drawings["forest"] = lambda: forest(analysis, rows, labels)
    tested = [c for c in comparisons if c.tested and not c.tested.identical]
    if tested:
        drawings["power"] = lambda: power_figure(tested, labels)
    if len(shared_steps(curves)) > 1:
        drawings["curves"] = lambda: curves_figure(analysis, curves, labels)
    return drawings


def _sweep(analysis: SweepAnalysis, labels: Mapping[str, str], selected: str) -> Drawings:
    drawings: Drawings = {}
    if any(
        cell.percent is not None and cell.arm in analysis.design.grid for cell in analysis.cells
    ):
        drawings["grid"] = lambda: grid(analysis, labels, selected)
    listed = [cell for cell in analysis.cells if cell.arm not in analysis.design.grid]
    others = [cell for cell in (*analysis.reference_cells, *listed) if cell.percent is not None]
    if others:
        drawings["settings"] = lambda: settings_figure(analysis, others, labels, selected)
    return drawings
