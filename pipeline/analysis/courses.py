"""What a run's recording says over training: a series for each quantity, one value a record.

Owns which quantities there are, and how each comes from the arrays. Probes are the n of a series
alone, never that of an inference over runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.recording import Array, Recording
from pipeline.analysis.stats import Vector, holm
from pipeline.analysis.two_sample import (
    energy_distance,
    kolmogorov_smirnov,
    median_distance,
    mmd_squared,
)

# At which directions are told apart; of a description within a run, no verdict hangs on it.
KS_ALPHA = 0.05
PROBE, OWN = "probe", "own"


@dataclass(frozen=True, eq=False)
class Course:
    """One quantity of one run over training, by the procedure that mined (probe, own)."""

    name: str
    procedure: str
    values: Vector
    """(records,)"""


Courses = Mapping[str, Mapping[int, tuple[Course, ...]]]
"""Condition -> seed -> all series of the run."""


def courses_of(recording: Recording) -> tuple[Course, ...]:
    """Return all series of a run: of its mined solutions, then of its gradients."""
    return tuple(
        Course(name, procedure, np.asarray(values, dtype=np.float64))
        for procedure in recording.labels["procedure"]
        for name, values in _series(recording, procedure)
    )


def _series(recording: Recording, procedure: str) -> Iterator[tuple[str, Vector]]:
    distance = recording.take("distance", procedure=procedure)
    energy = recording.take("energy", solution=procedure)
    yield "distance", distance.mean(axis=1)
    yield "residual", recording.take("residual", procedure=procedure).mean(axis=1)
    noised = recording.take("fixed_distance", fixed="noised")
    yield "false_negative_share", (distance < noised).mean(axis=1)
    yield "lower_share", (energy < recording.take("energy", solution="inverse")).mean(axis=1)
    if recording.has("searching", procedure):
        yield "reverted_share", recording.take("reverted_share", searching=procedure)
    mined = recording.take("projected", procedure=procedure)
    apart = np.array([apartness(recording, solutions) for solutions in mined])
    yield from zip(TWO_SAMPLE, apart.T, strict=True)
    yield (
        "gradient_cosine",
        recording.take("gradient_cosine", procedure=procedure, layer="all"),
    )


TWO_SAMPLE: Mapping[str, str] = {
    "energy_distance": "last, energy distance of mined solutions from true inverses (projected)",
    "mmd_squared": "last, MMD^2 of the same, unbiased, Gaussian kernel as wide as the median "
    "distance of two true inverses",
    "ks_statistic": "last, Kolmogorov-Smirnov statistic of the same, mean over directions",
    "ks_share": "last, share of directions in which Kolmogorov-Smirnov tells them apart at 5% "
    "after Holm's correction over directions",
}
"""Two-sample statistics of a record, and what each is."""


def apartness(recording: Recording, solutions: Array) -> tuple[float, float, float, float]:
    """Compare solutions (probe, direction) with the true inverses, as in TWO_SAMPLE.

    A solution and the inverse of the same probe are a pair, so the one comes from one half of the
    probes and the other from the other half; the mean of both ways round is returned.
    """
    truth = recording.take("fixed_projected", projected_solution="inverse")
    first = first_half(recording.arrays["level"])
    width = median_distance(truth) or 1.0
    found = [_compared(solutions[half], truth[~half], width) for half in (first, ~first)]
    energy, mmd, statistic, share = np.mean(found, axis=0)
    return float(energy), float(mmd), float(statistic), float(share)


def _compared(x: Array, y: Array, width: float) -> tuple[float, float, float, float]:
    statistic, p = kolmogorov_smirnov(x, y)
    share = float(np.mean(np.array(holm(list(p))) < KS_ALPHA))
    return energy_distance(x, y), mmd_squared(x, y, width), float(statistic.mean()), share


def first_half(level: Vector) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which probes make the first half, so that both have as many of each noise level."""
    order = np.argsort(level, kind="stable")
    first = np.zeros(len(level), dtype=bool)
    first[order[::2]] = True
    return first


def fixed_levels(recording: Recording) -> dict[str, dict[str, float]]:
    """What solutions without a model come to: quantity -> solution -> value, for comparison.

    "inverse" is one half of the true inverses against the other: where equal distributions lie.
    """
    levels: dict[str, dict[str, float]] = {"distance": {}, "residual": {}}
    for name in recording.labels["fixed"]:
        for quantity in levels:
            levels[quantity][name] = float(recording.take(f"fixed_{quantity}", fixed=name).mean())
    for name in recording.labels["projected solution"]:
        solutions = recording.take("fixed_projected", projected_solution=name)
        for quantity, value in zip(TWO_SAMPLE, apartness(recording, solutions), strict=True):
            levels.setdefault(quantity, {})[name] = value
    return levels


def norms_of(recording: Recording) -> dict[str, dict[str, Vector]]:
    """Gradient norms over training: loss term -> layer -> (records,)."""
    return {
        term: {
            layer: recording.take("gradient_norm", term=term, layer=layer)
            for layer in recording.labels["layer"]
        }
        for term in recording.labels["term"]
    }


def cosines_of(recording: Recording) -> dict[str, dict[str, Vector]]:
    """Cosine of a contrastive with the denoising gradient: procedure -> layer -> (records,)."""
    return {
        procedure: {
            layer: recording.take("gradient_cosine", procedure=procedure, layer=layer)
            for layer in recording.labels["layer"]
        }
        for procedure in recording.labels["procedure"]
    }
