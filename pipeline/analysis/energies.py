"""Histograms of energies: true inverses beside natural, random and mined solutions.

Every run has an energy scale of its own, and every noise level a share in it. So energies are
standardised: from the mean energy of true inverses at the same level, in the standard deviations
of those about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.recording import Array, Recording
from pipeline.analysis.stats import Vector

BINS = 36
# Beyond these percentiles of all that is shown, values are counted in the outermost bins.
_TAILS = (0.5, 99.5)


@dataclass(frozen=True, eq=False)
class Histograms:
    """Densities over runs: the mean of the runs' own histograms, so that each run counts alike."""

    edges: Vector
    """(BINS + 1,), in standard deviations; the outermost bins are open."""
    steps: tuple[int, ...]
    """The records that are shown."""
    densities: Mapping[str, Mapping[str, Array]]
    """Condition -> solution -> (records shown, BINS)."""


def standardised(recording: Recording) -> dict[str, Array]:
    """Return energies by solution, (records, probes), as the module says."""
    truth, level = recording.take("energy", solution="inverse"), recording.arrays["level"]
    centre = np.empty_like(truth)
    for value in np.unique(level):
        at = level == value
        centre[:, at] = truth[:, at].mean(axis=1, keepdims=True)
    scale = np.sqrt(((truth - centre) ** 2).mean(axis=1, keepdims=True))
    scale = np.where(scale > 0, scale, 1.0)
    return {
        name: (recording.take("energy", solution=name) - centre) / scale
        for name in recording.labels["solution"]
    }


def histograms(runs: Mapping[str, Sequence[Recording]]) -> Histograms | None:
    """Return histograms at the first, middle and last record; None without any run."""
    every = [recording for of in runs.values() for recording in of]
    if not every:
        return None
    last = len(every[0].steps) - 1
    shown = sorted({0, last // 2, last})
    values = {
        name: [{k: v[shown] for k, v in standardised(r).items()} for r in of]
        for name, of in runs.items()
        if of
    }
    shown_runs = [run for of in values.values() for run in of]
    pooled = np.concatenate([found.ravel() for run in shown_runs for found in run.values()])
    low, high = np.percentile(pooled, _TAILS)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    densities = {
        name: {
            solution: np.mean([_density(run[solution], edges) for run in of], axis=0)
            for solution in of[0]
        }
        for name, of in values.items()
    }
    return Histograms(edges, tuple(int(every[0].steps[i]) for i in shown), densities)


def _density(values: Array, edges: Vector) -> Array:
    clipped = np.clip(values, edges[0], edges[-1])
    return np.array([np.histogram(row, bins=edges, density=True)[0] for row in clipped])
