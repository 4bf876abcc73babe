"""The training loss of every model of a stack, and its gradient in every parameter.

loss = mean |dE/dx(x_t) - eps|^2 + weight * mean -log sigmoid(E(negative) - E(positive))
(Du, Mao, Tenenbaum, ICML 2024), the second as in contrast.py and only where the strategy mines
negatives. Means are over the batch, or over its hardest samples where the strategy keeps only
those, and over entries where there are any.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from training.batches import Batch
from training.contrast import contrast
from training.diffusion import Schedule, add_noise, levels
from training.energy import (
    Contribution,
    backward,
    forward,
    given_levels,
    gradient_in_x,
    last_layer,
    outer,
    prepare,
    slope_contribution,
)
from training.strategies import ContrastiveMining, HardExamples, Mining
from training.time_table import TimeTable, time_table, time_table_reverse
from training.weights import Weights


class Losses(NamedTuple):
    """Losses of each model, (S,); the last two are None where the strategy has no such thing."""

    total: Tensor
    denoising: Tensor  # over the whole batch, of which `total` may keep only a part
    contrastive: Tensor | None
    reverted: Tensor | None  # share of the negatives' inner steps that were taken back


class Terms(NamedTuple):
    """The losses of a batch, and what each term contributes to the gradient of `total`."""

    losses: Losses
    table: TimeTable
    denoising: list[Contribution]
    contrastive: list[Contribution]


def loss_and_gradient(
    weights: Weights,
    features: Tensor,
    schedule: Schedule,
    batch: Batch,
    mining: Mining,
    contrastive_weight: Tensor,
    noise_scale: Tensor,
    *,
    quirks: bool = False,
) -> tuple[Losses, Weights]:
    """Return the losses of a batch and the gradient of `total`, by model.

    Args:
        weights: the parameters, (S, ...) each.
        features: `embedding` of the noise levels, (T, 128).
        schedule: constants of the noise levels.
        batch: data and noise, (S, B, ...).
        mining: the strategy; of its numbers only those that shape loops or batches are read.
        contrastive_weight: (S,); read by strategies with negatives.
        noise_scale: (S, 1, 1); read by strategies with inner steps.
        quirks: follow the public release where it departs from the algorithm.
    """
    terms = loss_terms(
        weights, features, schedule, batch, mining, contrastive_weight, noise_scale, quirks=quirks
    )
    gradient = collect(weights, terms.table, batch, terms.denoising + terms.contrastive)
    return terms.losses, gradient


def loss_terms(
    weights: Weights,
    features: Tensor,
    schedule: Schedule,
    batch: Batch,
    mining: Mining,
    contrastive_weight: Tensor,
    noise_scale: Tensor,
    *,
    quirks: bool,
) -> Terms:
    """Return the losses and what the gradient is collected from, by term."""
    table = time_table(weights, features)
    given = given_levels(prepare(weights, batch.A), table, batch.t)
    at = levels(schedule, batch.t, first_limits_all=quirks)

    noisy = forward(weights, given, add_noise(at, batch.y, batch.eps))
    back = backward(weights, given, noisy)
    error = gradient_in_x(weights, back) - batch.eps  # (S, B, D)
    denoising = total = error.square().mean((1, 2))
    v = 2 * error / error[0].numel()
    if isinstance(mining, HardExamples):
        total, multiple = _of_hardest(error, mining.kept(error.shape[1]))
        v = multiple * v
    slope = slope_contribution(weights, given, noisy, back, v)
    if not isinstance(mining, ContrastiveMining):
        return Terms(Losses(total, denoising, None, None), table, [slope], [])
    pairs = contrast(
        mining, weights, given, at, batch, contrastive_weight, noise_scale, quirks=quirks
    )
    total = denoising + contrastive_weight * pairs.loss
    losses = Losses(total, denoising, pairs.loss, pairs.reverted)
    return Terms(losses, table, [slope], pairs.contributions)


def _of_hardest(error: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean of each model's `count` largest squared errors, (S,).

    And what it multiplies each sample's part of the mean over all with, (S, B, 1).
    """
    errors = error.square().mean(2)  # (S, B)
    largest = errors.topk(count, dim=1)
    multiple = torch.zeros_like(errors).scatter(1, largest.indices, errors.shape[1] / count)
    return largest.values.mean(1), multiple[..., None]


def collect(
    weights: Weights, table: TimeTable, batch: Batch, contributions: list[Contribution]
) -> Weights:
    """Add up the evaluations of a batch and carry their sum on to W1A, b1 and the time network."""
    total = Contribution(*(sum(parts[1:], parts[0]) for parts in zip(*contributions, strict=True)))
    every_t = torch.arange(table.g2.shape[1], device=batch.t.device)
    # (S, T, B): one row per noise level, so that a matmul sums the samples of each level. It is
    # deterministic, which a scatter on a GPU is not.
    belongs = (batch.t[:, None] == every_t[:, None]).to(total.g2.dtype)
    film = (belongs @ part for part in (total.g2, total.c2, total.g3, total.c3))
    return Weights(
        W1A=outer(weights, (total.base, batch.A)),
        W1x=total.W1x,
        b1=total.base.sum(1),
        W2=total.W2,
        W3=total.W3,
        **last_layer(weights, total),
        **time_table_reverse(weights, table, *film),
    )
