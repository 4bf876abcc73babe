"""The figures beside RESULTS.md: SVG whose bytes depend on the data alone.

Owns the only use of matplotlib. No figure says more than the tables do; each states n, the kind
of interval and the seeds. Backgrounds are opaque, so they read in light and dark viewers alike.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline import markdown
from pipeline.analysis.multiseed import Arm, MultiseedAnalysis
from pipeline.analysis.stats import Interval
from pipeline.analysis.table import metric_label
from pipeline.errors import PipelineError

# Okabe & Ito's palette, told apart with any colour vision; the reference condition is grey.
BLUE = "#0072B2"
COLOURS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY, PALE, INK, BAND = "#6b6b6b", "#c9c9c9", "#1f1f1f", "#e4ebf1"
STYLE: Any = {
    "svg.hashsalt": "pipeline",  # ids of clip paths would be random otherwise
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so glyphs are the same everywhere
    "font.size": 10,
    "text.parse_math": False,  # a label may hold a dollar sign
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    # A round or projecting cap would lengthen an interval.
    "lines.solid_capstyle": "butt",
}
# A reference predictor farther from the data than this many data ranges would squash the axis.
NEAR = 0.75
NOTE: Any = {"fontsize": 8.5, "color": GREY, "x": 0.02, "ha": "left"}


def figures_of(
    analysis: object, labels: Mapping[str, str], marks: Sequence[str] = ()
) -> dict[str, bytes]:
    """Draw what there is to draw of a phase; return SVG by file name, which names the phase.

    `labels` gives the conditions' names as the report prints them; `marks` stand behind verdicts.
    An analysis without a figure of its own gives none.

    Raises:
        PipelineError: matplotlib cannot draw the figure.
    """
    if not isinstance(analysis, MultiseedAnalysis):
        return {}
    drawn = {}
    with mpl.rc_context(STYLE):
        if any(arm.runs for arm in analysis.arms):
            name = f"{analysis.phase}-strip.svg"
            drawn[name] = _svg(name, lambda: strip(analysis, labels))
        rows = _forest_rows(analysis, labels, marks)
        if rows:
            name = f"{analysis.phase}-forest.svg"
            drawn[name] = _svg(name, lambda: forest(analysis, rows, labels))
    return drawn


def _svg(name: str, draw: Callable[[], Figure]) -> bytes:
    buffer = BytesIO()
    try:
        draw().savefig(
            buffer,
            format="svg",
            bbox_inches="tight",
            metadata={"Date": None, "Creator": None},
        )
    except Exception as error:  # whatever a font, a backend or a setting of the user raises
        raise PipelineError(
            f"figures/{name} cannot be drawn ({type(error).__name__}: {error}); the results are "
            "safe: `pipeline report` draws it once that is mended"
        ) from error
    return buffer.getvalue()


def strip(analysis: MultiseedAnalysis, labels: Mapping[str, str]) -> Figure:
    """Every run as a dot, equal seeds joined, with each condition's mean and its t interval."""
    arms, plan = analysis.arms, analysis.plan
    width = min(max(6.4, 1.9 * len(arms) + 1.6), 14.0)
    figure = Figure(figsize=(width, 4.6), layout="constrained")
    axes = figure.subplots()
    values = {
        arm.condition: {run.seed: run.metrics[plan.metric].value for run in arm.runs}
        for arm in arms
    }
    _join_seeds(axes, arms, values)
    for place, arm in enumerate(arms):
        heights = list(values[arm.condition].values())
        colour = _colour(arm.condition, analysis)
        axes.scatter([place] * len(heights), heights, s=26, color=colour, zorder=3)
        _mean_bar(axes, place + 0.2, arm, colour)
    axes.set_xticks(range(len(arms)), [_tick(arm, labels) for arm in arms])
    axes.set_xlim(-0.4, len(arms) - 0.6)
    axes.set_ylabel(plan.label)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-4, 6))
    axes.grid(axis="y", color="#eeeeee", zorder=0)
    far = _references(axes, analysis, [v for of in values.values() for v in of.values()])
    seeds = markdown.seeds(tuple({seed for of in values.values() for seed in of}))
    note = (
        f"Dots: runs (seeds {seeds}); lines join equal seeds. "
        f"Bars: mean and {markdown.level(1 - plan.alpha)} t interval."
    )
    figure.supxlabel("\n".join([note, *far]), **NOTE)
    return figure


