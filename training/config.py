"""Settings of one training run, validated before anything is submitted; imports no torch.

Every setting has an effect in every config that accepts it: what only some negatives need lives in
`mining`, chosen by `strategy`, so that a study cannot sweep a key that nothing reads.
"""

import json
from typing import Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from training.schedules import ConstantRate, RateSchedule
from training.strategies import (
    HardestMining,
    HardExamples,
    InnerStepMining,
    Mining,
    NoMining,
    Settings,
)

# Settings that enter the arithmetic as one number per model, so runs may differ in them and still
# train in one stack. Everything else shapes tensors, loops or data and has to be equal.
PER_MODEL_SETTINGS = (
    "learning_rate",
    "schedule",
    "mining.contrastive_weight",
    "mining.noise_scale",
)

# The schedule of who sets none. Left out of dumps: whatever names runs by their settings, folders
# and checkpoints among them, finds those again that are older than this setting.
_NO_SCHEDULE = ConstantRate().model_dump()


Precision = Literal["fp32", "fp64", "tf32", "bf16"]

# Records times probes of an instrumented run: what keeps its file under 2 MB.
LARGEST_DIAGNOSTICS = 4096


class Diagnostics(Settings):
    """What an instrumented run records: see training/diagnostics.py.

    Its mining is of the records, not of the training: negatives that every condition, the baseline
    too, is probed with on its own energies, so that conditions can be compared.
    """

    every: int = Field(
        ge=1,
        le=10**9,
        description="Steps between records; there is one before training and one at its end too.",
    )
    probes: int = Field(
        default=256, ge=8, le=1024, description="Matrices that records are made on, for all runs."
    )
    opt_steps: int = Field(
        default=2, ge=0, le=100, description="Inner steps of the mining that runs are probed with."
    )
    noise_scale: float = Field(
        default=3.0,
        ge=0,
        le=100,
        description="Noise at the start of those, in multiples of the schedule's.",
    )

    def records(self, steps: int) -> int:
        """Return the number of records of a training of `steps` optimiser steps."""
        return len(range(0, steps, self.every)) + 1

    def due(self, step: int, steps: int) -> bool:
        """Say whether there is a record after that step, 0 being before the first."""
        return step % self.every == 0 or step == steps

    def moments(self, steps: int) -> list[int]:
        """Return which records hold features too: before training, half-way, and at its end."""
        last = self.records(steps) - 1
        return sorted({0, last // 2, last})


class IREDConfig(Settings):
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
        default_factory=NoMining,
        description="What the loss has beside denoising all samples alike: negatives, or a choice.",
    )

    batch_size: int = Field(default=2048, ge=1, le=2**20, description="Matrices in a step.")
    steps: int = Field(default=100_000, ge=1, le=10**9, description="Optimiser steps of the run.")
    learning_rate: float = Field(default=1e-4, gt=0, le=1, description="Adam's step size.")
    schedule: RateSchedule = Field(
        default_factory=ConstantRate, description="How the learning rate changes over training."
    )
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
    diagnostics: Diagnostics | None = Field(
        default=None,
        description="What to record of learned features, gradients and negatives. Off by default; "
        "training is the same with and without.",
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

    @model_validator(mode="after")
    def _schedule_has_its_steps(self) -> Self:
        warmup, least = self.schedule.warmup_steps, self.schedule.least_steps
        if self.steps - warmup < least:
            raise ValueError(
                f"schedule.warmup_steps = {warmup} of steps = {self.steps} leaves "
                f"{max(0, self.steps - warmup)} for the rest of the schedule, which needs {least}; "
                "lower schedule.warmup_steps"
            )
        return self

    @model_validator(mode="after")
    def _batches_hold_what_mining_splits(self) -> Self:
        self._check_batch("batch_size", self.batch_size)
        if self.diagnostics:  # whose probes are mined like a batch
            self._check_batch("diagnostics.probes", self.diagnostics.probes)
        return self

    def _check_batch(self, name: str, size: int) -> None:
        mining, counts = self.mining, {}
        if isinstance(mining, InnerStepMining) and mining.fraction < 1:
            counts = {f"fraction = {mining.fraction}": mining.mined(size)}
        if isinstance(mining, HardExamples):
            counts = {f"kept_share = {mining.kept_share}": mining.kept(size)}
        for share, count in counts.items():
            if not 0 < count < size:
                raise ValueError(
                    f"mining.{share} of {name} = {size} rounds to {count} samples, "
                    "so that none or all would be left"
                )
        if not isinstance(mining, HardestMining) or mining.source != "natural":
            return
        if mining.candidates >= size:
            raise ValueError(
                f"mining.candidates = {mining.candidates} natural ones need {name} above that, "
                f"not {size}: a sample's own inverse is no negative"
            )

    @model_validator(mode="after")
    def _diagnostics_are_small(self) -> Self:
        if self.diagnostics is None:
            return self
        records, probes = self.diagnostics.records(self.steps), self.diagnostics.probes
        if records * probes > LARGEST_DIAGNOSTICS:
            raise ValueError(
                f"{records} records of {probes} probes are more than {LARGEST_DIAGNOSTICS} "
                "together; raise diagnostics.every or lower diagnostics.probes"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_no_schedule(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        settings: dict[str, Any] = dump(self)
        if settings.get("schedule") == _NO_SCHEDULE:
            del settings["schedule"]
        return settings


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
