"""What a training step consumes: matrices, noise levels and noise for every model of a stack."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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


_Drawn = dict[Purpose, tuple[Tensor, ...]]

# Numbers in a draw from which it is worth a thread of its own.
THREADED_DRAW = 2**16


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
        # A generator draws on one core; streams are independent, so several can at a time. What is
        # drawn does not depend on it.
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        large = config.batch_size * config.matrix_size**2 >= THREADED_DRAW
        self.pool = ThreadPoolExecutor(threads) if threads > 1 and large else None

    def next(self) -> Batch:
        """Draw the next batch; what a strategy does not use is not drawn."""
        drawn = self._draw(*self.streams)
        return self._with_noise(*self._matrices(drawn), drawn)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Draw the next A and y of every run, (S, B, D), and no noise."""
        return self._matrices(self._draw("data"))

    def with_noise(self, A: Tensor, y: Tensor) -> Batch:
        """Draw the next noise for matrices."""
        return self._with_noise(A, y, self._draw(*(p for p in self.streams if p != "data")))

    def positions(self, run: int) -> dict[Purpose, Tensor]:
        """Return how far a run's streams have been read, by purpose."""
        seed = int(self.index[run])
        return {purpose: streams[seed].get_state() for purpose, streams in self.streams.items()}

    def seek(self, run: int, positions: Mapping[str, Tensor]) -> None:
        """Bring a run's streams, and those of the runs that share its seed, to `positions`."""
        seed = int(self.index[run])
        for purpose, streams in self.streams.items():
            streams[seed].set_state(positions[purpose])

    def _draw(self, *purposes: Purpose) -> _Drawn:
        """Read streams once: for each purpose its tensors, (seeds, B, ...) each."""
        tasks = [(purpose, stream) for purpose in purposes for stream in self.streams[purpose]]
        results = iter((self.pool.map if self.pool else map)(self._draw_one, tasks))
        return {
            purpose: tuple(
                parts[0][None] if len(parts) == 1 else torch.stack(parts)
                for parts in zip(*(next(results) for _ in self.streams[purpose]), strict=True)
            )
            for purpose in purposes
        }

    def _draw_one(self, task: tuple[Purpose, torch.Generator]) -> tuple[Tensor, ...]:
        purpose, stream = task
        B, n = self.config.batch_size, self.config.matrix_size
        if purpose == "data":
            return (draw_roots(stream, B, n),)
        if purpose == "noise":
            T = self.config.diffusion_steps
            t = torch.randint(T, (B,), generator=stream, device=stream.device)
            return t, normal(stream, (B, n * n), self.dtype)
        return (normal(stream, (B, n * n), self.dtype),)

    def _matrices(self, drawn: _Drawn) -> tuple[Tensor, Tensor]:
        A, y = matrices(drawn["data"][0], self.config.ridge, self.dtype)
        return self._for_runs(A), self._for_runs(y)

    def _with_noise(self, A: Tensor, y: Tensor, drawn: _Drawn) -> Batch:
        t, eps = (self._for_runs(part) for part in drawn["noise"])
        contrast, negatives = (
            self._for_runs(drawn[purpose][0]) if purpose in drawn else None
            for purpose in ("contrast", "mining")
        )
        return Batch(A, y, t, eps, contrast, negatives)

    def _for_runs(self, by_seed: Tensor) -> Tensor:
        """Repeat what was drawn per distinct seed, (seeds, ...), for each run: (S, ...)."""
        return by_seed[self.index] if self.shared else by_seed
