"""power.svg: what difference a number of pairs can detect, at the spread that was seen."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline import markdown
from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.power import detectable
from pipeline.figures.base import COLOURS, GREY, NOTE, side_labels

# Fewer pairs detect next to nothing and would squash the axis.
FEWEST_PAIRS = 4


def power_figure(comparisons: Sequence[Comparison], labels: Mapping[str, str]) -> Figure:
    """Detectable difference in percent by pairs; dots mark the pairs there are.

    Takes comparisons that were tested and whose arms are not identical.
    """
    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    axes = figure.subplots()
    plan = comparisons[0].plan
    most = max(24, 2 * max(c.n_pairs for c in comparisons))
    texts = []
    for place, c in enumerate(comparisons):
        assert c.tested is not None
        colour = COLOURS[place % len(COLOURS)]
        spread = c.tested.paired.standard_error * float(np.sqrt(c.n_pairs))
        percent = spread * c.tested.margin_percent / c.tested.margin.margin
        points = [
            (n, found * percent / float(np.sqrt(n)))
            for n in range(FEWEST_PAIRS, most + 1)
            if (found := _detectable(n - 1, plan.alpha, plan.power)) is not None
        ]
        if not points:
            continue
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8)
        here = c.tested.planning.detectable_percent
        if here is not None and c.n_pairs >= FEWEST_PAIRS:
            axes.plot(c.n_pairs, here, marker="o", color="white", mec=colour, mew=2, zorder=4)
        names = (c.hypothesis.candidate, c.hypothesis.reference)
        candidate, reference = (labels.get(name, name) for name in names)
        texts.append((points[-1][1], f"{candidate} against {reference}", colour))
    axes.axhline(plan.margin_percent, color=GREY, linewidth=1, dashes=(5, 3), zorder=1)
    texts.append((plan.margin_percent, f"margin {plan.margin_percent:.2f}%", GREY))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}"))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlim(FEWEST_PAIRS, most)
    axes.set_xlabel("complete pairs")
    axes.set_ylabel(f"detectable difference in {plan.label}, percent")
    axes.grid(axis="y", color="#eeeeee", zorder=0)
    side_labels(axes, texts)
    pairs = sorted({c.n_pairs for c in comparisons})
    note = (
        f"True difference that a two-sided paired t test at {markdown.level(plan.alpha)} detects "
        f"with power {markdown.level(plan.power)},\nat the spread of the differences seen here. "
        f"Dots: the pairs there are ({', '.join(map(str, pairs))})."
    )
    figure.supxlabel(note, **NOTE)
    return figure


@cache
def _detectable(df: int, alpha: float, power: float) -> float | None:
    return detectable(df, alpha, power)
