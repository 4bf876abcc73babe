"""What diagnostics measure of the models of a stack, on probes: gradients, negatives, features.

Everything is a function of weights and probes; nothing here draws, counts or remembers. Arithmetic
is float32, or float64 where training is, whatever training rounds.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from training.batches import Batch
from training.contrast import contrast
from training.diffusion import (
    LIMIT,
    Levels,
    Schedule,
    add_noise,
    energy_alone,
    levels,
)
from training.energy import Given, forward, given_level, given_levels, prepare
from training.loss import collect, loss_terms
from training.mining import mine
from training.stack import MiningNumbers
from training.strategies import (
    ContrastiveMining,
    HardExamples,
    InnerStepMining,
    Mining,
    NoMining,
)
from training.time_table import TimeTable, time_table
from training.weights import Weights

# Which parameters a layer's gradient is of.
LAYERS = {
    "first": ("W1A", "W1x", "b1"),
    "second": ("W2", "b2"),
    "third": ("W3", "b3"),
    "output": ("W4", "b4"),
    "time": ("T1", "t1", "T2", "t2", "F2", "f2", "F3", "f3"),
    "all": Weights._fields,
}


class Procedure(NamedTuple):
    """How negatives are mined, with the numbers of each model."""

    mining: ContrastiveMining
    numbers: MiningNumbers


class Probed(NamedTuple):
    """Models, and what they make of the probes before anything is tried on them."""

    weights: Weights
    features: Tensor  # (T, 128)
    schedule: Schedule
    table: TimeTable
    given: Given
    at: Levels
    batch: Batch  # (S, K, ..)
    quirks: bool


def probe(
    weights: Weights, features: Tensor, schedule: Schedule, batch: Batch, *, quirks: bool
) -> Probed:
    """Evaluate what all measurements share."""
    table = time_table(weights, features)
    given = given_levels(prepare(weights, batch.A), table, batch.t)
    at = levels(schedule, batch.t, first_limits_all=quirks)
    return Probed(weights, features, schedule, table, given, at, batch, quirks)


def gradients(models: Probed, own: Mining, procedures: list[Procedure]) -> tuple[Tensor, Tensor]:
    """Return the gradient of each loss term by layer: norms (S, 1 + M, L), cosines (S, M, L).

    First comes the denoising loss, of the strategy's own samples; then, for each of M procedures,
    the contrastive loss, without its weight. A cosine is with the denoising gradient, 0 where
    either vanishes.
    """
    denoising = _denoising_gradient(models, own)
    others = [_contrastive_gradient(models, procedure) for procedure in procedures]
    norms = [_norms(gradient) for gradient in (denoising, *others)]
    cosines = []
    for other, norm in zip(others, norms[1:], strict=True):
        pairs = zip(denoising, other, strict=True)
        product = _by_layer([(a * b).flatten(1).sum(1) for a, b in pairs])
        lengths = norms[0] * norm
        cosines.append(torch.where(lengths > 0, product / lengths, 0.0))
    return torch.stack(norms, dim=1), torch.stack(cosines, dim=1)


def _denoising_gradient(models: Probed, own: Mining) -> Weights:
    weights, batch = models.weights, models.batch
    nothing = torch.zeros(len(batch.y), dtype=batch.y.dtype, device=batch.y.device)
    terms = loss_terms(
        weights,
        models.features,
        models.schedule,
        batch,
        own if isinstance(own, HardExamples) else NoMining(),
        nothing,
        nothing,
        quirks=models.quirks,
    )
    return collect(weights, terms.table, batch, terms.denoising)


def _contrastive_gradient(models: Probed, procedure: Procedure) -> Weights:
    pairs = contrast(
        procedure.mining,
        models.weights,
        models.given,
        models.at,
        models.batch,
        torch.ones_like(procedure.numbers.contrastive_weight),
        procedure.numbers.noise_scale,
        quirks=models.quirks,
    )
    return collect(models.weights, models.table, models.batch, pairs.contributions)


def _norms(gradient: Weights) -> Tensor:
    return _by_layer([part.flatten(1).square().sum(1) for part in gradient]).sqrt()


def _by_layer(parameters: list[Tensor]) -> Tensor:
    """Add up what was summed for each parameter, (S,), layer by layer: (S, L)."""
    named = dict(zip(Weights._fields, parameters, strict=True))
    layers = [torch.stack([named[name] for name in names]) for names in LAYERS.values()]
    return torch.stack([layer.sum(0) for layer in layers], dim=1)


class Negatives(NamedTuple):
    """One negative for each probe, mined by one procedure."""

    solution: Tensor  # (S, K, D)
    reverted: Tensor | None  # (S,), share of inner steps taken back


def mined(models: Probed, procedure: Procedure) -> Negatives:
    """Mine every probe, whatever part of a batch training mines; the hardest where it has more."""
    mining = procedure.mining
    if isinstance(mining, InnerStepMining):
        mining = mining.model_copy(update={"fraction": 1.0, "filler": "none"})
    found = mine(
        mining,
        models.weights,
        models.given,
        models.at,
        models.batch,
        procedure.numbers.noise_scale,
        quirks=models.quirks,
    )
    return Negatives(found.solutions[0], found.reverted)


def energies(models: Probed, solution: Tensor) -> Tensor:
    """Return E of solutions (S, K, D), (S, K), each at its probe's level and under its noise."""
    assert models.batch.contrast_eps is not None
    noisy = add_noise(models.at, solution, models.batch.contrast_eps)
    return energy_alone(models.weights, models.given, noisy)


