"""curves.svg: the metric on fixed validation matrices over training, by condition."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline import markdown
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.figures.base import NOTE, colour_of, side_labels

Curves = Mapping[str, Sequence[Mapping[int, float]]]
"""Condition -> the curve of each run: step -> metric."""


def shared_steps(curves: Curves) -> list[int]:
    """Steps at which every run has a point, so that all conditions stand on one x-grid."""
    runs = [set(curve) for of in curves.values() for curve in of]
    return sorted(set.intersection(*runs)) if runs else []


def curves_figure(analysis: MultiseedAnalysis, curves: Curves, labels: Mapping[str, str]) -> Figure:
    """Median over seeds as a line, smallest to largest as a band; log y where that is defined."""
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    steps = shared_steps(curves)
    names = [arm.condition for arm in analysis.arms]
    texts, lowest = [], np.inf
    for name in (name for name in names if curves.get(name)):
        values = np.array([[curve[step] for step in steps] for curve in curves[name]])
        colour = colour_of(name, names, analysis.plan.reference_condition)
        middle = np.median(values, axis=0)
        axes.fill_between(
            steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0
        )
        axes.plot(steps, middle, color=colour, linewidth=1.8)
        texts.append((float(middle[-1]), f"{labels.get(name, name)} (n = {len(values)})", colour))
        lowest = min(lowest, float(values.min()))
    if lowest > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    axes.set_xlim(steps[0], steps[-1])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    axes.set_xlabel("step")
    axes.set_ylabel(analysis.plan.label)
    axes.grid(axis="y", color="#eeeeee", zorder=0)
    side_labels(axes, texts)
    seeds = markdown.seeds(tuple({run.seed for arm in analysis.arms for run in arm.runs}))
    note = (
        f"{analysis.plan.label} as runs recorded it while they trained (seeds {seeds}). "
        "Line: median over runs.\nBand: smallest to largest."
    )
    figure.supxlabel(note, **NOTE)
    return figure
