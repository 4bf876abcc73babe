"""What an instrumented run recorded: arrays whose axes have names, and entries that have labels.

Owns plain values and how one picks from them; the file that they come in is read by
`pipeline.recordings`. The arrays of schema 1 (record: a point in training; probe: a fixed input):

    step (record), level (probe), clipped_share (record),
    gradient_norm (record, term, layer), gradient_cosine (record, procedure, layer),
    energy (record, solution, probe), distance and residual (record, procedure, probe),
    reverted_share (record, searching), projected (record, procedure, probe, direction),
    fixed_distance and fixed_residual (fixed, probe),
    fixed_projected (projected solution, probe, direction),
    representation_step (moment), gram (moment, hidden layer, pair).

Procedures, solutions and fixed solutions are ways to a solution of a probe: "probe" is the mining
that every run is probed with, "own" that of its training, "inverse" the truth, "natural" the truth
of another probe, "random" a draw, "noised" the truth under the noise of its level.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.analysis.stats import Vector

Array = npt.NDArray[np.float64]

AXES: Mapping[str, tuple[str, ...]] = {
    "step": ("record",),
    "level": ("probe",),
    "clipped_share": ("record",),
    "gradient_norm": ("record", "term", "layer"),
    "gradient_cosine": ("record", "procedure", "layer"),
    "energy": ("record", "solution", "probe"),
    "distance": ("record", "procedure", "probe"),
    "residual": ("record", "procedure", "probe"),
    "reverted_share": ("record", "searching"),
    "projected": ("record", "procedure", "probe", "direction"),
    "fixed_distance": ("fixed", "probe"),
    "fixed_residual": ("fixed", "probe"),
    "fixed_projected": ("projected solution", "probe", "direction"),
    "representation_step": ("moment",),
    "gram": ("moment", "hidden layer", "pair"),
}
LABELS: Mapping[str, tuple[str, ...]] = {
    "layer": ("all",),
    "term": ("denoising", "probe"),
    "procedure": ("probe",),
    "searching": (),
    "solution": ("inverse", "probe"),
    "fixed": ("noised",),
    "projected solution": ("inverse", "random"),
    "hidden layer": (),
}
"""Axes whose entries have names, and the names that must be among them."""

SHARED = ("step", "level", "representation_step", "fixed_distance", "fixed_projected")
"""What has to be the same in all runs that are compared: when and on what they were measured."""
SHARED_AXES = ("layer", "hidden layer", "fixed", "projected solution")
# The same probes may be computed on different devices.
_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class Recording:
    """The arrays of one run, and the names along their axes."""

    arrays: Mapping[str, Array]
    labels: Mapping[str, tuple[str, ...]]
    explained: Mapping[str, str] = field(default_factory=dict)
    """What each number of the run's summary is, in the words of its trainer."""

    def has(self, axis: str, label: str) -> bool:
        """Is there an entry of that name?"""
        return label in self.labels[axis]

    def take(self, name: str, **chosen: str) -> Array:
        """Return an array, reduced to one entry of each axis named (a space is written _)."""
        array = self.arrays[name]
        for place in reversed(range(array.ndim)):
            axis = AXES[name][place]
            label = chosen.get(axis.replace(" ", "_"))
            if label is not None:
                array = np.take(array, [self.labels[axis].index(label)], axis=place).squeeze(place)
        return array

    @property
    def steps(self) -> Vector:
        """Optimiser steps before each record."""
        return self.arrays["step"]

    def departure(self, other: "Recording") -> str | None:
        """The first thing that keeps two runs from being compared; None when nothing does."""
        for name in SHARED:
            ours, theirs = self.arrays[name], other.arrays[name]
            scale = float(np.abs(theirs).max(initial=0.0))
            if ours.shape != theirs.shape or np.abs(ours - theirs).max() > _ROUNDING * scale:
                return name
        return self.other_labels(other, SHARED_AXES)

    def other_labels(self, other: "Recording", axes: Iterable[str]) -> str | None:
        """The first of the axes along which two runs have other names; None when none."""
        return next((axis for axis in axes if self.labels[axis] != other.labels[axis]), None)


@dataclass(frozen=True)
class Unrecorded:
    """A run with a result whose diagnostics cannot be used: a hole of the diagnostics."""

    condition: str
    seed: int
    run_id: str
    why: str


Recordings = Mapping[str, Mapping[int, Recording]]
"""Condition -> seed -> what the run recorded."""
