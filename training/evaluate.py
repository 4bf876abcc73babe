"""Scores of a stack of models: the sampler on many matrices, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.background import Check
from training.batches import BatchSource
from training.config import IREDConfig
from training.data import HELD_OUT, HeldOutName, HeldOutSet, held_out_set
from training.diffusion import UNCOMPILED, Network, sample
from training.outcome import Measurement, measure
from training.references import fit_references, score_references
from training.stack import Stack
from training.streams import generator, normal
from training.weights import Weights, unflatten

# Matrices per sampler call: 50 MB per model of the published size, and enough to fill a GPU.
BLOCK = 1024

# Matrices the reference predictors are fitted on: 160 per coefficient of the largest at n = 20.
REFERENCE_FIT = 65_536

# Asked before each chunk of matrices, with their number; False stops the evaluation.
GoOn = Callable[[int], bool]

Chunks = Iterable[tuple[Tensor, Tensor]]  # A and y, each (1 or S, b, D), b <= BLOCK


class Evaluator:
    """Scores models of one config; the noise it starts from is the same for every run."""

    def __init__(self, stack: Stack) -> None:
        self.config, self.layout, self.groups = stack.config, stack.layout, stack.groups
        self.features, self.schedule = stack.features(), stack.schedule()
        self.compiled = Network(
            stack.compiler(UNCOMPILED.energy_and_slope), stack.compiler(UNCOMPILED.energy)
        )

    def errors(self, flat: Tensor, chunks: Chunks, go_on: GoOn) -> Tensor | None:
        """Return the mean squared error of each matrix, (S, count) float64 on the CPU.

        `flat` are the weights, (S, P). None when told to stop.
        """
        groups = [unflatten(flat[group], self.layout) for group in self.groups]
        # Drawn on the CPU: a run is scored on the same noise whatever it was trained on.
        noise = generator(self.config.held_out_seed, "sampler start")
        errors = []
        for chunk in chunks:
            if not go_on(chunk[0].shape[1]):
                return None
            A, y = (part.to(flat.device, flat.dtype).expand(len(flat), -1, -1) for part in chunk)
            start = normal(noise, (BLOCK, self.layout.features), flat.dtype)[: A.shape[1]]
            start = start.to(flat.device).expand_as(A)
            solution = torch.cat(
                [
                    self._sample(weights, A[group], start[group])
                    for weights, group in zip(groups, self.groups, strict=True)
                ]
            )
            errors.append((solution - y).double().square().mean(2).cpu())
        return torch.cat(errors, dim=1)

    def _sample(self, weights: Weights, A: Tensor, start: Tensor) -> Tensor:
        return sample(
            weights,
            self.features,
            self.schedule,
            # Copies of what is shared by models: each further layout would be compiled anew.
            A.clone(memory_format=torch.contiguous_format),
            start.clone(memory_format=torch.contiguous_format),
            self.config.sampler_inner_steps,
            quirks=self.config.reference_quirks,
            # For the same reason, only full chunks are for the compiled network.
            network=self.compiled if A.shape[1] == BLOCK else UNCOMPILED,
        )


def held_out_chunks(held_out: HeldOutSet, count: int | None = None) -> Chunks:
    """Split the first `count` matrices of a held-out set, shared by all models."""
    A, y = held_out.A[None, :count], held_out.y[None, :count]
    return zip(torch.split(A, BLOCK, dim=1), torch.split(y, BLOCK, dim=1), strict=True)


def training_chunks(source: BatchSource, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw the first `count` matrices that each run was trained on from a source at its start."""
    left = count
    while left > 0:
        A, y = (part[:, :left] for part in source.matrices())
        left -= A.shape[1]
        yield from zip(torch.split(A, BLOCK, dim=1), torch.split(y, BLOCK, dim=1), strict=True)


class Scores(NamedTuple):
    """Final scores of a stack."""

    metrics: list[dict[str, Measurement]]  # of each run
    references: Mapping[str, Mapping[str, Measurement]]  # by metric
    digests: Mapping[str, str]  # by held-out set


def evaluation_size(config: IREDConfig) -> int:
    """Return the number of matrices `score` evaluates, over all sets."""
    return _train_count(config) + len(HELD_OUT) * config.held_out_size


References = dict[str, Mapping[str, Measurement]]
"""Scores of the reference predictors, by metric."""


def reference_scores(config: IREDConfig, check: Check = lambda: None) -> References:
    """Fit the reference predictors to matrices of their own, score them on each held-out set.

    `check` is called every few seconds; what it raises ends the work.
    """
    n = config.matrix_size
    fit = held_out_set(config.held_out_seed, "reference fit", REFERENCE_FIT, n, config.ridge)
    check()
    predictors = fit_references(*_matrices(fit, n))
    scores: References = {}
    for name in HELD_OUT:
        A, y = _matrices(_held_out(config, name), n)
        measured: dict[str, Measurement] = {}
        for predictor, predict in predictors.items():
            check()
            measured |= score_references({predictor: predict}, A, y)
        scores[f"{name}_mse"] = measured
    return scores


def _held_out(config: IREDConfig, name: HeldOutName) -> HeldOutSet:
    ridge = config.harder_ridge if name == "harder" else config.ridge
    return held_out_set(config.held_out_seed, name, config.held_out_size, config.matrix_size, ridge)


def score(
    stack: Stack, flat: Tensor, go_on: GoOn, references: Callable[[], References]
) -> Scores | None:
    """Score weights (S, P) on the beginning of their training stream and on each held-out set.

    None when told to stop before the end. `references` gives the `reference_scores` of the config.
    """
    config = stack.config
    evaluator = Evaluator(stack)
    chunks = training_chunks(stack.batches(), _train_count(config))
    errors = evaluator.errors(flat, chunks, go_on)
    if errors is None:
        return None
    metrics = [{"train_mse": measure(row.numpy())} for row in errors]

    digests: dict[str, str] = {}
    for name in HELD_OUT:
        held_out = _held_out(config, name)
        errors = evaluator.errors(flat, held_out_chunks(held_out), go_on)
        if errors is None:
            return None
        for metric, row in zip(metrics, errors, strict=True):
            metric[f"{name}_mse"] = measure(row.numpy())
        digests[name] = held_out.digest
    return Scores(metrics, references(), digests)


def _train_count(config: IREDConfig) -> int:
    return min(config.held_out_size, config.steps * config.batch_size)


def _matrices(held_out: HeldOutSet, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    A, y = (part.numpy().reshape(-1, n, n) for part in (held_out.A, held_out.y))
    return A, y