def distances(batch: Batch, solution: Tensor) -> Tensor:
    """Return the root mean square over entries of solution - y, (S, K)."""
    return (solution - batch.y).square().mean(-1).sqrt()


def residuals(batch: Batch, solution: Tensor, n: int) -> Tensor:
    """Return |A X - I| / sqrt(n) in the Frobenius norm, (S, K): 1 for X = 0, 0 for the inverse."""
    A, X = (part.reshape(*part.shape[:-1], n, n) for part in (batch.A, solution))
    left = A @ X - torch.eye(n, dtype=A.dtype, device=A.device)
    norms: Tensor = torch.linalg.vector_norm(left, dim=(-2, -1))
    return norms / math.sqrt(n)


def fixed_solutions(batch: Batch, schedule: Schedule) -> dict[str, Tensor]:
    """Return solutions that no model had a part in, (S, K, D) each.

    noised: what the noised positive reads as: y plus the noise of its level, within +-2.
    natural: the inverse of the next probe. random: N(0, 1) within +-2. inverse: y itself.
    """
    assert batch.contrast_eps is not None
    assert batch.negatives is not None
    at = levels(schedule, batch.t)
    noised = at.per_signal * add_noise(at, batch.y, batch.contrast_eps)
    return {
        "inverse": batch.y,
        "noised": noised.clamp(-LIMIT, LIMIT),
        "natural": batch.y.roll(-1, dims=1),
        "random": batch.negatives[:, : batch.y.shape[1]].clamp(-LIMIT, LIMIT),
    }


def representations(
    weights: Weights, features: Tensor, schedule: Schedule, batch: Batch, count: int
) -> Tensor:
    """Return the Gram matrices of the hidden layers on the first probes, (S, 3, pairs).

    Entry (i, j) is the inner product of the hidden features of probes i and j at noise level 0,
    where x still tells most of the solution; i <= j, row by row.
    """
    assert batch.contrast_eps is not None
    A, y, eps = (part[:, :count] for part in (batch.A, batch.y, batch.contrast_eps))
    given = given_level(prepare(weights, A), time_table(weights, features), 0)
    there = forward(weights, given, add_noise(levels(schedule, 0), y, eps))
    rows, columns = torch.triu_indices(count, count, device=A.device)
    grams = [h @ h.mT for h in (there.h1, there.h2, there.h3)]
    return torch.stack([gram[:, rows, columns] for gram in grams], dim=1)
