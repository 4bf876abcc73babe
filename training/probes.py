"""The fixed inputs of diagnostics: the same for every run of a study, whatever it is trained on."""

from typing import NamedTuple

import torch
from torch import Tensor

from training.batches import Batch
from training.config import Diagnostics
from training.data import held_out_set
from training.stack import Stack
from training.strategies import drawn_negatives
from training.streams import generator, normal

# A projection this wide keeps squared distances within a fifth or so (its own spread is
# sqrt(2 / 32)), and 400 numbers of a solution would not fit a record.
DIRECTIONS = 32


class Probes(NamedTuple):
    """Inputs of one model; the number of probes is K."""

    batch: Batch  # (1, K, ..); negatives are (1, M K, D)
    directions: Tensor  # (D, d), orthogonal


def draw_probes(stack: Stack, diagnostics: Diagnostics) -> Probes:
    """Draw the probes on the CPU, from streams of their own.

    Noise levels take turns, so that each has as many probes as the next.
    """
    config, n, size = stack.config, stack.config.matrix_size, diagnostics.probes
    seed, D = config.held_out_seed, config.matrix_size**2
    matrices = held_out_set(seed, "probes", size, n, config.ridge)
    noise = generator(seed, "probe noise")
    eps, contrast_eps = (normal(noise, (size, D), stack.dtype) for _ in range(2))
    drawn = generator(seed, "probe negatives")
    # The random negatives of every record, then whatever more the strategy itself asks for: one
    # draw would differ by its length.
    counts = (1, max(0, drawn_negatives(config.mining) - 1))
    negatives = torch.cat([normal(drawn, (count * size, D), stack.dtype) for count in counts])
    t = torch.arange(size) % config.diffusion_steps
    A, y = (part.to(stack.dtype) for part in (matrices.A, matrices.y))
    parts = (A, y, t, eps, contrast_eps, negatives)
    batch = Batch(*(part[None].to(stack.device) for part in parts))
    return Probes(batch, _directions(seed, D).to(stack.device, stack.dtype))


def _directions(seed: int, features: int) -> Tensor:
    """Draw orthogonal directions, (D, d), on which squared distances keep their expectation."""
    width = min(features, DIRECTIONS)
    drawn = normal(generator(seed, "probe directions"), (features, width), torch.float64)
    orthogonal, _ = torch.linalg.qr(drawn)
    scaled: Tensor = orthogonal * (features / width) ** 0.5
    return scaled
