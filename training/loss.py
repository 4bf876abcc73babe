"""The training loss of every model of a stack, and its gradient in every parameter.

loss = mean |dE/dx(x_t) - eps|^2 + weight * mean -log sigmoid(E(negative) - E(positive))
(Du, Mao, Tenenbaum, ICML 2024), the positive being y and the negative a mined solution, both under
one noise that is not the denoising loss's. Means are over the batch, and over entries where there
are any.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from training.batches import Batch
from training.config import Mining, NoMining
from training.diffusion import Schedule, add_noise, levels
from training.energy import (
    Contribution,
    backward,
    energy_contribution,
    forward,
    given_levels,
    gradient_in_x,
    last_layer,
    outer,
    prepare,
    slope_contribution,
)
from training.mining import mine
from training.time_table import TimeTable, time_table, time_table_reverse
from training.weights import Weights


class Losses(NamedTuple):
    """Losses of each model, (S,); the last two are None where the strategy has no such thing."""

    total: Tensor
    denoising: Tensor
    contrastive: Tensor | None
    reverted: Tensor | None  # share of the negatives' inner steps that were taken back


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
        mining: the strategy; of its numbers only those that are loop lengths are read.
        contrastive_weight: (S,); not read by the strategy "none".
        noise_scale: (S, 1, 1); read by the strategy "adversarial".
        quirks: follow the public release where it departs from the algorithm.
    """
    table = time_table(weights, features)
    given = given_levels(prepare(weights, batch.A), table, batch.t)
    at = levels(schedule, batch.t, first_limits_all=quirks)

    noisy = forward(weights, given, add_noise(at, batch.y, batch.eps))
    back = backward(weights, given, noisy)
    error = gradient_in_x(weights, back) - batch.eps  # (S, B, D)
    denoising = error.square().mean((1, 2))
    v = 2 * error / error[0].numel()
    contributions = [slope_contribution(weights, given, noisy, back, v)]
    if isinstance(mining, NoMining):
        losses = Losses(denoising, denoising, None, None)
        return losses, _collect(weights, table, batch, contributions)

    assert batch.contrast_eps is not None
    negatives = mine(mining, weights, given, at, batch, noise_scale, quirks=quirks)
    positive = forward(weights, given, add_noise(at, batch.y, batch.contrast_eps))
    negative = forward(weights, given, add_noise(at, negatives.solution, batch.contrast_eps))
    margin = negative.energy - positive.energy  # (S, B)
    contrastive = -logsigmoid(margin).mean(1)
    # d(-log sigmoid(margin)) / d margin = -sigmoid(-margin)
    positive_bar = contrastive_weight[:, None] * torch.sigmoid(-margin) / margin.shape[1]
    for there, energy_bar in ((positive, positive_bar), (negative, -positive_bar)):
        contributions.append(energy_contribution(weights, given, there, energy_bar))
    total = denoising + contrastive_weight * contrastive
    losses = Losses(total, denoising, contrastive, negatives.reverted)
    return losses, _collect(weights, table, batch, contributions)


def _collect(
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
