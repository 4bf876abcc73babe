"""Negatives: wrong solutions that the contrastive loss gives a higher energy than right ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from training.batches import Batch
from training.diffusion import LIMIT, Levels, add_noise, descend, energy_alone
from training.energy import PER_SAMPLE, Given
from training.strategies import ContrastiveMining, HardestMining, InnerStepMining, RandomMining
from training.weights import Weights


class Negatives(NamedTuple):
    """Wrong solutions before noise, and how their search went.

    Each of `solutions` holds one for the first b samples of the batch: for all of them, unless some
    have no negative. Where a sample has several, its hardest is in the first.
    """

    solutions: tuple[Tensor, ...]  # (S, b, D) each
    reverted: Tensor | None  # (S,), share of inner steps taken back; None where none are taken


def mine(
    mining: ContrastiveMining,
    weights: Weights,
    given: Given,
    at: Levels,
    batch: Batch,
    noise_scale: Tensor,
    *,
    quirks: bool,
) -> Negatives:
    """Return negatives of a batch; no gradient flows through how they were found.

    Random negatives are normal within +-2. Adversarial ones start at y with its noise scaled up by
    noise_scale (S, 1, 1) and take inner steps down the energy at the sample's noise level. The
    hardest of candidates are judged where the loss will see them.
    """
    if isinstance(mining, RandomMining):
        return Negatives((_drawn(batch),), None)
    if isinstance(mining, HardestMining):
        return Negatives(_hardest(mining, weights, given, at, batch), None)
    assert isinstance(mining, InnerStepMining)
    assert batch.contrast_eps is not None
    count = mining.mined(batch.y.shape[1])
    given, at = of_first(count, given, at)
    noise = noise_scale * batch.contrast_eps[:, :count]
    start = add_noise(at, batch.y[:, :count], noise)
    x, reverted = descend(weights, given, at, start, mining.opt_steps, doubling=quirks)
    solution = (at.per_signal * x).clamp(-LIMIT, LIMIT)
    if mining.filler != "none":
        rest = _drawn(batch) if mining.filler == "random" else _natural(batch, 1)
        solution = torch.cat([solution, rest[:, count:]], dim=1)
    return Negatives((solution,), reverted)


def of_first(count: int, given: Given, at: Levels) -> tuple[Given, Levels]:
    """Return both for the first samples of a batch."""
    if count == given.base.shape[1]:
        return given, at
    parts = {name: getattr(given, name)[:, :count] for name in PER_SAMPLE}
    return given._replace(**parts), Levels(*(part[:, :count] for part in at))


def _natural(batch: Batch, distance: int) -> Tensor:
    """Return the inverse of the matrix that stands `distance` further on in the batch."""
    return batch.y.roll(-distance, dims=1)


def _drawn(batch: Batch) -> Tensor:
    assert batch.negatives is not None
    return batch.negatives.clamp(-LIMIT, LIMIT)


def _hardest(
    mining: HardestMining, weights: Weights, given: Given, at: Levels, batch: Batch
) -> tuple[Tensor, ...]:
    """Return the candidates of lowest energy, the lowest first."""
    assert batch.contrast_eps is not None
    size = batch.y.shape[1]
    place = torch.arange(size, device=batch.y.device)
    number = torch.arange(mining.candidates, device=batch.y.device)[:, None]
    if mining.source == "natural":
        pool, index = batch.y, (place + 1 + number) % size  # (M, B), of candidates in the pool
    else:
        pool, index = _drawn(batch), number * size + place
    energies = [
        energy_alone(weights, given, add_noise(at, pool[:, row], batch.contrast_eps))
        for row in index
    ]
    chosen = torch.stack(energies).topk(mining.kept, dim=0, largest=False).indices  # (N, S, B)
    rows = index[chosen, place]
    return tuple(pool.gather(1, row[..., None].expand_as(batch.y)) for row in rows)
