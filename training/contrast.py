"""The contrastive loss of a batch, and what it contributes to the gradient.

mean -log sigmoid(E(negative) - E(positive)), the positive being y and the negative a mined
solution, both under one noise that is not the denoising loss's. The mean is over all samples of the
batch, one without a negative counting nothing, and over the negatives of a sample.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from training.batches import Batch
from training.diffusion import Levels, add_noise
from training.energy import PER_SAMPLE, Contribution, Given, energy_contribution, forward
from training.mining import mine, of_first
from training.strategies import ContrastiveMining
from training.weights import Weights


class Contrast(NamedTuple):
    """The contrastive loss of each model, and the gradient of its weighted value by evaluation."""

    loss: Tensor  # (S,)
    contributions: list[Contribution]
    reverted: Tensor | None  # (S,), share of the negatives' inner steps that were taken back


def contrast(
    mining: ContrastiveMining,
    weights: Weights,
    given: Given,
    at: Levels,
    batch: Batch,
    contrastive_weight: Tensor,
    noise_scale: Tensor,
    *,
    quirks: bool,
) -> Contrast:
    """Return the loss against the strategy's negatives; arguments as in `loss_and_gradient`."""
    assert batch.contrast_eps is not None
    size = batch.y.shape[1]
    negatives = mine(mining, weights, given, at, batch, noise_scale, quirks=quirks)
    paired, pairs = negatives.solutions[0].shape[1], size * len(negatives.solutions)
    given, at = of_first(paired, given, at)
    eps = batch.contrast_eps[:, :paired]
    positive = forward(weights, given, add_noise(at, batch.y[:, :paired], eps))
    positive_bar = torch.zeros_like(positive.energy)
    loss = torch.zeros_like(contrastive_weight)
    contributions = []
    for solution in negatives.solutions:
        negative = forward(weights, given, add_noise(at, solution, eps))
        margin = negative.energy - positive.energy  # (S, b)
        loss = loss - logsigmoid(margin).sum(1) / pairs
        # d(-log sigmoid(margin)) / d margin = -sigmoid(-margin)
        energy_bar = contrastive_weight[:, None] * torch.sigmoid(-margin) / pairs
        positive_bar = positive_bar + energy_bar
        contributions.append(energy_contribution(weights, given, negative, -energy_bar))
    contributions.insert(0, energy_contribution(weights, given, positive, positive_bar))
    if paired < size:
        contributions = [_to_whole_batch(part, size) for part in contributions]
    return Contrast(loss, contributions, negatives.reverted)


def _to_whole_batch(part: Contribution, size: int) -> Contribution:
    """Give the samples without a negative a contribution of zero."""
    left = size - part.base.shape[1]
    return part._replace(**{name: pad(getattr(part, name), (0, 0, 0, left)) for name in PER_SAMPLE})
