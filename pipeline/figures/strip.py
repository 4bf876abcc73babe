"""strip.svg: every run as a dot by condition, means with their intervals, reference predictors."""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline import markdown
from pipeline.analysis.multiseed import Arm, MultiseedAnalysis
from pipeline.analysis.table import metric_label
from pipeline.figures.base import INK, NOTE, PALE, colour_of, side_labels, wrapped

# A reference predictor farther from the data than this many data ranges would squash the axis.
NEAR = 0.75


def strip(analysis: MultiseedAnalysis, labels: Mapping[str, str]) -> Figure:
    """Every run as a dot, equal seeds joined, with each condition's mean and its t interval."""
    arms, plan = analysis.arms, analysis.plan
    width = min(max(6.4, 1.9 * len(arms) + 1.6), 14.0)
    figure = Figure(figsize=(width, 4.6), layout="constrained")
    axes = figure.subplots()
    names = [arm.condition for arm in arms]
    values = {
        arm.condition: {run.seed: run.metrics[plan.metric].value for run in arm.runs}
        for arm in arms
    }
    _join_seeds(axes, arms, values)
    for place, arm in enumerate(arms):
        heights = list(values[arm.condition].values())
        colour = colour_of(arm.condition, names, plan.reference_condition)
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
    return f"{wrapped(labels.get(arm.condition, arm.condition), 20)}\nn = {len(arm.runs)}"


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
    side_labels(axes, [(value, text, INK) for value, text in near])
    lines = [f"References {side} the axis: {', '.join(of)}." for side, of in far.items() if of]
    return [part for line in lines for part in textwrap.wrap(line, 95)]
