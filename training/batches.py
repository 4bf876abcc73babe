"""What a training step consumes: matrices, noise levels and noise for every model of a stack."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from training.config import IREDConfig
from training.data import draw_roots, matrices
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
        roots = [
            draw_roots(stream, config.batch_size, config.matrix_size)
            for stream in self.streams["data"]
        ]
        A, y = matrices(torch.stack(roots), config.ridge, self.dtype)
        return self._for_runs(A), self._for_runs(y)

    def next(self) -> Batch:
        """Draw the next batch."""
        return self.with_noise(*self.matrices())

    def with_noise(self, A: Tensor, y: Tensor) -> Batch:
        """Draw the next noise for matrices; what a strategy does not use is not drawn."""
        T, B = self.config.diffusion_steps, self.config.batch_size
        levels = [
            torch.randint(T, (B,), generator=stream, device=stream.device)
            for stream in self.streams["noise"]
        ]
        t = self._for_runs(torch.stack(levels))
        return Batch(
            A=A,
            y=y,
            t=t,
            eps=self._normal("noise"),
            contrast_eps=self._normal("contrast") if "contrast" in self.streams else None,
            negatives=self._normal("mining") if "mining" in self.streams else None,
        )

    def positions(self, run: int) -> dict[Purpose, Tensor]:
        """Return how far a run's streams have been read, by purpose."""
        seed = int(self.index[run])
        return {purpose: streams[seed].get_state() for purpose, streams in self.streams.items()}

    def seek(self, run: int, positions: Mapping[str, Tensor]) -> None:
        """Bring a run's streams, and those of the runs that share its seed, to `positions`."""
        seed = int(self.index[run])
        for purpose, streams in self.streams.items():
            streams[seed].set_state(positions[purpose])

    def _normal(self, purpose: Purpose) -> Tensor:
        shape = (self.config.batch_size, self.config.matrix_size**2)
        draws = [normal(stream, shape, self.dtype) for stream in self.streams[purpose]]
        return self._for_runs(torch.stack(draws))

    def _for_runs(self, by_seed: Tensor) -> Tensor:
        """Repeat what was drawn per distinct seed, (seeds, ...), for each run: (S, ...)."""
        return by_seed[self.index] if self.shared else by_seed
