"""The trainer a study names: IRED on matrix inversion. Importing this module imports no torch."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel

from training.config import IREDConfig, stack_key
from training.outcome import Measurement, Outcome

if TYPE_CHECKING:
    from training.evaluate import References, Scores
    from training.stack import Stack, State


class Run(Protocol):
    """What the trainer needs to know of a run."""

    @property
    def run_id(self) -> str:
        """Name of the run."""

    @property
    def seed(self) -> int:
        """Decides data, initial weights and noise, in every condition alike."""

    @property
    def config(self) -> IREDConfig:
        """The resolved config."""

    @property
    def directory(self) -> Path:
        """Folder of this attempt at the run; a checkpoint to go on from lies there already."""


class Context(Protocol):
    """What the trainer needs of whoever runs it."""

    def report(self, run: Any, *, step: int, total_steps: int, values: Mapping[str, float]) -> None:
        """Take note of a run's progress."""

    def should_stop(self) -> bool:
        """Say whether to return soon."""


class IREDTrainer:
    """Trains stacks of IRED models and scores the averaged weights of their last step."""

    config_type: ClassVar[type[BaseModel]] = IREDConfig
    metrics: ClassVar[tuple[str, ...]] = (
        "validation_mse",
        "test_mse",
        "harder_mse",
        "train_mse",
    )

    def stack_key(self, config: IREDConfig) -> str:
        """Runs whose keys are equal may train in one stack: all but per-model numbers agree."""
        return stack_key(config)

    def total_steps(self, config: IREDConfig) -> int:
        """Number of optimiser steps of a run."""
        return config.steps

    def train(self, runs: Sequence[Run], context: Context) -> Iterator[Outcome]:
        """Train the runs together and yield an outcome for each; none when asked to stop.

        Goes on where checkpoints in the runs' folders end, and leaves such behind (see
        `training.checkpoint`): in full where runs have not ended, without optimiser state for
        runs that ended well, none for runs that failed.

        Raises:
            ValueError: the runs' stack keys differ.
        """
        if len({stack_key(run.config) for run in runs}) != 1:
            raise ValueError("the runs of a stack differ in more than their per-model settings")
        # Imported here so that planning a study on a login node does not load torch.
        import torch

        from training.allocator import keep_freed_memory
        from training.checkpoint import Checkpoints
        from training.evaluate import evaluation_size, score
        from training.loop import train_stack
        from training.progress import EvaluationWatch
        from training.stack import Stack

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu":
            keep_freed_memory()
        stack = Stack([run.config for run in runs], [run.seed for run in runs], device)
        checkpoints = Checkpoints(stack, runs)
        steps = stack.config.steps

        def observe(step: int, values: list[dict[str, float] | None]) -> None:
            for run, numbers in zip(runs, values, strict=True):
                if numbers is not None:
                    context.report(run, step=step, total_steps=steps, values=numbers)

        with torch.inference_mode(), _references(stack) as references:
            state = train_stack(stack, observe, context.should_stop, checkpoints)
            trained_at = time.monotonic()
            scores = None
            if not all(state.failures()):
                if state.step == steps:
                    size = evaluation_size(stack.config)
                    watch = EvaluationWatch(state, size, observe, context.should_stop)
                    scores = score(stack, state.average, watch.go_on, references)
                if scores is None:
                    return  # asked to stop: the runs have not ended
        details = _details(stack, state, time.monotonic() - trained_at)
        details["resumed_from_step"] = checkpoints.resumed_step
        for index, run in enumerate(runs):
            outcome = _outcome(run, index, stack, state, scores, details)
            if outcome.failure:
                checkpoints.discard(index)
            yield outcome


@contextmanager
def _references(stack: "Stack") -> Iterator[Callable[[], "References"]]:
    """Give what the reference predictors score on the stack's held-out sets.

    That takes a minute of a core at the published size; where a GPU trains, beside the training.
    """
    from training.background import Background
    from training.evaluate import reference_scores

    work = partial(reference_scores, stack.config)
    if stack.device.type == "cpu":
        yield work
    else:
        with Background(work) as references:
            yield references


def _outcome(
    run: Run,
    index: int,
    stack: "Stack",
    state: "State",
    scores: "Scores | None",
    details: Mapping[str, str | int | float],
) -> Outcome:
    """Say what a run came to, and write the file of an instrumented one."""
    from training.diagnostics import NAME, save_diagnostics

    failure = state.failures()[index]
    if failure or scores is None:
        return Outcome(run.run_id, failure=failure, details=details)
    metrics = scores.metrics[index]
    failure = _not_finite(metrics)
    diagnostics: Mapping[str, float] = {}
    if state.records and not failure:
        diagnostics, failure = save_diagnostics(stack, state.records, index, run.directory)
    if failure:
        return Outcome(run.run_id, failure=failure, details=details)
    return Outcome(
        run.run_id,
        metrics=metrics,
        references=scores.references,
        data_digests=scores.digests,
        details=details,
        diagnostics=diagnostics,
        artefacts={"diagnostics": NAME} if diagnostics else {},
    )


def _not_finite(metrics: Mapping[str, Measurement]) -> str | None:
    # A last step can break a model whose last loss was still finite.
    for name, measurement in metrics.items():
        if not math.isfinite(measurement.value):
            return f"{name} is {measurement.value} after the last step"
    return None


def _details(
    stack: "Stack", state: "State", evaluation_seconds: float
) -> dict[str, str | int | float]:
    import torch

    cuda = stack.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(stack.device) if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "precision": stack.config.precision,
        "parameters": stack.layout.parameter_count(),
        "compiled": stack.compiler.summary(),
        "stack_size": len(stack.seeds),
        "train_seconds": state.seconds,
        "evaluation_seconds": evaluation_seconds,
        # Spent on the records of an instrumented stack; no part of train_seconds.
        **({"diagnostics_seconds": state.records.seconds} if state.records else {}),
    }
