"""The trainer seam: what a study's `trainer = "module:Class"` must offer, and its loader.

A trainer is a plain class with these attributes and methods; nothing is inherited and nothing of
this module needs to be imported by it (the protocols are structural). Its module must import
without torch: `config_type`, `metrics`, `stack_key` and `total_steps` are used on the login node.
"""

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from pydantic import BaseModel

from pipeline.errors import PipelineError
from pipeline.validation import suggest


class TrainingRun(Protocol):
    """One run as the trainer sees it."""

    @property
    def run_id(self) -> str:
        """Name of the run, unique in its phase."""

    @property
    def seed(self) -> int:
        """Decides data, initial weights and noise, in every condition alike."""

    @property
    def config(self) -> Any:
        """The resolved config, an instance of the trainer's `config_type`.

        Read what you need of it by attribute: a key that training never reads stops the study
        with an alarm, as whoever sets it would believe that it matters. Dumping the config counts
        as reading all of it. What only some settings need belongs into a discriminated union.
        """

    @property
    def directory(self) -> Path:
        """Folder of this attempt alone; it exists.

        What the trainer keeps there under a name that begins with "checkpoint" (files or folders)
        is found in the folder of the next attempt at the run, and not by it: an attempt that lives
        on by mistake cannot touch what its successor goes on from, if it writes a checkpoint anew
        and renames it rather than change one in place.
        """


class TrainingContext(Protocol):
    """What the worker offers a trainer while it trains."""

    def report(
        self, run: TrainingRun, *, step: int, total_steps: int, values: Mapping[str, float]
    ) -> None:
        """Append one line to the run's metrics.jsonl: progress and points of curves."""

    def should_stop(self) -> bool:
        """True once the job was asked to end (SIGUSR2, SIGTERM): checkpoint and return soon."""


class Measurement(Protocol):
    """A mean over `count` evaluated items with its standard error, in the metric's unit."""

    @property
    def value(self) -> float:
        """The mean."""

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, from the spread over the evaluated items."""

    @property
    def count(self) -> int:
        """Number of evaluated items."""


class TrainingOutcome(Protocol):
    """What training one run came to."""

    @property
    def run_id(self) -> str:
        """The run this is about."""

    @property
    def failure(self) -> str | None:
        """None when training ended well, else one line such as "loss is nan at step 311"."""

    @property
    def metrics(self) -> Mapping[str, Measurement]:
        """Final value of every name in the trainer's `metrics`; empty after a failure."""

    @property
    def references(self) -> Mapping[str, Mapping[str, Measurement]]:
        """Trivial predictors on the same held-out data: metric name -> predictor -> value."""

    @property
    def data_digests(self) -> Mapping[str, str]:
        """SHA-256 of each held-out set the metrics were measured on, by its name."""

    @property
    def details(self) -> Mapping[str, str | int | float]:
        """Facts for the record: device, parameters, train_seconds, precision, versions, ...

        With a `weights_digest` (of the final weights) results count as identical only when the
        weights are.
        """


@runtime_checkable
class RecordingOutcome(TrainingOutcome, Protocol):
    """An outcome with more than metrics; a trainer that records nothing needs none of this."""

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """Numbers of the run that explain rather than score it, by name; all finite."""

    @property
    def artefacts(self) -> Mapping[str, str]:
        """Files of results that the trainer left in `directory`: what it is -> file name.

        A phase of kind diagnostics takes the file called "diagnostics", an archive of arrays as
        `pipeline.analysis.recording` describes it; the config key of that name asks for it.
        """


@runtime_checkable
class Trainer(Protocol):
    """Trains stacks of runs; instantiated without arguments."""

    config_type: ClassVar[type[BaseModel]]
    """Config of one run; must forbid unknown keys."""

    metrics: ClassVar[tuple[str, ...]]
    """Names of the final metrics, so that a typo in a study dies before anything is submitted."""

    def stack_key(self, config: Any) -> str:
        """Runs whose keys are equal may be trained together in one process."""

    def total_steps(self, config: Any) -> int:
        """Number of optimiser steps of a run, for forecasts."""

    def train(
        self, runs: Sequence[TrainingRun], context: TrainingContext
    ) -> Iterable[TrainingOutcome]:
        """Train the runs (equal stack keys) and yield an outcome for each that ended.

        A run without an outcome counts as not ended: that is how a trainer answers
        `should_stop()`.
        """


def load_trainer(reference: str, workspace: Path) -> Trainer:
    """Return an instance of the trainer that "package.module:Class" names.

    Modules are looked up among the installed ones first, then in the workspace.

    Raises:
        PipelineError: the module or class does not exist, or it is no trainer.
    """
    module_name, colon, class_name = reference.partition(":")
    if not (module_name and colon and class_name):
        raise PipelineError(f'trainer = "{reference}" is not of the form "package.module:Class"')
    if str(workspace) not in sys.path:
        sys.path.append(str(workspace))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f'trainer = "{reference}": cannot import {module_name} '
            f"({type(error).__name__}: {error}); "
            "is it installed in this environment?"
        ) from error
    trainer_type = getattr(module, class_name, None)
    if trainer_type is None:
        near = suggest(class_name, [name for name in vars(module) if not name.startswith("_")])
        raise PipelineError(
            f'trainer = "{reference}": {module_name} has no class {class_name}{near}'
        )
    missing = [
        name
        for name in ("config_type", "metrics", "stack_key", "total_steps", "train")
        if not hasattr(trainer_type, name)
    ]
    if missing:
        raise PipelineError(
            f'trainer = "{reference}": {class_name} lacks {", ".join(missing)} '
            "(see pipeline/trainer.py for what a trainer offers)"
        )
    try:
        return cast(Trainer, trainer_type())
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f'trainer = "{reference}": {class_name}() fails ({type(error).__name__}: {error})'
        ) from error
