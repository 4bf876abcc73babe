"""How the learning rate changes over a training; imports no torch.

In step number `step` = 1 .. `steps` the rate is the setting `learning_rate` times a factor in
(0, 1]. The factor depends on these two numbers alone, so a training that is stopped goes on with
the rates it would have had.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from training.strategies import Settings


class WarmedRate(Settings, ABC):
    """A linear warm-up, and what comes after it."""

    least_steps: ClassVar[int] = 1
    """After the warm-up, for every key to have an effect."""

    warmup_steps: int = Field(
        default=0, ge=0, le=10**9, description="Steps in which the rate grows to its setting."
    )

    def varies(self) -> bool:
        """Say whether any step's factor is not 1."""
        return self.warmup_steps > 0

    def factor(self, step: int, steps: int) -> float:
        """Return what the rate is multiplied by in step number `step` of `steps`."""
        warmup = self.warmup_steps
        if step <= warmup:
            return step / (warmup + 1)
        return self._after_warmup((step - 1 - warmup) / (steps - warmup))

    @abstractmethod
    def _after_warmup(self, progress: float) -> float:
        """Return the factor at a progress: 0 in the first step, 1 would be after the last."""


class ConstantRate(WarmedRate):
    """The setting, in every step after the warm-up."""

    shape: Literal["constant"] = "constant"

    def _after_warmup(self, progress: float) -> float:
        del progress
        return 1.0


class Decay(WarmedRate, ABC):
    """A way down from the setting to a share of it."""

    least_steps: ClassVar[int] = 2

    floor_share: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the rate that it comes down to at the end."
    )

    def varies(self) -> bool:
        """It does, whatever the warm-up."""
        return True

    def _after_warmup(self, progress: float) -> float:
        return self.floor_share + (1 - self.floor_share) * self._left(progress)

    @abstractmethod
    def _left(self, progress: float) -> float:
        """Return the share of the way that is left, from 1 to 0."""


class CosineDecay(Decay):
    """Half a period of a cosine (Loshchilov and Hutter, ICLR 2017, without restarts)."""

    shape: Literal["cosine"] = "cosine"

    def _left(self, progress: float) -> float:
        return (1 + math.cos(math.pi * progress)) / 2


class LinearDecay(Decay):
    """A straight line."""

    shape: Literal["linear"] = "linear"

    def _left(self, progress: float) -> float:
        return 1 - progress


RateSchedule = Annotated[ConstantRate | CosineDecay | LinearDecay, Field(discriminator="shape")]
