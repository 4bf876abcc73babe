"""diagnostics.npz: what an instrumented run found, in one file of plain arrays under 2 MB.

Measured are the weights at each record, on probes that are the same for every run of a study:
matrices that nobody trains on, noise levels in turn, and noise, all from streams of their own.
Nothing is taken from or added to training: its weights are the same bits with and without.

Procedures. Every run, the baseline too, is probed with one mining procedure, that of the config's
table `diagnostics`, on its own energies: "probe". So the landscapes of conditions can be compared,
whatever they were trained against. "own" is the condition's own strategy as it is at that step;
only runs with a contrastive loss have it. For gradients, "own" mines and fills a batch as training
does; for examples, it mines every probe.

False negatives. A mined solution is a false negative where it is nearer to the true inverse than
what the positive's own noise would make of it: distance < fixed_distance["noised"], probe by probe.
A wrong answer is then told from the right one by less than the noise that the loss adds to both.

The file holds `index`, a text of JSON, beside the arrays that it describes:
    schema_version, settings (the table), labels (of each named axis), summary (as in the result),
    arrays: name -> {"axes", "unit", "what"}.
Axes without labels: record (see `step`), moment (see `representation_step`), probe (see `level`),
direction, and pair, the entries i <= j of a Gram matrix row by row. Of these linear CKA (also
unbiased: the matrices are not centred) and the principal components of the features are functions.
`projected` is on the same orthogonal directions in every run, scaled so that squared distances are
kept in expectation. A mined solution and the inverse of the same probe are a pair: for two-sample
statistics take the one from one half of the probes and the other from the other half.
"""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.config import Diagnostics
from training.instruments import LAYERS, distances, fixed_solutions, residuals
from training.probes import draw_probes
from training.records import Records
from training.stack import Stack
from training.strategies import ContrastiveMining, InnerStepMining
from training.summaries import SUMMARIES, Arrays, summary_of

NAME = "diagnostics.npz"
SCHEMA_VERSION = 1
LARGEST_BYTES = 2_000_000


class _Array(NamedTuple):
    axes: tuple[str, ...]
    unit: str
    what: str


# Units: "1" is a share or another number without unit, "entry" that of an entry of an inverse,
# "energy" the network's own, which differs between runs.
_ARRAYS = {
    "step": _Array(("record",), "step", "optimiser steps before the record"),
    "level": _Array(("probe",), "1", "noise level t of the probe; 0 is nearly clean"),
    "clipped_share": _Array(
        ("record",), "1", "share of steps since the record before whose gradient was clipped"
    ),
    "contrastive_weight": _Array(
        ("record",), "1", "weight of the own contrastive loss in training at that step"
    ),
    "gradient_norm": _Array(
        ("record", "term", "layer"),
        "loss per weight",
        "norm of the gradient of a loss term on the probes, the contrastive ones without weight",
    ),
    "gradient_cosine": _Array(
        ("record", "procedure", "layer"),
        "1",
        "cosine of a contrastive gradient with the denoising gradient; 0 where either vanishes",
    ),
    "energy": _Array(
        ("record", "solution", "probe"),
        "energy",
        "E of a solution at the probe's level under its noise; inverse = the positive, natural = "
        "the inverse of the next probe, random = N(0, 1) within +-2, others = mined",
    ),
    "distance": _Array(
        ("record", "procedure", "probe"),
        "entry",
        "root mean square of mined solution - true inverse",
    ),
    "residual": _Array(
        ("record", "procedure", "probe"), "1", "|A X - I| / sqrt(n), Frobenius, of the mined X"
    ),
    "reverted_share": _Array(
        ("record", "searching"), "1", "share of the mining's inner steps that were taken back"
    ),
    "projected": _Array(
        ("record", "procedure", "probe", "direction"), "entry", "mined solutions, projected"
    ),
    "fixed_distance": _Array(
        ("fixed", "probe"),
        "entry",
        "root mean square of a solution that no model had a part in - true inverse; noised = true "
        "inverse plus the noise of the level, within +-2",
    ),
    "fixed_residual": _Array(("fixed", "probe"), "1", "|A X - I| / sqrt(n) of the same"),
    "fixed_projected": _Array(
        ("projected solution", "probe", "direction"), "entry", "true inverses and random solutions"
    ),
    "representation_step": _Array(("moment",), "step", "optimiser steps before the features"),
    "gram": _Array(
        ("moment", "hidden layer", "pair"),
        "1",
        "inner products of the hidden features of the first probes at level 0, averaged weights",
    ),
}


