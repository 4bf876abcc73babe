"""Settings of the mining strategies, and what they come to in a step; imports no torch.

A setting that would have no effect beside the others is refused, so that no study sweeps one.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Inner steps that a curriculum may ramp up to: each length of that loop is a graph of its own where
# steps are compiled, and torch.compile gives up on a function after eight.
MOST_RAMPED_STEPS = 6


class Settings(BaseModel):
    """Base of all settings of a run."""

    # strict: a "2048" or a true where a number belongs is a slip of the pen, not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NoMining(Settings):
    """Denoising loss only: the baseline."""

    strategy: Literal["none"] = "none"


class HardExamples(Settings):
    """Online hard example mining: the denoising loss of the hardest samples of a batch only.

    Hardest are those with the largest squared error; a sample's noise level plays no part in it.
    """

    strategy: Literal["ohem"] = "ohem"
    kept_share: float = Field(
        default=0.5, gt=0, lt=1, description="Share of the batch that the loss keeps."
    )

    def kept(self, batch_size: int) -> int:
        """Return how many samples of a batch the loss keeps."""
        return round(self.kept_share * batch_size)


class ContrastiveMining(Settings):
    """What all strategies have that add a contrastive loss against negatives."""

    contrastive_weight: float = Field(
        default=0.5,
        gt=0,
        le=1e3,
        description="Weight of the contrastive loss; the denoising's is 1.",
    )


class RandomMining(ContrastiveMining):
    """Negatives drawn from clamp(N(0, 1), +-2)."""

    strategy: Literal["random"] = "random"


class HardestMining(ContrastiveMining):
    """Of several candidates per sample, those of lowest energy become its negatives."""

    strategy: Literal["hardest_n"] = "hardest_n"
    candidates: int = Field(default=8, ge=2, le=256, description="Candidates of a sample.")
    kept: int = Field(
        default=1, ge=1, le=16, description="Negatives of a sample: its hardest candidates."
    )
    source: Literal["natural", "random"] = Field(
        default="natural",
        description="What candidates are: natural = inverses of the next matrices of the batch, "
        "random = drawn from clamp(N(0, 1), +-2).",
    )

    @model_validator(mode="after")
    def _chooses(self) -> Self:
        if self.kept >= self.candidates:
            raise ValueError(
                f"kept = {self.kept} of candidates = {self.candidates} leaves nothing to choose; "
                "lower kept"
            )
        return self


class InnerStepMining(ContrastiveMining):
    """What the strategies have that move negatives to low energy by inner steps."""

    opt_steps: int = Field(
        default=2, ge=0, le=100, description="Inner steps that lower the energy of a negative."
    )
    noise_scale: float = Field(
        default=3.0,
        ge=0,
        le=100,
        description="Noise at the start of the inner steps, in multiples of the schedule's.",
    )
    fraction: float = Field(
        default=1.0, gt=0, le=1, description="Share of the batch whose negatives are mined."
    )
    filler: Literal["none", "natural", "random"] = Field(
        default="none",
        description="Negatives of the rest of the batch: natural = the inverse of the next matrix "
        "of the batch, random = drawn from clamp(N(0, 1), +-2), none = no contrastive term.",
    )

    @model_validator(mode="after")
    def _filler_fills(self) -> Self:
        if self.fraction == 1 and self.filler != "none":
            raise ValueError(
                f'filler = "{self.filler}" has nothing to fill while fraction is 1; '
                "lower fraction or leave filler out"
            )
        return self

    def mined(self, batch_size: int) -> int:
        """Return how many samples of a batch get mined negatives: its first ones."""
        return round(self.fraction * batch_size)


class AdversarialMining(InnerStepMining):
    """Negatives that inner steps have moved to low energy."""

    strategy: Literal["adversarial"] = "adversarial"


class CurriculumMining(InnerStepMining):
    """Adversarial mining of which one quantity ramps linearly from `start` to its own setting."""

    strategy: Literal["curriculum"] = "curriculum"
    ramp: Literal["opt_steps", "noise_scale", "contrastive_weight"] = Field(
        default="opt_steps", description="The setting that ramps; the others hold throughout."
    )
    start: float = Field(default=0.0, ge=0, le=1e3, description="Its value in the first step.")
    ramp_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of training after which it has its own value."
    )

    @model_validator(mode="after")
    def _ramps(self) -> Self:
        if self.start == getattr(self, self.ramp):
            raise ValueError(f"start = {self.start} is {self.ramp} itself, so nothing ramps")
        if self.ramp != "opt_steps":
            return self
        if not self.start.is_integer():
            raise ValueError(f"start = {self.start} is no number of inner steps")
        if max(self.start, self.opt_steps) > MOST_RAMPED_STEPS:
            raise ValueError(
                f"a ramp of opt_steps stays within {MOST_RAMPED_STEPS} inner steps: each number "
                "of them is compiled anew"
            )
        return self

    def progress(self, step: int, steps: int) -> float:
        """Return the share of the ramp that lies behind step number `step` = 1 .. `steps`."""
        return min(1.0, (step - 1) / (self.ramp_share * steps))

    def opt_steps_at(self, progress: float) -> int:
        """Return the inner steps at a progress: whole numbers, the last reached as the ramp ends.

        Each number before the last holds for an equal part of the ramp.
        """
        if self.ramp != "opt_steps":
            return self.opt_steps
        way = self.opt_steps - int(self.start)
        taken = int(progress * abs(way))
        return int(self.start) + (taken if way > 0 else -taken)


Mining = Annotated[
    NoMining | RandomMining | AdversarialMining | CurriculumMining | HardestMining | HardExamples,
    Field(discriminator="strategy"),
]


def mining_at(mining: Mining, step: int, steps: int) -> Mining:
    """Return the strategy of step number `step`: a curriculum is adversarial mining by then.

    Of its numbers, only those that are loop lengths are of this step: what enters the arithmetic as
    a number of each model is `Step`'s to ramp.
    """
    if not isinstance(mining, CurriculumMining):
        return mining
    return _without_ramp(mining, mining.opt_steps_at(mining.progress(step, steps)))


def drawn_negatives(mining: Mining) -> int:
    """Return how many negatives are drawn for each sample of a batch."""
    if isinstance(mining, HardestMining):
        return mining.candidates if mining.source == "random" else 0
    if isinstance(mining, InnerStepMining):
        return int(mining.filler == "random")
    return int(isinstance(mining, RandomMining))


def opt_steps_shares(mining: InnerStepMining) -> Mapping[int, float]:
    """Return the share of training that is spent at each number of inner steps."""
    if not isinstance(mining, CurriculumMining) or mining.ramp != "opt_steps":
        return {mining.opt_steps: 1.0}
    count = abs(mining.opt_steps - int(mining.start))
    # The middle of each part of the ramp, so that rounding cannot reach its ends.
    lengths = [mining.opt_steps_at((part + 0.5) / count) for part in range(count)]
    ramp = dict.fromkeys(lengths, mining.ramp_share / count)
    return {**ramp, mining.opt_steps: 1 - mining.ramp_share}


@cache
def _without_ramp(mining: CurriculumMining, opt_steps: int) -> AdversarialMining:
    ramp = {"strategy", "ramp", "start", "ramp_share", "opt_steps"}
    return AdversarialMining(opt_steps=opt_steps, **mining.model_dump(exclude=ramp))
