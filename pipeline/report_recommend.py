"""What the verdicts, the predictors and the sweeps leave to do: facts for the report's advice.

Pure, and without words: sentences live in templates/results/wording.md.j2.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from pipeline.analysis.hypotheses import Comparison
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.analysis.references import Position
from pipeline.analysis.sweep import Axis, CellEstimate, SweepAnalysis
from pipeline.analysis.verdict import Outcome
from pipeline.words import count

# Of two values each is an end: only from three on does an end say that a grid is too short.
LEAST_LEVELS = 3


def tally(comparisons: Sequence[Comparison]) -> Markup:
    """Return how often each verdict was given, as "2 SUPPORTED, 1 EQUIVALENT"."""
    found = Counter(c.verdict.outcome for c in comparisons)
    return Markup(", ".join(f"{found[outcome]} {outcome}" for outcome in Outcome if found[outcome]))


@dataclass(frozen=True)
class Sides:
    """Predictors by where the intervals of all conditions' means lie."""

    missed: tuple[str, ...]
    """Every condition is resolved to be on the unfavourable side."""
    unreached: tuple[str, ...]
    """No condition is resolved to be on the favourable side, not all on the other."""
    split: tuple[str, ...]
    """Some condition is on the favourable side, not all."""
    passed: tuple[str, ...]


def sides(analysis: MultiseedAnalysis) -> Sides:
    """Sort the predictors, those first that conditions are to reach first."""
    minimize = analysis.plan.direction == "minimize"
    good, bad = (Position.BELOW, Position.ABOVE) if minimize else (Position.ABOVE, Position.BELOW)
    names = list(analysis.references) if minimize else list(reversed(analysis.references))
    found: dict[str, list[str]] = {"missed": [], "unreached": [], "split": [], "passed": []}
    for name in names:
        positions = {d.position for d in analysis.distances if d.predictor == name}
        if positions == {bad}:
            found["missed"].append(name)
        elif good not in positions:
            found["unreached"].append(name)
        else:
            found["passed" if positions == {good} else "split"].append(name)
    return Sides(**{key: tuple(of) for key, of in found.items()})


@dataclass(frozen=True)
class Uncleared:
    """The first predictor that no condition clears, and the phases in which none does."""

    predictor: str
    phases: tuple[str, ...]


def uncleared(analyses: Iterable[MultiseedAnalysis]) -> list[Uncleared]:
    """Return the first predictor of each phase that no condition clears, each once."""
    found: dict[str, tuple[str, ...]] = {}
    for analysis in analyses:
        of = sides(analysis)
        open_ones = [name for name in analysis.references if name in of.missed + of.unreached]
        if analysis.plan.direction == "maximize":
            open_ones.reverse()
        if open_ones:
            found[open_ones[0]] = (*found.get(open_ones[0], ()), analysis.phase)
    return [Uncleared(name, phases) for name, phases in found.items()]


@dataclass(frozen=True)
class Past:
    """Settings of a sweep that are past a predictor at every seed, the furthest first."""

    phase: str
    arms: tuple[str, ...]


def past(predictor: str, sweeps: Iterable[SweepAnalysis]) -> list[Past]:
    """Return the sweeps that tried settings past a predictor; no test is behind it."""
    found = []
    for sweep in sweeps:
        if predictor not in sweep.references:
            continue
        sign = 1 if sweep.plan.direction == "minimize" else -1
        bound, seeds = sign * sweep.references[predictor].value, set(sweep.seeds)
        means = {
            arm: fmean(sign * value for value in values.values())
            for arm, values in sweep.values.items()
            if set(values) == seeds and all(sign * value < bound for value in values.values())
        }
        if means:
            found.append(Past(sweep.phase, tuple(sorted(means, key=means.__getitem__))))
    return found


def more_pairs(needed: int | None, complete: int) -> Markup:
    """Return how many pairs are missing of a number that is needed."""
    if needed is None:
        return Markup("more than 65,536 pairs")
    if needed <= complete:
        return Markup("no further pair")
    return Markup(f"{count(needed - complete, 'further pair')} ({needed} in all)")


def enough(comparison: Comparison) -> bool:
    """Were there as many pairs as planning asks for, whichever way the truth lies?"""
    assert comparison.tested is not None
    need = comparison.tested.planning
    wanted = (need.pairs_to_detect_margin_corrected, need.pairs_to_bound_margin)
    return all(n is not None and n <= comparison.n_pairs for n in wanted)


@dataclass(frozen=True)
class End:
    """A selected setting that lies at an end of what the grid tried."""

    label: str
    value: str


def ends(analysis: SweepAnalysis, arm: str) -> list[End]:
    """Return the axes along which a selected cell is the first or the last."""
    (cell,) = (cell for cell in analysis.cells if cell.arm == arm)
    return [
        End(axis.label, json.dumps(cell.settings[axis.key]))
        for axis in analysis.design.axes
        if _at_end(axis, cell)
    ]


def _at_end(axis: Axis, cell: CellEstimate) -> bool:
    if not axis.ordered or len(axis.values) < LEAST_LEVELS or axis.key not in cell.settings:
        return False
    return cell.settings[axis.key] in (min(axis.values), max(axis.values))
