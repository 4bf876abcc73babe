"""What a training step consumes: matrices, noise levels and noise for every model of a stack."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor

from training.config import IREDConfig
from training.data import draw_matrices
from training.streams import Purpose, generator, normal


class Batch(NamedTuple):
    """One training batch per model."""

    A: Tensor  # (S, B, D)
    y: Tensor  # (S, B, D), the inverses
    t: Tensor  # (S, B) of int64
    eps: Tensor  # (S, B, D), noise of the denoising loss
    contrast_eps: Tensor | None  # (S, B, D), noise of positives and negatives
    negatives: Tensor | None  # (S, B, D), N(0, 1) that random negatives are made of


class BatchSource:
    """Draws the batches of a stack: once per distinct seed, shared by the runs that have it."""

    def __init__(
        self, config: IREDConfig, seeds: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.config = config
        self.dtype = dtype
        purposes: list[Purpose] = ["data", "noise"]
        if config.mining.strategy != "none":
            purposes.append("contrast")
        if config.mining.strategy == "random":
            purposes.append("mining")
        distinct = sorted(set(seeds))
        self.streams = {
            purpose: [generator(seed, purpose, device) for seed in distinct] for purpose in purposes
        }
        self.index = torch.tensor([distinct.index(seed) for seed in seeds], device=device)
        self.shared = distinct != list(seeds)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Draw the next A and y of every run, (S, B, D)."""
        config = self.config
        drawn = [
            draw_matrices(stream, config.batch_size, config.matrix_size, config.ridge, self.dtype)
            for stream in self.streams["data"]
        ]
        return self._per_run([A for A, _ in drawn]), self._per_run([y for _, y in drawn])

    def next(self) -> Batch:
        """Draw the next batch; what a strategy does not use is not drawn."""
        T, B = self.config.diffusion_steps, self.config.batch_size
        A, y = self.matrices()
        t = self._per_run(
            [
                torch.randint(T, (B,), generator=stream, device=stream.device)
                for stream in self.streams["noise"]
            ]
        )
        return Batch(
            A, y, t, self._normal("noise"), self._normal("contrast"), self._normal("mining")
        )

    @overload
    def _normal(self, purpose: Literal["noise"]) -> Tensor: ...
    @overload
    def _normal(self, purpose: Purpose) -> Tensor | None: ...
    def _normal(self, purpose: Purpose) -> Tensor | None:
        if purpose not in self.streams:
            return None
        shape = (self.config.batch_size, self.config.matrix_size**2)
        return self._per_run(
            [normal(stream, shape, self.dtype) for stream in self.streams[purpose]]
        )

    def _per_run(self, per_seed: list[Tensor]) -> Tensor:
        stacked = torch.stack(per_seed)
        return stacked[self.index] if self.shared else stacked
