"""What a training step consumes: matrices, noise levels and noise for every model of a stack."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from training.config import IREDConfig
from training.data import matrices
from training.strategies import ContrastiveMining, drawn_negatives
from training.streams import Purpose, generator


class Batch(NamedTuple):
    """One training batch per model."""

    A: Tensor  # (S, B, D)
    y: Tensor  # (S, B, D), the inverses
    t: Tensor  # (S, B) of int64
    eps: Tensor  # (S, B, D), noise of the denoising loss
    contrast_eps: Tensor | None  # (S, B, D), noise of positives and negatives
    negatives: Tensor | None  # (S, M B, D), N(0, 1) that random negatives are made of, M a sample


Drawn = dict[Purpose, tuple[Tensor, ...]]
"""What was read from the streams: for each purpose its tensors, (seeds, B, ...) each."""

# R (seeds, B, n, n), the ridge and a type -> A and y of R
MakeMatrices = Callable[[Tensor, float, torch.dtype], tuple[Tensor, Tensor]]

# Numbers in a draw from which it is worth a thread of its own.
THREADED_DRAW = 2**16


class BatchSource:
    """Draws the batches of a stack: once per distinct seed, shared by the runs that have it."""

    def __init__(
        self,
        config: IREDConfig,
        seeds: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        make: MakeMatrices = matrices,
    ) -> None:
        self.config = config
        self.dtype = dtype
        self.make = make
        purposes: list[Purpose] = ["data", "noise"]
        if isinstance(config.mining, ContrastiveMining):
            purposes.append("contrast")
        if drawn_negatives(config.mining):
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
        return self.batch(self.draw())

    def draw(self, into: Drawn | None = None) -> Drawn:
        """Read the streams for one batch, into tensors of an earlier draw where given."""
        return self._fill_all(into) if into else self._draw(*self.streams)

    def batch(self, drawn: Drawn) -> Batch:
        """Make a batch of what was drawn; overwrites it."""
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

    def _draw(self, *purposes: Purpose) -> Drawn:
        """Read streams once."""
        return self._fill_all({purpose: self._empty(purpose) for purpose in purposes})

    def _fill_all(self, drawn: Drawn) -> Drawn:
        tasks = [
            (stream, [tensor[seed] for tensor in drawn[purpose]])
            for purpose in drawn
            for seed, stream in enumerate(self.streams[purpose])
        ]
        # Threads only fill: what they allocated or computed would be in memory and with helpers
        # of their own, and slower than without them.
        list((self.pool.map if self.pool else map)(self._fill, tasks))
        return drawn

    def _empty(self, purpose: Purpose) -> tuple[Tensor, ...]:
        seeds, B, n = len(self.streams[purpose]), self.config.batch_size, self.config.matrix_size
        device = self.index.device
        if purpose == "data":
            return (torch.empty(seeds, B, n, n, device=device),)
        per_sample = drawn_negatives(self.config.mining) if purpose == "mining" else 1
        values = torch.empty(seeds, per_sample * B, n * n, device=device)
        if purpose == "noise":
            return torch.empty(seeds, B, dtype=torch.int64, device=device), values
        return (values,)

    @torch.inference_mode()  # a mode of the thread, so the caller's does not reach here
    def _fill(self, task: tuple[torch.Generator, list[Tensor]]) -> None:
        stream, tensors = task
        for tensor in tensors:
            if tensor.dtype == torch.int64:  # noise levels
                tensor.random_(0, self.config.diffusion_steps, generator=stream)
            elif tensor.ndim == 3:  # roots, (B, n, n)
                tensor.uniform_(generator=stream)
            else:
                tensor.normal_(generator=stream)

    def _matrices(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        R = drawn["data"][0].mul_(2).sub_(1)  # as `draw_roots` does
        A, y = self.make(R, self.config.ridge, self.dtype)
        return self._for_runs(A), self._for_runs(y)

    def _with_noise(self, A: Tensor, y: Tensor, drawn: Drawn) -> Batch:
        t, eps = drawn["noise"]
        # Drawn in float32 and converted, so that every precision sees the same noise.
        contrast, negatives = (
            self._for_runs(drawn[purpose][0].to(self.dtype)) if purpose in drawn else None
            for purpose in ("contrast", "mining")
        )
        eps = self._for_runs(eps.to(self.dtype))
        return Batch(A, y, self._for_runs(t), eps, contrast, negatives)

    def _for_runs(self, by_seed: Tensor) -> Tensor:
        """Repeat what was drawn per distinct seed, (seeds, ...), for each run: (S, ...)."""
        return by_seed[self.index] if self.shared else by_seed
