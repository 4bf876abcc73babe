"""Diffusion over matrices: noise schedule, inner steps down the energy, sampler.

After Du, Mao, Tenenbaum (ICML 2024); the schedule is Nichol and Dhariwal's cosine (ICML 2021).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from training.energy import (
    Given,
    backward,
    forward,
    given_level,
    gradient_in_x,
    prepare,
)
from training.time_table import time_table
from training.weights import Weights

LIMIT = 2.0  # solutions are kept within +-2; nearly every entry of an inverse is


class Schedule(NamedTuple):
    """Constants per noise level, (T,) each; t = 0 is nearly clean, t = T - 1 nearly noise."""

    signal: Tensor  # sqrt(alpha_bar_t)
    noise: Tensor  # sqrt(1 - alpha_bar_t)
    per_signal: Tensor  # 1 / sqrt(alpha_bar_t)
    noise_per_signal: Tensor  # sqrt(1 / alpha_bar_t - 1)
    step: Tensor  # beta_t / sqrt(1 - alpha_bar_t), the size of an inner step


def cosine_schedule(
    diffusion_steps: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    *,
    rounded: bool = False,
) -> Schedule:
    """Return the schedule; `rounded` passes it through float32, as the public release does.

    The rounding is 6e-8, so it only shows in comparisons in float64.
    """
    fractions = torch.arange(diffusion_steps + 1, dtype=torch.float64) / diffusion_steps
    curve = torch.cos((fractions + 0.008) / 1.008 * (math.pi / 2)) ** 2
    betas = (1 - curve[1:] / curve[:-1]).clamp(0, 0.999)
    alpha_bar = torch.cumprod(1 - betas, dim=0)
    rows = (
        alpha_bar.sqrt(),
        (1 - alpha_bar).sqrt(),
        (1 / alpha_bar).sqrt(),
        (1 / alpha_bar - 1).sqrt(),
        betas / (1 - alpha_bar).sqrt(),
    )
    storage = torch.float32 if rounded else torch.float64
    return Schedule(*(row.to(storage).to(device, dtype) for row in rows))


class Levels(NamedTuple):
    """The schedule at each sample's t; (S, B, 1), or (1,) where all samples have the same."""

    signal: Tensor
    noise: Tensor
    per_signal: Tensor
    noise_per_signal: Tensor
    step: Tensor
    limit: Tensor  # of |x|: LIMIT times signal


def levels(schedule: Schedule, t: Tensor | int, *, first_limits_all: bool = False) -> Levels:
    """Look up t, (S, B) or one number.

    `first_limits_all` is a quirk of the public release: sample 0's t decides the whole batch's
    limit.
    """
    rows = Schedule(*(row[t][..., None] for row in schedule))
    limit = LIMIT * (rows.signal[:, :1] if first_limits_all else rows.signal)
    return Levels(*rows, limit)


def add_noise(at: Levels, solution: Tensor, eps: Tensor) -> Tensor:
    """Return the solution as it looks at its noise level, all (S, B, D)."""
    return at.signal * solution + at.noise * eps


def energy_and_slope(weights: Weights, given: Given, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return E (S, B) and dE/dx (S, B, D) at x."""
    there = forward(weights, given, x)
    return there.energy, gradient_in_x(weights, backward(weights, given, there))


def energy_alone(weights: Weights, given: Given, x: Tensor) -> Tensor:
    """Return E (S, B) at x."""
    return forward(weights, given, x).energy


class Network(NamedTuple):
    """The functions that inner steps evaluate; the sampler may be given compiled ones."""

    energy_and_slope: Callable[[Weights, Given, Tensor], tuple[Tensor, Tensor]]
    energy: Callable[[Weights, Given, Tensor], Tensor]


UNCOMPILED = Network(energy_and_slope, energy_alone)


class Descent(NamedTuple):
    """Where inner steps ended, and the share of them that was taken back."""

    x: Tensor  # (S, B, D)
    reverted: Tensor  # (S,)


def descend(
    weights: Weights,
    given: Given,
    at: Levels,
    x: Tensor,
    steps: int,
    *,
    doubling: bool,
    network: Network = UNCOMPILED,
) -> Descent:
    """Take inner steps from x (S, B, D): x - step dE/dx within +-limit, kept unless E grows.

    `doubling` is a quirk of the public release: every step but the first is twice as long.
    """
    reverted = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    if steps == 0:
        return Descent(x, reverted)
    energy, slope = network.energy_and_slope(weights, given, x)
    for i in range(steps):
        last = i + 1 == steps
        length = 2 * at.step if doubling and i > 0 else at.step
        candidate = torch.clamp(x - length * slope, -at.limit, at.limit)
        if last:
            energy_there, slope_there = network.energy(weights, given, candidate), slope
        else:
            energy_there, slope_there = network.energy_and_slope(weights, given, candidate)
        worse = energy_there > energy  # (S, B)
        reverted = reverted + worse.to(x.dtype).mean(1) / steps
        x = torch.where(worse[..., None], x, candidate)
        if not last:
            # A sample that stays keeps its energy and its slope: nothing is evaluated twice.
            energy = torch.where(worse, energy, energy_there)
            slope = torch.where(worse[..., None], slope, slope_there)
    return Descent(x, reverted)


def sample(
    weights: Weights,
    features: Tensor,
    schedule: Schedule,
    A: Tensor,
    start: Tensor,
    inner_steps: int,
    *,
    quirks: bool,
    network: Network = UNCOMPILED,
) -> Tensor:
    """Return the models' solutions for A (S, B, D) from start ~ N(0, 1), (S, B, D).

    At each noise level the noise is estimated and removed at once, the result is improved by
    inner steps, and carried to the next level without new noise.
    """
    table = time_table(weights, features)
    prepared = prepare(weights, A)
    x = start
    solution = start
    for t in reversed(range(len(features))):
        given = given_level(prepared, table, t)
        at = levels(schedule, t)
        _, eps = network.energy_and_slope(weights, given, x)
        solution = (at.per_signal * x - at.noise_per_signal * eps).clamp(-LIMIT, LIMIT)
        # Within the limit here and after every inner step, so the paper's last clamp is implied.
        x = descend(
            weights,
            given,
            at,
            at.signal * solution,
            inner_steps,
            doubling=quirks,
            network=network,
        ).x
        solution = at.per_signal * x
        x = schedule.signal[t - 1] * solution if t > 0 else x
    # The public release returns x as it is at t = 0, scaled by sqrt(alpha_bar_0) = 0.986.
    return x if quirks else solution