class UnusableError(Exception):
    """A record holds a value that is not finite; the message says which."""


def labels_of(stack: Stack) -> dict[str, list[str]]:
    """Return the names along each axis that has names."""
    mining = stack.config.mining
    own = ["own"] if isinstance(mining, ContrastiveMining) else []
    return {
        "layer": list(LAYERS),
        "term": ["denoising", "probe", *own],
        "procedure": ["probe", *own],
        "searching": ["probe", *(own if isinstance(mining, InnerStepMining) else [])],
        "solution": ["inverse", "natural", "random", "probe", *own],
        "fixed": ["noised", "natural", "random"],
        "projected solution": ["inverse", "random"],
        "hidden layer": ["first", "second", "third"],
    }


def arrays_of(stack: Stack, records: Records, what: Diagnostics, index: int) -> Arrays:
    """Return all arrays of a run.

    Raises:
        UnusableError: a value is not finite.
    """
    config = stack.config
    arrays: Arrays = {name: rows.numpy() for name, rows in records.stacked(index).items()}
    count = what.records(config.steps)
    step = np.minimum(np.arange(count, dtype=np.int64) * what.every, config.steps)
    arrays["step"] = step.astype(np.int32)
    arrays["representation_step"] = arrays["step"][what.moments(config.steps)]
    probes = draw_probes(stack, what)
    arrays["level"] = probes.batch.t[0].cpu().numpy().astype(np.int32)
    fixed = fixed_solutions(probes.batch, stack.schedule())
    labels = labels_of(stack)
    n = config.matrix_size
    arrays["fixed_distance"] = _rows([distances(probes.batch, fixed[f]) for f in labels["fixed"]])
    arrays["fixed_residual"] = _rows(
        [residuals(probes.batch, fixed[f], n) for f in labels["fixed"]]
    )
    arrays["fixed_projected"] = _rows(
        [fixed[f] @ probes.directions for f in labels["projected solution"]]
    )
    _check(arrays, labels)
    return arrays


def _rows(tensors: list[Any]) -> NDArray[np.float32]:
    """Stack what has a leading dimension of one model."""
    return np.stack([tensor[0].float().cpu().numpy() for tensor in tensors])


def _check(arrays: Arrays, labels: Mapping[str, list[str]]) -> None:
    sizes = {axis: len(names) for axis, names in labels.items()}
    for name, array in arrays.items():
        axes = _ARRAYS[name].axes
        assert array.ndim == len(axes), name
        for axis, size in zip(axes, array.shape, strict=True):
            assert sizes.setdefault(axis, size) == size, (name, axis)
        assert array.dtype in (np.float32, np.int32), name
        if not np.isfinite(array).all():
            raise UnusableError(f"diagnostics: {name} is not finite")
    assert sum(array.nbytes for array in arrays.values()) < LARGEST_BYTES


def save_diagnostics(
    stack: Stack, records: Records, index: int, folder: Path
) -> tuple[Mapping[str, float], str | None]:
    """Write the file of a run; return its summary, and what is wrong if it cannot have one."""
    what = stack.config.diagnostics
    assert what is not None
    try:
        arrays = arrays_of(stack, records, what, index)
    except UnusableError as error:
        return {}, str(error)
    labels = labels_of(stack)
    summary = summary_of(arrays, labels)
    description = {
        "schema_version": SCHEMA_VERSION,
        "settings": what.model_dump(mode="json"),
        "labels": labels,
        "summary": {name: {"value": v, "what": SUMMARIES[name]} for name, v in summary.items()},
        "arrays": {name: _ARRAYS[name]._asdict() for name in sorted(arrays)},
    }
    _write(folder, {"index": np.array(json.dumps(description)), **dict(sorted(arrays.items()))})
    return summary, None


def _write(folder: Path, arrays: Arrays) -> None:
    """Write so that a crash leaves the old file or the new; the same arrays, the same bytes."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # the stub has the flags in mind
    spare = folder / f".{NAME}.next"
    with spare.open("wb") as file:
        file.write(content.getvalue())
        file.flush()
        os.fsync(file.fileno())
    spare.replace(folder / NAME)
