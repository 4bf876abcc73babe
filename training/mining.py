"""Negatives: wrong solutions that the contrastive loss gives a higher energy than right ones."""

from typing import NamedTuple

from torch import Tensor

from training.batches import Batch
from training.config import AdversarialMining, RandomMining
from training.diffusion import LIMIT, Levels, add_noise, descend
from training.energy import Given
from training.weights import Weights


class Negatives(NamedTuple):
    """Wrong solutions before noise, and how their search went."""

    solution: Tensor  # (S, B, D)
    reverted: Tensor | None  # (S,), share of inner steps taken back; None where none are taken


def mine(
    mining: RandomMining | AdversarialMining,
    weights: Weights,
    given: Given,
    at: Levels,
    batch: Batch,
    noise_scale: Tensor,
    *,
    quirks: bool,
) -> Negatives:
    """Return a negative for each sample; no gradient flows through how it was found.

    Random negatives are normal within +-2. Adversarial ones start at y with its noise scaled up by
    noise_scale (S, 1, 1) and take inner steps down the energy at the sample's noise level.
    """
    if isinstance(mining, RandomMining):
        assert batch.negatives is not None
        return Negatives(batch.negatives.clamp(-LIMIT, LIMIT), None)
    assert batch.contrast_eps is not None
    start = add_noise(at, batch.y, noise_scale * batch.contrast_eps)
    x, reverted = descend(weights, given, at, start, mining.opt_steps, doubling=quirks)
    return Negatives((at.per_signal * x).clamp(-LIMIT, LIMIT), reverted)
