"""A stack of runs: what they share, what each has of its own, and what training carries along."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from training.batches import BatchSource
from training.compiling import Compiler, worth_compiling
from training.config import IREDConfig
from training.data import matrices
from training.diffusion import Schedule, cosine_schedule
from training.optim import Adam, LearningRates
from training.precision import check_device, storage_type
from training.records import Records
from training.strategies import ContrastiveMining, CurriculumMining, InnerStepMining
from training.time_table import embedding
from training.weights import Layout, initial_weights

# Numbers in a hidden layer from which one model's products occupy all cores of a CPU.
LARGE_LAYER = 2**18


class MiningNumbers(NamedTuple):
    """What mining has of numbers that may differ between the models of a stack."""

    contrastive_weight: Tensor  # (S,)
    noise_scale: Tensor  # (S, 1, 1)


class Stack:
    """Runs that train together: equal stack keys, S seeds, and what is one number per model."""

    def __init__(
        self, configs: Sequence[IREDConfig], seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config = configs[0]
        self.seeds = tuple(seeds)
        self.device = device
        pays = worth_compiling(self.config, len(seeds), device)
        self.compiler = Compiler(device, pays=pays)
        check_device(self.config.precision, device)
        self.dtype = storage_type(self.config.precision)
        self.groups = _groups(self.config, len(seeds), device)
        self.layout = Layout(self.config.matrix_size**2, self.config.hidden_width)
        self.learning_rates = LearningRates(
            self._per_model([c.learning_rate for c in configs])[:, None],
            [c.schedule for c in configs],
            self.config.steps,
        )
        mining = [c.mining for c in configs]
        self.contrastive_weight = self._per_model(  # (S,)
            [m.contrastive_weight if isinstance(m, ContrastiveMining) else 0.0 for m in mining]
        )
        self.noise_scale = self._per_model(  # (S, 1, 1)
            [m.noise_scale if isinstance(m, InnerStepMining) else 0.0 for m in mining]
        )[:, None, None]
        self.numbers = MiningNumbers(self.contrastive_weight, self.noise_scale)

    def mining_numbers(self, step: int) -> MiningNumbers:
        """Return the numbers of step number `step` = 1, 2, .., of which a curriculum ramps one.

        They are `numbers` itself where nothing ramps.
        """
        numbers = self.numbers
        mining = self.config.mining
        if not isinstance(mining, CurriculumMining) or mining.ramp == "opt_steps":
            return numbers
        target = numbers._asdict()[mining.ramp]
        easy = torch.full_like(target, mining.start)
        # From the target's end: that is exact where the ramp is over.
        left = 1 - mining.progress(step, self.config.steps)
        return numbers._replace(**{mining.ramp: target.lerp(easy, left)})

    def features(self) -> Tensor:
        """Return the time features, (T, 128)."""
        return embedding(self.config.diffusion_steps, self.dtype, self.device)

    def schedule(self) -> Schedule:
        """Return the noise schedule."""
        config = self.config
        return cosine_schedule(
            config.diffusion_steps, self.dtype, self.device, rounded=config.reference_quirks
        )

    def batches(self) -> BatchSource:
        """Return the training stream of every run, at its beginning."""
        # Compiled, an inverse has other last bits: on a CPU, where it is no slower either, data
        # have the same whether a training is worth compiling or not.
        make = self.compiler(matrices) if self.device.type == "cuda" else matrices
        return BatchSource(self.config, self.seeds, self.dtype, self.device, make)

    def initial_weights(self) -> Tensor:
        """Return the weights before training, (S, P)."""
        rows = [initial_weights(seed, self.layout) for seed in self.seeds]
        return torch.stack(rows).to(self.device, self.dtype)

    def _per_model(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=self.dtype, device=self.device)


def _groups(config: IREDConfig, models: int, device: torch.device) -> list[slice]:
    """Say which models go through a step together.

    All of them where one alone leaves the device idle: on a GPU, and for small models. Otherwise
    one after the other: ten models of the published size on two cores leave the cache and take a
    tenth longer per model together than apart.
    """
    large = config.batch_size * config.hidden_width >= LARGE_LAYER
    size = 1 if large and device.type == "cpu" else models
    return [slice(start, start + size) for start in range(0, models, size)]


Curve = list[tuple[int, dict[str, float]]]  # what was reported of a run, by step


@dataclass
class State:
    """Everything the runs carry from step to step, apart from their random streams."""

    weights: Tensor  # (S, P)
    average: Tensor  # (S, P), the exponential average that is evaluated
    adam: Adam
    step: int  # steps taken
    failed_at: Tensor  # (S,) int64: the first step whose loss was not finite, or 0
    failed_loss: Tensor  # (S,): that loss
    clipped: Tensor  # (S,): steps since the last point of the curve whose gradient was clipped
    curves: list[Curve]  # of each run
    seconds: float = 0.0  # spent on training, all attempts together
    records: Records | None = None  # of an instrumented stack

    @classmethod
    def initial(cls, weights: Tensor) -> "State":
        """Return the state before the first step."""
        models, device = len(weights), weights.device
        return cls(
            weights=weights,
            average=weights.clone(),
            adam=Adam.zeros(weights),
            step=0,
            failed_at=torch.zeros(models, dtype=torch.int64, device=device),
            failed_loss=torch.zeros(models, dtype=weights.dtype, device=device),
            clipped=torch.zeros(models, device=device),
            curves=[[] for _ in range(models)],
        )

    def note_failures(self, losses: Tensor) -> None:
        """Remember where losses, (S,), stopped being finite; does not wait for the device.

        Such a model goes on among its neighbours, whom it cannot touch.
        """
        failing = (self.failed_at == 0) & ~losses.isfinite()
        self.failed_at.masked_fill_(failing, self.step)
        self.failed_loss = torch.where(failing, losses, self.failed_loss)

    def failures(self) -> list[str | None]:
        """Say of each run what went wrong, None where nothing did; waits for the device."""
        return [
            f"loss is {loss} at step {step}" if step else None
            for step, loss in zip(self.failed_at.tolist(), self.failed_loss.tolist(), strict=True)
        ]
