"""The optimiser of a stack: clipping, learning rates, Adam, and the average of the weights."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from training.schedules import RateSchedule

ADAM_EPSILON = 1e-8  # torch's default, which the public release keeps
CLIP_EPSILON = 1e-6  # likewise, of clip_grad_norm_


def clip_by_model(gradient: Tensor, largest_norm: float) -> Tensor:
    """Scale each model's gradient, (S, P), to at most `largest_norm` in place; return norms (S,).

    Each model by its own norm: one norm over the stack would let runs influence each other.
    """
    norms: Tensor = torch.linalg.vector_norm(gradient, dim=1)
    gradient.mul_((largest_norm / (norms + CLIP_EPSILON)).clamp(max=1)[:, None])
    return norms


class LearningRates:
    """The rates of a stack in each step, every model by its own schedule."""

    def __init__(self, settings: Tensor, schedules: Sequence[RateSchedule], steps: int) -> None:
        """Take the settings, (S, 1), a schedule for each, and the steps of the training."""
        self.settings, self._schedules, self._steps = settings, tuple(schedules), steps
        self._peaks = settings[:, 0].tolist()
        # By schedule, the settings of those models that have it; 0 for the others.
        self._parts = {
            schedule: settings
            * torch.tensor([[own == schedule] for own in schedules], device=settings.device)
            for schedule in dict.fromkeys(schedules)
        }
        self._varies = any(schedule.varies() for schedule in self._parts)

    def at(self, step: int) -> list[float]:
        """Return the rate of each model in step number `step` = 1, 2, .., to be read by people."""
        rows = zip(self._peaks, self._schedules, strict=True)
        return [peak * schedule.factor(step, self._steps) for peak, schedule in rows]

    def write(self, rates: Tensor, step: int) -> None:
        """Write the rates of step number `step` = 1, 2, .. into (S, 1), not waiting for the device.

        Nothing is done where none varies: `rates` begins as a copy of the settings.
        """
        if self._varies:
            rates.zero_()
            for schedule, part in self._parts.items():  # a kernel each
                rates.add_(part, alpha=schedule.factor(step, self._steps))


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
