"""forest.svg: differences in percent with their intervals, over the band of the margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline import markdown
from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.analysis.stats import Interval
from pipeline.figures.base import BAND, BLUE, INK, NOTE, wrapped


@dataclass(frozen=True)
class ForestRow:
    """One comparison as the forest plot shows it; differences and margin in percent."""

    title: str
    verdict: str
    seeds: tuple[int, ...]
    value: float
    interval: Interval
    corrected: Interval | None
    margin: float


def forest_rows(
    comparisons: Sequence[Comparison], labels: Mapping[str, str], marks: Sequence[str]
) -> list[ForestRow]:
    """Return the comparisons that have an interval in percent."""
    rows, mark = [], f" ({', '.join(marks)})" if marks else ""
    for c in comparisons:
        if c.tested is None or c.tested.percent.interval is None:
            continue
        names = (c.hypothesis.candidate, c.hypothesis.reference)
        candidate, reference = (wrapped(labels.get(name, name), 26) for name in names)
        rows.append(
            ForestRow(
                f"{candidate}\nagainst {reference}",
                c.verdict.outcome.value + mark,
                c.seeds,
                c.tested.percent.value,
                c.tested.percent.interval,
                c.tested.percent.interval_corrected,
                c.tested.margin_percent,
            )
        )
    return rows


def forest(
    analysis: MultiseedAnalysis, rows: Sequence[ForestRow], labels: Mapping[str, str]
) -> Figure:
    """Each comparison's difference in percent with its intervals, over the margin's band."""
    plan = analysis.plan
    figure = Figure(figsize=(7.6, 1.7 + 0.8 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        _forest_row(axes, place, row)
    axes.axvline(0, color=INK, linewidth=1, zorder=2)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.4g}" if x else "0"))
    axes.set_xlabel(f"difference in {plan.label}, percent of the reference")
    axes.margins(x=0.08)
    level, side = markdown.level(1 - plan.alpha), "Left"
    if plan.direction == "maximize":
        side = "Right"
    seeds = markdown.seeds(tuple({seed for row in rows for seed in row.seeds}))
    base = labels.get(plan.reference_condition, plan.reference_condition)
    note = (
        f"Difference = candidate - reference, paired by seed (seeds {seeds}). "
        f"{side} of zero the candidate improves.\n"
        f"Thick: {level} interval (Fieller). Thin: the same at Bonferroni's level. "
        f"Band: margin, {markdown.margin(plan.margin_percent)}\n"
        f"of the mean of {wrapped(base, 60)}."
    )
    missing = len(analysis.comparisons) - len(rows)
    if missing:
        note += f" Not shown: {missing} without an interval in percent."
    figure.supxlabel(note, **NOTE)
    return figure


def _forest_row(axes: Axes, place: int, row: ForestRow) -> None:
    axes.add_patch(Rectangle((-row.margin, place - 0.5), 2 * row.margin, 1, color=BAND, zorder=0))
    if row.corrected is not None:
        axes.plot([row.corrected.low, row.corrected.high], [place] * 2, color=BLUE, linewidth=1.4)
    axes.plot([row.interval.low, row.interval.high], [place] * 2, color=BLUE, linewidth=5)
    axes.plot(row.value, place, marker="o", markersize=7, color="white", mec=BLUE, mew=2)
    bounds = markdown.percent_interval(row.interval)
    axes.annotate(
        f"{markdown.percent(row.value)} {bounds}\n{row.verdict}, {len(row.seeds)} pairs",
        (1.02, place),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=9,
    )
