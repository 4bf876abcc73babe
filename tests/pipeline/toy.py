"""A trainer without torch that trains in milliseconds; tests copy this file into a workspace.

It descends a parabola whose floor depends on the condition, so that a study of it has a true
answer: a larger `handicap` is worse.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

HOLD = Path(__file__).with_name("hold")
"""While this file is there, beside the workspace's copy of this one, no run takes a step more; with
a node's name in it, none on that node."""


class Lift(BaseModel):
    """Settings in a table of their own; both move the loss."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: float = 0.0
    turns: int = 0


class Record(BaseModel):
    """What a run records beside its metrics."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int = 1


class ToyConfig(BaseModel):
    """Config of one toy run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = 5
    handicap: float = 0.0
    lift: Lift = Lift()
    diagnostics: Record | None = None
    step_s: float = 0.0
    fail_at: int | None = None
    """Step at which the loss becomes nan."""
    crash: bool = False
    needs_mb: int = 0
    """Memory without which it dies as if the kernel had killed it."""
    takes_mb: int = 0
    """Memory that it really takes, for a moment."""


@dataclass(frozen=True)
class ToyMeasurement:
    """A value with its standard error."""

    value: float
    standard_error: float = 0.001
    count: int = 100


@dataclass(frozen=True)
class ToyOutcome:
    """What a toy run came to."""

    run_id: str
    failure: str | None = None
    metrics: Mapping[str, ToyMeasurement] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, ToyMeasurement]] = field(default_factory=dict)
    data_digests: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str | int | float] = field(default_factory=dict)
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    artefacts: Mapping[str, str] = field(default_factory=dict)


class Run(Protocol):
    """The part of a training run that is used here."""

    @property
    def run_id(self) -> str: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def config(self) -> Any: ...  # noqa: D102
    @property
    def directory(self) -> Path: ...  # noqa: D102


class ToyTrainer:
    """Satisfies the trainer protocol."""

    config_type: ClassVar[type[BaseModel]] = ToyConfig
    metrics: ClassVar[tuple[str, ...]] = ("loss", "other_loss", "test_loss")

    def stack_key(self, config: ToyConfig) -> str:
        """All toy runs of equal length stack."""
        return f"steps={config.steps}"

    def total_steps(self, config: ToyConfig) -> int:
        """Steps of a run."""
        return config.steps

    def train(self, runs: Sequence[Run], context: Any) -> Iterator[ToyOutcome]:
        """Descend, report every step, and stop when asked to."""
        for run in runs:
            config = run.config
            if config.crash:
                raise RuntimeError(f"toy crash of {run.run_id}")
            _die_without(config.needs_mb)
            _take(config.takes_mb)
            first, total = _restored(run)
            for step in range(first, config.steps + 1):
                if context.should_stop():
                    content = json.dumps({"step": step, "total": total})
                    (run.directory / "checkpoint.pt").write_text(content)
                    return
                loss = 1.0 / (1 + step)
                total += loss
                context.report(run, step=step, total_steps=config.steps, values={"loss": loss})
                time.sleep(config.step_s)
                while _held() and not context.should_stop():
                    time.sleep(0.05)
            yield self._outcome(run, first, total)

    def _outcome(self, run: Run, first: int, total: float) -> ToyOutcome:
        if run.config.fail_at is not None:
            return ToyOutcome(run.run_id, failure=f"loss is nan at step {run.config.fail_at}")
        shared = random.Random(run.seed).gauss(0, 0.01)  # equal seeds share their luck
        own = random.Random(run.run_id).gauss(0, 0.002)
        lift = run.config.lift
        floor = run.config.handicap + lift.height + 0.01 * lift.turns
        value = ToyMeasurement(1.0 + floor + shared + own)
        record = run.config.diagnostics
        if record is not None:  # numbers alone, and a file that is no archive of arrays
            (run.directory / "diagnostics.npz").write_text(f"every {record.every} steps")
        test = ToyMeasurement(1 + floor + shared + own / 2)
        return ToyOutcome(
            run.run_id,
            metrics={"loss": value, "other_loss": value} | {"test_loss": test},
            references={"loss": {"zero": ToyMeasurement(1.5)}},
            data_digests={"validation": hashlib.sha256(b"toy").hexdigest()},
            details={
                "device": "cpu",
                "train_seconds": 0.01,
                "resumed_from_step": first,
                "total": total,
            },
            diagnostics={"luck": own} if record else {},
            artefacts={"diagnostics": "diagnostics.npz"} if record else {},
        )


def _restored(run: Run) -> tuple[int, float]:
    """First step to do, and the sum of the losses before it."""
    try:
        saved = json.loads((run.directory / "checkpoint.pt").read_text())
    except FileNotFoundError:
        return 0, 0.0
    return saved["step"], saved["total"]


def _held() -> bool:
    """Whether a test makes the runs on this node wait."""
    try:
        return HOLD.read_text() in ("", os.environ.get("SLURMD_NODENAME"))
    except FileNotFoundError:
        return False


def _take(size_mb: int) -> None:
    """Fill so much memory, and give it back."""
    b"x" * (size_mb << 20)


def _die_without(needs_mb: int) -> None:
    """Die as a process does whose cgroup is full."""
    if needs_mb > int(os.environ.get("SLURM_MEM_PER_NODE", needs_mb)):
        sys.stderr.write("kernel: oom-kill:constraint=CONSTRAINT_MEMCG,task=python\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