def _tick(arm: Arm, labels: Mapping[str, str]) -> str:
    return f"{_wrapped(labels.get(arm.condition, arm.condition), 20)}\nn = {len(arm.runs)}"


def _wrapped(text: str, width: int) -> str:
    lines = textwrap.wrap(markdown.one_line(text).strip(), width) or [""]
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], lines[2][: width - 1] + "…"])


def _colour(condition: str, analysis: MultiseedAnalysis) -> str:
    others = [
        arm.condition for arm in analysis.arms if arm.condition != analysis.plan.reference_condition
    ]
    if condition not in others:
        return GREY
    return COLOURS[others.index(condition) % len(COLOURS)]


def _join_seeds(axes: Axes, arms: Sequence[Arm], values: Mapping[str, Mapping[int, float]]) -> None:
    """One line per seed through the conditions that have it; a missing run breaks it."""
    for seed in sorted({seed for of in values.values() for seed in of}):
        heights = [values[arm.condition].get(seed, float("nan")) for arm in arms]
        axes.plot(range(len(arms)), heights, color=PALE, linewidth=0.9, zorder=1)


def _mean_bar(axes: Axes, place: float, arm: Arm, colour: str) -> None:
    if arm.described is None:
        return
    mean, bounds = arm.described.mean, arm.described.interval
    if bounds is not None:
        axes.plot([place] * 2, [bounds.low, bounds.high], color=colour, linewidth=2.4, zorder=4)
    axes.plot([place - 0.07, place + 0.07], [mean, mean], color=colour, linewidth=2.4, zorder=4)


def _references(axes: Axes, analysis: MultiseedAnalysis, values: Sequence[float]) -> list[str]:
    """Draw the reference predictors near the data; return a line about those that are not."""
    low, high = min(values), max(values)
    reach = NEAR * (high - low or abs(high) or 1.0)
    near: list[tuple[float, str]] = []
    far: dict[str, list[str]] = {"above": [], "below": []}
    for name, measured in analysis.references.items():
        text = f"{metric_label(name)} {markdown.number(measured.value, measured.standard_error)}"
        if low - reach <= measured.value <= high + reach:
            axes.axhline(measured.value, color=INK, linewidth=1, dashes=(5, 3), zorder=2)
            near.append((measured.value, f"reference: {text}"))
        else:
            far["above" if measured.value > high else "below"].append(text)
    _margin_labels(axes, near)
    lines = [f"References {side} the axis: {', '.join(of)}." for side, of in far.items() if of]
    return [part for line in lines for part in textwrap.wrap(line, 95)]


def _margin_labels(axes: Axes, near: Sequence[tuple[float, str]]) -> None:
    """Name the dashed lines right of the axis, pushed apart where they would overlap."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top)  # nothing that follows may move what the labels are placed by
    floor = -1.0
    for value, text in sorted(near):
        place = max((value - bottom) / (top - bottom), floor)
        lines = textwrap.wrap(text, 26)
        floor = place + 0.035 + 0.04 * len(lines)
        axes.annotate(
            "\n".join(lines),
            (1.02, place),
            xycoords="axes fraction",
            va="center",
            fontsize=8.5,
        )


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


def _forest_rows(
    analysis: MultiseedAnalysis, labels: Mapping[str, str], marks: Sequence[str]
) -> list[ForestRow]:
    rows, mark = [], f" ({', '.join(marks)})" if marks else ""
    for c in analysis.comparisons:
        if c.tested is None or c.tested.percent.interval is None:
            continue
        names = (c.hypothesis.candidate, c.hypothesis.reference)
        candidate, reference = (_wrapped(labels.get(name, name), 26) for name in names)
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
        f"of the mean of {_wrapped(base, 60)}."
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
