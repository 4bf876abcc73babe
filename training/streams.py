"""Random streams: what may depend on a seed, each purpose with a generator of its own.

A run's stream is a function of its seed and the purpose alone. So equal seeds see equal data,
initial weights and noise in every condition (a draw for mining cannot shift the others), and
nothing a run draws depends on the runs it is stacked with.
"""

import hashlib
from typing import Literal

import torch

Purpose = Literal[
    "init",  # weights before the first step
    "data",  # training matrices
    "noise",  # t and eps of the denoising loss
    "contrast",  # noise shared by the positive and the negative of a contrastive pair
    "mining",  # negatives that are drawn rather than optimised
    "validation",  # the held-out sets, from the study's held_out_seed
    "test",
    "harder",
    "probes",  # matrices that diagnostics are recorded on, from the same seed, and what goes with
    "probe noise",  # them: noise of the two losses,
    "probe negatives",  # random negatives,
    "probe directions",  # and directions that solutions are projected on
    "reference fit",  # matrices the reference predictors are fitted on
    "sampler start",  # noise the sampler starts from
]


def generator(seed: int, purpose: Purpose, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the stream of `purpose` for `seed`, at its beginning.

    The purpose is hashed together with the seed rather than added to it, so that no seed's data
    stream is another seed's noise. Streams of one (seed, purpose) differ between CPU and GPU.
    """
    digest = hashlib.sha256(f"{purpose}/{seed}".encode()).digest()
    stream = torch.Generator(device)
    stream.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return stream


def normal(stream: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Draw N(0, 1) in float32 and convert, so that every precision sees the same noise."""
    draws = torch.randn(shape, generator=stream, dtype=torch.float32, device=stream.device)
    return draws.to(dtype)
