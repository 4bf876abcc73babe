"""Progress of a stack: what is reported while it trains, and when."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from training.data import held_out_set
from training.evaluate import Evaluator, held_out_chunks
from training.loss import Losses
from training.stack import Stack, State

REPORT_SECONDS = 1.0

# Called with the step, and for each run its values, or None for a run that has failed.
Observer = Callable[[int, list[dict[str, float] | None]], None]


class Watch:
    """Turns what the device counts into reports, about once a second and at points of the curve.

    Reading a value makes the host wait for the device, so nothing is read in other steps.
    """

    def __init__(self, stack: Stack, state: State, observe: Observer) -> None:
        config = stack.config
        self.config, self.state, self.observe = config, state, observe
        self.curve_set = held_out_set(
            config.held_out_seed, "validation", config.curve_size, config.matrix_size, config.ridge
        )
        self.evaluator = Evaluator(stack)
        self.clipped = torch.zeros(len(stack.seeds), device=stack.device)  # since the last report
        self.reported_step = 0
        self.reported_at = time.monotonic()

    def start(self) -> None:
        """Report the models as they were initialised."""
        self._report({"validation_mse": self._curve_point()})

    def after_step(self, losses: Losses, norms: Tensor) -> bool:
        """Take note of a step; True when it was reported."""
        self.clipped += norms > self.config.grad_clip
        step = self.state.step
        on_curve = step % self.config.curve_every == 0
        due = time.monotonic() - self.reported_at >= REPORT_SECONDS
        if not (on_curve or due or step == self.config.steps):
            return False
        values = {
            "loss": losses.total.tolist(),
            "denoising_loss": losses.denoising.tolist(),
            "gradient_norm": norms.tolist(),
            "clipped_share": (self.clipped / (step - self.reported_step)).tolist(),
        }
        if losses.contrastive is not None:
            values["contrastive_loss"] = losses.contrastive.tolist()
        if losses.reverted is not None:
            values["reverted_share"] = losses.reverted.tolist()
        if on_curve:
            values["validation_mse"] = self._curve_point()
        self.clipped.zero_()
        self._report(values)
        return True

    def _curve_point(self) -> list[float]:
        errors = self.evaluator.errors(
            self.state.average, held_out_chunks(self.curve_set), should_stop=lambda: False
        )
        assert errors is not None
        return errors.mean(1).tolist()

    def _report(self, values: dict[str, list[float]]) -> None:
        per_run: list[dict[str, float] | None] = []
        for index, failure in enumerate(self.state.failures()):
            numbers = {name: column[index] for name, column in values.items()}
            finite = {name: number for name, number in numbers.items() if math.isfinite(number)}
            per_run.append(None if failure else finite)
        self.observe(self.state.step, per_run)
        self.reported_step = self.state.step
        self.reported_at = time.monotonic()
