"""Recordings of schema 1 with a planted effect, and the bytes of a diagnostics.npz that hold them.

An effect of 0 without noise gives runs that differ by seed alone. `effect` moves mined solutions
away from the truth, turns the contrastive gradient against the denoising one, lets more steps be
clipped, and adds a pattern of its own to learned features once training has begun.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

PROBES, LEVELS, DIRECTIONS, RECORDS, INPUTS, WIDTH = 48, 4, 6, 4, 16, 10
LABELS = {
    "layer": ["first", "all"],
    "term": ["denoising", "probe"],
    "procedure": ["probe"],
    "searching": ["probe"],
    "solution": ["inverse", "natural", "random", "probe"],
    "fixed": ["noised", "natural", "random"],
    "projected solution": ["inverse", "random"],
    "hidden layer": ["first", "second"],
}
Arrays = dict[str, Any]


@dataclass(frozen=True)
class Planted:
    """What is true of a condition."""

    effect: float = 0.0
    noise: float = 0.0
    """Of each run on its own, beyond what its seed decides."""
    own: bool = False
    """Whether the condition mines in its training."""


def labels_of(planted: Planted) -> dict[str, list[str]]:
    """The names along each axis; a condition that mines has entries of its own."""
    own = ["own"] if planted.own else []
    mining = ("term", "procedure", "searching", "solution")
    return {axis: names + (own if axis in mining else []) for axis, names in LABELS.items()}


def arrays_of(planted: Planted, seed: int, salt: int = 0) -> Arrays:
    """The arrays of one run; `salt` tells runs of equal seed apart where there is noise."""
    luck, own = np.random.default_rng([1, seed]), np.random.default_rng([2, seed, salt])
    shake = planted.noise * own.standard_normal(8)
    strength = planted.effect + 0.05 * luck.standard_normal()
    arrays = _fixed()
    truth, level = arrays["fixed_projected"][0], arrays["level"]
    grown = np.linspace(0, 1, RECORDS)
    start = luck.standard_normal((PROBES, DIRECTIONS))
    far = 1 + grown[:, None, None] * (strength + shake[0])
    mined = truth + far * start
    distance = np.sqrt(((mined - truth) ** 2).mean(-1))
    inverse = 0.3 * luck.standard_normal(PROBES) + level
    others = [inverse, inverse + 0.5 * luck.standard_normal(PROBES), inverse + 3]
    energy = np.stack([np.tile(e, (RECORDS, 1)) for e in others] + [inverse + distance])
    ways = len(labels_of(planted)["procedure"])
    cosine = 0.4 - grown * (strength + shake[1]) + 0.05 * luck.standard_normal()
    norms = np.exp(0.1 * luck.standard_normal((RECORDS, 2, 2)) + 0.1 * shake[2])
    arrays |= {
        "clipped_share": np.clip(0.5 + 0.3 * (strength + shake[3]) * grown, 0, 1),
        "gradient_norm": _repeated(norms, ways - 1, axis=1),
        "gradient_cosine": np.tile(np.clip(cosine, -1, 1)[:, None, None], (1, ways, 2)),
        "energy": _repeated(energy.transpose(1, 0, 2), ways - 1, axis=1),
        "distance": np.tile(distance[:, None], (1, ways, 1)),
        "residual": np.tile(2 * distance[:, None], (1, ways, 1)),
        "reverted_share": np.tile(0.1 + 0.1 * np.abs(shake[4]) * grown[:, None], (1, ways)),
        "projected": np.tile(mined[:, None], (1, ways, 1, 1)),
        "gram": _grams(planted, luck, own),
    }
    return {n: a.astype(np.int32 if a.dtype.kind == "i" else np.float32) for n, a in arrays.items()}


def _fixed() -> Arrays:
    """What is the same for every run of a study."""
    rng = np.random.default_rng(0)
    truth, random = rng.standard_normal((2, PROBES, DIRECTIONS))
    fixed = np.stack([np.full(PROBES, value) for value in (0.9, 1.4, 1.5)])
    return {
        "step": np.arange(RECORDS) * 10,
        "level": np.arange(PROBES) % LEVELS,
        "fixed_distance": fixed,
        "fixed_residual": 2 * fixed,
        "fixed_projected": np.stack([truth, random]),
        "representation_step": np.array([0, 30]),
    }


def _grams(planted: Planted, luck: np.random.Generator, own: np.random.Generator) -> Any:
    """Features: what all runs share, what the seed decides, what the condition adds."""
    shared, pattern = np.random.default_rng(7).standard_normal((2, INPUTS, WIDTH))
    grams = []
    for moment in range(2):
        layers = []
        for _ in LABELS["hidden layer"]:
            x = shared + 0.7 * luck.standard_normal((INPUTS, WIDTH))
            x = x + planted.noise * own.standard_normal((INPUTS, WIDTH))
            x = x + moment * 1.5 * planted.effect * pattern
            layers.append((x @ x.T)[np.triu_indices(INPUTS)])
        grams.append(layers)
    return np.array(grams)


def _repeated(array: Any, times: int, axis: int) -> Any:
    """The last entry along an axis so many times more: own mining is that of the probes."""
    last = np.take(array, [-1], axis=axis)
    return np.concatenate([array] + [last] * times, axis=axis)


def summary_of(arrays: Arrays, labels: dict[str, list[str]]) -> dict[str, float]:
    """A trainer's numbers of a run."""
    summary = {"clipped_share": float(arrays["clipped_share"][1:].mean())}
    for number, name in enumerate(labels["procedure"]):
        prefix = "own_" if name == "own" else ""
        distance = arrays["distance"][-1, number]
        summary |= {
            f"{prefix}gradient_cosine": float(arrays["gradient_cosine"][1:, number, -1].mean()),
            f"{prefix}distance": float(distance.mean()),
            f"{prefix}false_negative_share": float((distance < arrays["fixed_distance"][0]).mean()),
        }
    return summary


def index_of(arrays: Arrays, names: dict[str, list[str]], **replaced: Any) -> str:
    """The index of a file, with some of its entries replaced."""
    summary = summary_of(arrays, names)
    what = {name: {"value": value, "what": f"the {name}"} for name, value in summary.items()}
    return json.dumps({"schema_version": 1, "labels": names, "summary": what} | replaced)


def file_of(arrays: Arrays, names: dict[str, list[str]], **replaced: Any) -> bytes:
    """The bytes of a diagnostics.npz."""
    content = io.BytesIO()
    np.savez(content, index=np.array(index_of(arrays, names, **replaced)), **arrays)
    return content.getvalue()


def recorded(planted: Planted, seed: int, salt: int = 0) -> tuple[dict[str, float], bytes]:
    """A run's numbers and its file."""
    arrays, labels = arrays_of(planted, seed, salt), labels_of(planted)
    return summary_of(arrays, labels), file_of(arrays, labels)
