"""What the network makes of t: a table with one row per noise level, and its reverse pass.

t is one of T integers, so gains and biases are computed once per step for all of them and looked
up per sample. embedding(t) -> T1 -> GELU -> T2 -> F2, F3 -> [gain - 1, bias] of layers 2 and 3.

The definition is z = (W h + b) g(t) + bias(t). The table holds c(t) = bias(t) + b g(t), so that
z = (W h) g(t) + c(t) and the gradient of b is a sum over T rows rather than over all samples.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu

from training.weights import TIME_WIDTH, Weights


def embedding(diffusion_steps: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Return the sinusoidal features of t = 0 .. T-1, (T, 128): sines, then cosines."""
    half = TIME_WIDTH // 2
    exponents = torch.arange(half, dtype=torch.float64) * (-math.log(10_000) / (half - 1))
    angles = torch.arange(diffusion_steps, dtype=torch.float64)[:, None] * exponents.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(device, dtype)


class TimeTable(NamedTuple):
    """Gains and biases of the S models at each t, and what the reverse pass needs."""

    g2: Tensor  # (S, T, h), already 1 + gain
    c2: Tensor  # (S, T, h), the layer's own bias included
    g3: Tensor  # (S, T, h)
    c3: Tensor  # (S, T, h)
    features: Tensor  # (S, T, 128)
    before_gelu: Tensor  # (S, T, 128)
    after_gelu: Tensor  # (S, T, 128)
    output: Tensor  # (S, T, 128)


def time_table(weights: Weights, features: Tensor) -> TimeTable:
    """Evaluate the time network of every model on the (T, 128) features."""
    features = features.expand(len(weights.T1), -1, -1)
    before_gelu = torch.baddbmm(weights.t1[:, None], features, weights.T1.mT)
    after_gelu = gelu(before_gelu)
    output = torch.baddbmm(weights.t2[:, None], after_gelu, weights.T2.mT)
    gain2, bias2 = torch.baddbmm(weights.f2[:, None], output, weights.F2.mT).chunk(2, dim=-1)
    gain3, bias3 = torch.baddbmm(weights.f3[:, None], output, weights.F3.mT).chunk(2, dim=-1)
    g2, g3 = 1 + gain2, 1 + gain3
    c2 = torch.addcmul(bias2, weights.b2[:, None], g2)
    c3 = torch.addcmul(bias3, weights.b3[:, None], g3)
    return TimeTable(g2, c2, g3, c3, features, before_gelu, after_gelu, output)


def time_table_reverse(
    weights: Weights, table: TimeTable, g2: Tensor, c2: Tensor, g3: Tensor, c3: Tensor
) -> dict[str, Tensor]:
    """Return the loss's gradient in T1 .. f3, b2 and b3 from that in the table, (S, T, h) each."""
    film2 = torch.cat([torch.addcmul(g2, weights.b2[:, None], c2), c2], dim=-1)  # (S, T, 2h)
    film3 = torch.cat([torch.addcmul(g3, weights.b3[:, None], c3), c3], dim=-1)
    output = film2 @ weights.F2 + film3 @ weights.F3  # (S, T, 128)
    before_gelu = (output @ weights.T2) * _gelu_slope(table.before_gelu)
    return {
        "T1": before_gelu.mT @ table.features,
        "t1": before_gelu.sum(1),
        "T2": output.mT @ table.after_gelu,
        "t2": output.sum(1),
        "F2": film2.mT @ table.output,
        "f2": film2.sum(1),
        "F3": film3.mT @ table.output,
        "f3": film3.sum(1),
        "b2": (table.g2 * c2).sum(1),
        "b3": (table.g3 * c3).sum(1),
    }


def _gelu_slope(z: Tensor) -> Tensor:
    """Derivative of z Phi(z), Phi the normal distribution function."""
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * density
