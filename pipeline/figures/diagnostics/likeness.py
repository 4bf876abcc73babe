"""likeness.svg: CKA of learned features, between seeds and between conditions, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.features import Levels, Likeness
from pipeline.analysis.stats import TTest
from pipeline.figures.base import INK, wrapped
from pipeline.figures.diagnostics.panels import GRID, TITLE, colours, note, said

LEVEL = 0.95


@dataclass(frozen=True)
class _Line:
    """One kind of pairs of runs."""

    title: str
    colour: str
    values: Sequence[float]
    mean: TTest


def likeness_figure(analysis: DiagnosticsAnalysis, labels: Mapping[str, str]) -> Figure:
    """A panel for each hidden layer after training, a line for each kind of pairs."""
    layers = list(dict.fromkeys(level.layer for level in analysis.levels))
    last = {of.layer: of for of in analysis.likenesses}  # later moments replace earlier ones
    lines = {layer: _lines(analysis, last[layer], labels) for layer in layers}
    count = len(lines[layers[0]])
    figure = Figure(figsize=(2.5 * len(layers) + 2.3, 0.42 * count + 1.5), layout="constrained")
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False).flatten()
    for axes, layer in zip(panels, layers, strict=True):
        _panel(axes, lines[layer])
        axes.set_title(f"{layer} hidden layer", **TITLE)
        axes.set_xlabel("linear CKA", fontsize=8.5)
    panels[0].set_yticks(range(count), [line.title for line in lines[layers[0]]], fontsize=8.5)
    note(
        figure,
        analysis,
        "Dots: pairs of runs, features of the same probes after training; 1 = alike up to rotation "
        "and scale.\nBars: mean and 95% interval, jackknifed over seeds.",
    )
    return figure


def _lines(
    analysis: DiagnosticsAnalysis, likeness: Likeness, labels: Mapping[str, str]
) -> list[_Line]:
    """Within conditions first: what another seed changes is what the rest is held against."""
    levels = [level for level in analysis.levels if level.layer == likeness.layer]
    found: dict[str, _Line] = {}
    for level in levels:
        for name, mean in level.seed_to_seed.items():
            values = [
                likeness.between((name, a), (name, b)) for a, b in combinations(level.seeds, 2)
            ]
            title = f"two seeds of {said(name, labels, 24)}"
            found[name] = _Line(title, colours(analysis)[name], values, mean)
    within = [found[name] for name in analysis.conditions if name in found]
    return [
        *within,
        *(line for level in levels for line in _across(analysis, likeness, level, labels)),
    ]


def _across(
    analysis: DiagnosticsAnalysis, likeness: Likeness, level: Levels, labels: Mapping[str, str]
) -> list[_Line]:
    names = (level.candidate, level.reference)
    pair = wrapped(" and ".join(said(name, labels, 24) for name in names), 44)
    colour = colours(analysis)[level.candidate]

    def values(*, equal: bool) -> list[float]:
        return [
            likeness.between((names[0], a), (names[1], b))
            for a in level.seeds
            for b in level.seeds
            if (a == b) == equal
        ]

    return [
        _Line(f"{pair},\ndifferent seeds", colour, values(equal=False), level.both_differ),
        _Line(f"{pair},\nequal seed", colour, values(equal=True), level.equal_seed),
    ]


def _panel(axes: Axes, lines: Sequence[_Line]) -> None:
    for place, line in enumerate(lines):
        axes.scatter(
            line.values, [place - 0.14] * len(line.values), s=11, color=line.colour, alpha=0.55,
            linewidths=0, zorder=3,
        )  # fmt: skip
        bounds = line.mean.interval(LEVEL)
        axes.plot([bounds.low, bounds.high], [place + 0.16] * 2, color=line.colour, linewidth=2.4)
        axes.plot(line.mean.estimate, place + 0.16, marker="o", markersize=4.6, color="white",
                  mec=line.colour, mew=1.4, zorder=4)  # fmt: skip
    axes.axvline(1, color=INK, linewidth=0.8, zorder=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    low = min(0.0, *(value for line in lines for value in line.values))
    axes.set_xlim(low - 0.04, 1.04)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_axisbelow(True)
    axes.grid(axis="x", **GRID)
    axes.spines["left"].set_visible(False)
