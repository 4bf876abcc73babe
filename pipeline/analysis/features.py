"""Learned features: how alike those of two runs are, and whether conditions differ beyond seeds.

Two runs of one condition differ by seed. That level is the reference for two questions on a
candidate c and a reference r, each put as an estimate over seeds s, s':

    moved: at equal seed, is c farther from r than another seed is?
        mean CKA(same condition, s != s') - mean CKA(c s, r s)
    apart: does the condition add to what another seed makes?
        mean CKA(same condition, s != s') - mean CKA(c s, r s'), s != s'

The first mean is over both conditions alike. "apart" is 0 in expectation when the condition plays
no part, and not negative otherwise (it is half an MMD^2 whose kernel is CKA). Equal seeds share
their initial weights, so "moved" may well be below 0 although "apart" is above. Both are above 0
by claim, so p is one-sided; standard errors are jackknifed over seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.cka import aligned, cka_matrix, components, gram_matrix
from pipeline.analysis.jackknife import jackknife
from pipeline.analysis.recording import Array, Recordings
from pipeline.analysis.stats import TTest, Vector

LEAST_SEEDS = 3
"""Below these nothing can be left out."""
RunName = tuple[str, int]
"""Condition and seed."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """CKA of the runs' features in one hidden layer at one moment of training."""

    layer: str
    step: int
    runs: tuple[RunName, ...]
    matrix: Array
    """(runs, runs)"""

    def between(self, first: RunName, second: RunName) -> float:
        """CKA of two runs."""
        return float(self.matrix[self.runs.index(first), self.runs.index(second)])


@dataclass(frozen=True)
class Levels:
    """One hidden layer after training, one candidate; the seeds that both conditions have."""

    layer: str
    candidate: str
    reference: str
    seeds: tuple[int, ...]
    seed_to_seed: Mapping[str, TTest]
    """Condition -> mean CKA of its runs at different seeds."""
    equal_seed: TTest
    both_differ: TTest
    moved: TTest
    apart: TTest


@dataclass(frozen=True, eq=False)
class Picture:
    """Principal components of the probes' features in one hidden layer of one run."""

    layer: str
    condition: str
    seed: int
    scores: Array
    """(probes, 2), in standard deviations of the first component."""
    shares: Vector


def likenesses(recordings: Recordings) -> tuple[Likeness, ...]:
    """Compare all runs, layer by layer, moment by moment; nothing where there is no run."""
    runs = [(name, seed) for name, of in recordings.items() for seed in sorted(of)]
    if not runs:
        return ()
    first = recordings[runs[0][0]][runs[0][1]]
    found = []
    for moment, step in enumerate(first.arrays["representation_step"]):
        for layer in first.labels["hidden layer"]:
            packed = [
                recordings[name][seed].take("gram", hidden_layer=layer)[moment]
                for name, seed in runs
            ]
            matrix = cka_matrix(gram_matrix(np.stack(packed)))
            found.append(Likeness(layer, int(step), tuple(runs), matrix))
    return tuple(found)


def levels_of(likeness: Likeness, candidate: str, reference: str) -> Levels | None:
    """Answer the module's questions for one candidate; None below three common seeds."""
    seeds = tuple(sorted(_seeds(likeness, candidate) & _seeds(likeness, reference)))
    if len(seeds) < LEAST_SEEDS:
        return None
    rows = {
        name: [likeness.runs.index((name, seed)) for seed in seeds]
        for name in (candidate, reference)
    }
    within = {name: likeness.matrix[np.ix_(of, of)] for name, of in rows.items()}
    across = likeness.matrix[np.ix_(rows[candidate], rows[reference])]
    level = (within[candidate] + within[reference]) / 2
    return Levels(
        likeness.layer,
        candidate,
        reference,
        seeds,
        {name: _estimate(seeds, lambda at, of=of: _apart(of, at)) for name, of in within.items()},  # type: ignore[misc]
        equal_seed=_estimate(seeds, lambda at: _together(across, at)),
        both_differ=_estimate(seeds, lambda at: _apart(across, at)),
        moved=_estimate(seeds, lambda at: _apart(level, at) - _together(across, at)),
        apart=_estimate(seeds, lambda at: _apart(level, at) - _apart(across, at)),
    )


def _estimate(seeds: Sequence[int], statistic: Callable[[list[int]], float]) -> TTest:
    """Jackknife a statistic of places in the table of seeds."""
    place = {seed: number for number, seed in enumerate(seeds)}
    return jackknife(seeds, lambda chosen: statistic([place[seed] for seed in chosen]))


def _together(of: Array, at: list[int]) -> float:
    """Mean over pairs of runs of equal seed."""
    return float(of[at, at].mean())


def _apart(of: Array, at: list[int]) -> float:
    """Mean over pairs of runs of different seeds."""
    part = of[np.ix_(at, at)]
    return float(part[~np.eye(len(at), dtype=bool)].mean())


def _seeds(likeness: Likeness, condition: str) -> set[int]:
    return {seed for name, seed in likeness.runs if name == condition}


def run_map(likeness: Likeness) -> tuple[Array, Vector]:
    """Place the runs in a plane: principal components of CKA, which is an inner product of runs.

    Returns their coordinates, (runs, 2), and the share of the spread that each axis shows.
    """
    found = components(likeness.matrix)
    return found.scores, found.shares


def pictures(recordings: Recordings) -> tuple[Picture, ...]:
    """Draw up each condition's first run after training, layer by layer.

    Components are turned towards those of the first condition, so that panels can be compared.
    """
    found: list[Picture] = []
    targets: dict[str, Array] = {}
    for name, of in recordings.items():
        if not of:
            continue
        seed = min(of)
        for layer in of[seed].labels["hidden layer"]:
            part = components(gram_matrix(of[seed].take("gram", hidden_layer=layer)[-1]))
            scale = float(part.scores[:, 0].std()) or 1.0
            scores = part.scores / scale
            scores = aligned(scores, targets.setdefault(layer, scores))
            found.append(Picture(layer, name, seed, scores, part.shares))
    return tuple(found)
