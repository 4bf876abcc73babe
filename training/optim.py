"""The optimiser of a stack: clipping per model, Adam, and the average of the weights."""

from typing import NamedTuple

import torch
from torch import Tensor

ADAM_EPSILON = 1e-8  # torch's default, which the public release keeps
CLIP_EPSILON = 1e-6  # likewise, of clip_grad_norm_


def clip_by_model(gradient: Tensor, largest_norm: float) -> Tensor:
    """Scale each model's gradient, (S, P), to at most `largest_norm` in place; return norms (S,).

    Each model by its own norm: one norm over the stack would let runs influence each other.
    """
    norms: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    gradient.mul_((largest_norm / (norms + CLIP_EPSILON)).clamp(max=1)[:, None])
    return norms


class Adam(NamedTuple):
    """Moments of the gradient, (S, P) each."""

    first: Tensor
    second: Tensor

    @classmethod
    def zeros(cls, weights: Tensor) -> "Adam":
        """Return the moments before the first step."""
        return cls(torch.zeros_like(weights), torch.zeros_like(weights))

    def update(
        self,
        weights: Tensor,
        gradient: Tensor,
        correction1: Tensor,
        correction2: Tensor,
        learning_rate: Tensor,
        beta1: float,
        beta2: float,
    ) -> None:
        """Take a step in place (Kingma and Ba, 2015, algorithm 1).

        The corrections are 1 - beta^step for step = 1, 2, ...; `learning_rate` is (S, 1).
        """
        self.first.lerp_(gradient, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = (self.second / correction2).sqrt_().add_(ADAM_EPSILON)
        weights.sub_(self.first / denominator * (learning_rate / correction1))


def average_decay(updates_from: int, warmup: int, largest: float) -> float:
    """Return the decay of the averaged weights after step number `updates_from` + 1.

    Up to the warm-up the average is a copy; then the decay ramps up as 1 - (1 + k)^(-2/3).
    """
    k = updates_from - warmup
    return 0.0 if k <= 0 else min(largest, 1 - (1 + k) ** (-2 / 3))


def update_average(
    average: Tensor, weights: Tensor, step: int, *, every: int, warmup: int, largest: float
) -> None:
    """Bring the average, (S, P), up to date after step number `step` = 1, 2, ..., in place."""
    if (step - 1) % every == 0:
        average.lerp_(weights, 1 - average_decay(step - 1, warmup, largest))
