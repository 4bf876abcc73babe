"""What the tests of training share: a fake run and context, small configs, random stacks."""

import atexit
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import NO_GPU
from tests.training import oracle
from training.batches import Batch
from training.config import IREDConfig
from training.stack import Stack
from training.weights import Layout, export_model, initial_weights

TINY: dict[str, Any] = {
    "matrix_size": 3,
    "hidden_width": 16,
    "batch_size": 8,
    "steps": 6,
    "learning_rate": 1e-2,
    "ema_every": 1,
    "ema_warmup": 2,
    "sampler_inner_steps": 2,
    "held_out_size": 24,
    "curve_every": 3,
    "curve_size": 8,
}

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)

# Every strategy with its kinds, small enough for the tests' batch of 8; by a name for each.
MININGS: dict[str, dict[str, Any]] = {
    "none": {"strategy": "none"},
    "random": {"strategy": "random"},
    "adversarial": {"strategy": "adversarial"},
    "part adversarial": {"strategy": "adversarial", "fraction": 0.5},
    "part natural": {"strategy": "adversarial", "fraction": 0.25, "filler": "natural"},
    "part random": {"strategy": "adversarial", "fraction": 0.75, "filler": "random"},
    "steps ramp": {"strategy": "curriculum", "ramp": "opt_steps", "start": 0},
    "steps ramp down": {"strategy": "curriculum", "ramp": "opt_steps", "start": 4},
    "noise ramp": {"strategy": "curriculum", "ramp": "noise_scale", "start": 5},
    "weight ramp": {
        "strategy": "curriculum",
        "ramp": "contrastive_weight",
        "start": 0,
        "ramp_share": 0.8,
        "fraction": 0.5,
        "filler": "natural",
    },
    "hardest natural": {"strategy": "hardest_n", "candidates": 5, "kept": 2},
    "hardest random": {"strategy": "hardest_n", "candidates": 3, "source": "random"},
    "ohem": {"strategy": "ohem", "kept_share": 0.4},
}


# Every schedule of the learning rate, for trainings of nine steps and more; by a name for each.
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"shape": "constant"},
    "warm-up": {"shape": "constant", "warmup_steps": 4},
    "cosine": {"shape": "cosine"},
    "cosine to a floor": {"shape": "cosine", "warmup_steps": 3, "floor_share": 0.1},
    "linear": {"shape": "linear", "warmup_steps": 1, "floor_share": 0.25},
}


def config(**changes: Any) -> IREDConfig:
    """Return a config that trains in milliseconds."""
    return IREDConfig.model_validate({**TINY, **changes})


_SCRATCH = tempfile.TemporaryDirectory()
atexit.register(_SCRATCH.cleanup)


def scratch() -> Path:
    """Return a new empty folder that lives as long as the tests run."""
    return Path(tempfile.mkdtemp(dir=_SCRATCH.name))


@dataclass(frozen=True)
class FakeRun:
    """A run as the pipeline would hand it over."""

    run_id: str
    seed: int
    config: IREDConfig
    directory: Path = field(default_factory=scratch)


@dataclass
class FakeContext:
    """Remembers reports; asks to stop once it was asked `stop_after` times."""

    stop_after: int | None = None
    asked: int = 0
    reports: dict[str, list[tuple[int, int, dict[str, float]]]] = field(default_factory=dict)

    def report(
        self, run: FakeRun, *, step: int, total_steps: int, values: Mapping[str, float]
    ) -> None:
        """Remember a report."""
        self.reports.setdefault(run.run_id, []).append((step, total_steps, dict(values)))

    def should_stop(self) -> bool:
        """Count, and ask to stop when it is time."""
        self.asked += 1
        return self.stop_after is not None and self.asked > self.stop_after


def weights(layout: Layout, seeds: list[int]) -> Tensor:
    """Return the initial weights of a stack in float64, (S, P)."""
    return torch.stack([initial_weights(seed, layout) for seed in seeds]).double()


def batch(
    models: int, size: int, n: int, diffusion_steps: int, seed: int = 0, negatives: int = 1
) -> Batch:
    """Return an arbitrary batch in float64 with all kinds of noise, `negatives` of a sample."""
    g = torch.Generator().manual_seed(seed)
    R = 2 * torch.rand(models, size, n, n, generator=g, dtype=torch.float64) - 1
    A = 2 * R @ R.mT + 0.5 * torch.eye(n, dtype=torch.float64)
    t = torch.randint(diffusion_steps, (models, size), generator=g)
    eps, contrast, drawn = (
        torch.randn(models, count * size, n * n, generator=g, dtype=torch.float64)
        for count in (1, 1, negatives)
    )
    return Batch(A.flatten(2), torch.linalg.inv(A).flatten(2), t, eps, contrast, drawn)


def draws_of(batch: Batch, index: int) -> oracle.Draws:
    """Return model `index` of a batch as the oracle takes it; noise not drawn is nan."""
    missing = torch.full_like(batch.eps[index], torch.nan)
    return oracle.Draws(
        batch.A[index],
        batch.y[index],
        batch.t[index],
        batch.eps[index],
        missing if batch.contrast_eps is None else batch.contrast_eps[index],
        missing if batch.negatives is None else batch.negatives[index],
    )


def parameters_of(flat: Tensor, layout: Layout, index: int) -> oracle.Parameters:
    """Return model `index` as the oracle takes it."""
    return {
        name: value.requires_grad_(True)
        for name, value in export_model(flat, layout, index).items()
    }


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference in units of the largest entry."""
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-300))


def poison_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first model of every stack begin with weights that are no numbers."""
    initial = Stack.initial_weights

    def poisoned(self: Stack) -> Tensor:
        weights = initial(self)
        weights[0] = torch.nan
        return weights

    monkeypatch.setattr(Stack, "initial_weights", poisoned)
