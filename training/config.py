"""Settings of one training run, validated before anything is submitted; imports no torch.

Every setting has an effect in every config that accepts it: what only some negatives need lives in
`mining`, chosen by `strategy`, so that a study cannot sweep a key that nothing reads.
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

# Settings that enter the arithmetic as one number per model, so runs may differ in them and still
# train in one stack. Everything else shapes tensors, loops or data and has to be equal.
PER_MODEL_SETTINGS = ("learning_rate", "mining.contrastive_weight", "mining.noise_scale")


class _Settings(BaseModel):
    # strict: a "2048" or a true where a number belongs is a slip of the pen, not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NoMining(_Settings):
    """Denoising loss only: the baseline."""

    strategy: Literal["none"] = "none"


class RandomMining(_Settings):
    """Contrastive loss against negatives drawn from clamp(N(0, 1), +-2)."""

    strategy: Literal["random"] = "random"
    contrastive_weight: float = Field(
        default=0.5,
        gt=0,
        le=1e3,
        description="Weight of the contrastive loss; the denoising's is 1.",
    )


class AdversarialMining(_Settings):
    """Contrastive loss against negatives that were moved to low energy by inner steps."""

    strategy: Literal["adversarial"] = "adversarial"
    contrastive_weight: float = Field(
        default=0.5,
        gt=0,
        le=1e3,
        description="Weight of the contrastive loss; the denoising's is 1.",
    )
    opt_steps: int = Field(
        default=2, ge=0, le=100, description="Inner steps that lower the energy of a negative."
    )
    noise_scale: float = Field(
        default=3.0,
        ge=0,
        le=100,
        description="Noise at the start of the inner steps, in multiples of the schedule's.",
    )


Mining = Annotated[NoMining | RandomMining | AdversarialMining, Field(discriminator="strategy")]

Precision = Literal["fp32", "fp64", "tf32", "bf16"]


class IREDConfig(_Settings):
    """One run of IRED on matrix inversion (Du, Mao, Tenenbaum, ICML 2024).

    The defaults are the published setting. Steps are optimiser steps, sizes are numbers of
    matrices, everything else is dimensionless.
    """

    matrix_size: int = Field(default=20, ge=2, le=64, description="n of the n x n matrices.")
    ridge: float = Field(
        default=0.5, gt=0, le=1e3, description="Multiple of I in A = 2 R R^T + ridge I."
    )
    harder_ridge: float = Field(
        default=0.1, gt=0, le=1e3, description="Multiple of I in the harder held-out set."
    )

    hidden_width: int = Field(default=512, ge=1, le=8192, description="Units of a hidden layer.")
    diffusion_steps: int = Field(
        default=10, ge=1, le=1000, description="Noise levels T of the cosine schedule."
    )

    mining: Mining = Field(
        default_factory=NoMining, description="Where the contrastive loss takes its negatives."
    )

    batch_size: int = Field(default=2048, ge=1, le=2**20, description="Matrices in a step.")
    steps: int = Field(default=100_000, ge=1, le=10**9, description="Optimiser steps of the run.")
    learning_rate: float = Field(default=1e-4, gt=0, le=1, description="Adam's step size.")
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of Adam's first moment.")
    adam_beta2: float = Field(default=0.99, ge=0, lt=1, description="Decay of its second moment.")
    grad_clip: float = Field(
        default=1.0, gt=0, le=1e6, description="Largest gradient norm of one model."
    )
    ema_decay: float = Field(
        default=0.995, ge=0, lt=1, description="Largest decay of the averaged weights."
    )
    ema_every: int = Field(
        default=10, ge=1, le=10**6, description="Steps between updates of the averaged weights."
    )
    ema_warmup: int = Field(
        default=100,
        ge=0,
        le=10**9,
        description="Steps for which the average copies the weights, before its decay ramps up.",
    )

    sampler_inner_steps: int = Field(
        default=5, ge=0, le=1000, description="Inner steps of the sampler at each noise level."
    )
    held_out_size: int = Field(
        default=131_072, ge=2, le=2**24, description="Matrices in each held-out set."
    )
    held_out_seed: int = Field(
        default=20_240_701,
        ge=0,
        le=2**63 - 1,
        description="Seed of the held-out sets and of the noise that evaluation starts from.",
    )
    curve_every: int = Field(
        default=1000, ge=1, le=10**9, description="Steps between points of the validation curve."
    )
    curve_size: int = Field(
        default=4096, ge=2, le=2**24, description="Validation matrices behind a point of the curve."
    )

    precision: Precision = Field(
        default="fp32",
        description="Arithmetic of training. Under tf32 and bf16 only matrix products are rounded, "
        "and evaluation is in float32; tf32 needs a GPU that has it.",
    )
    reference_quirks: bool = Field(
        default=False,
        description="Follow the public release where it departs from its own algorithm: the inner "
        "step doubles from the second on, sample 0's noise level clamps the whole batch, samples "
        "stay scaled by sqrt(alpha_bar_0), the schedule is rounded to float32.",
    )

    @model_validator(mode="after")
    def _curve_within_held_out(self) -> Self:
        if self.curve_size > self.held_out_size:
            raise ValueError(
                f"curve_size = {self.curve_size} exceeds held_out_size = {self.held_out_size}, "
                "of which the curve is a part; lower curve_size"
            )
        return self


_JSON = TypeAdapter(IREDConfig)


def settings_of(config: IREDConfig) -> dict[str, Any]:
    """Return all settings as JSON values, to tell configs apart.

    Not by `config.model_dump`: whoever watches which settings training reads has to take that for
    a reading of them all.
    """
    settings: dict[str, Any] = _JSON.dump_python(config, mode="json")
    return settings


def stack_key(config: IREDConfig) -> str:
    """Return the JSON of all settings in which the runs of one stack have to be equal."""
    settings = settings_of(config)
    for path in PER_MODEL_SETTINGS:
        *parents, leaf = path.split(".")
        table = settings
        for parent in parents:
            table = table[parent]
        table.pop(leaf, None)
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))
