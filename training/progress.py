"""Progress of a stack: what is reported while it trains, and when."""

import math
import time
from collections.abc import Callable

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

    Reading a value makes the host wait for the device, so nothing is read in other steps. What a
    point of the curve says is a function of the step, not of when the reports between came.
    """

    def __init__(self, stack: Stack, state: State, observe: Observer) -> None:
        config = stack.config
        self.config, self.state, self.observe = config, state, observe
        self.learning_rates = stack.learning_rates
        self.curve_set = held_out_set(
            config.held_out_seed, "validation", config.curve_size, config.matrix_size, config.ridge
        )
        self.evaluator = Evaluator(stack)
        self.reported_at = time.monotonic()

    def start(self) -> None:
        """Report the models as they were initialised, or the curve up to where they go on."""
        if self.state.step == 0:
            self._report({"validation_mse": self._curve_point()}, on_curve=True)
            return
        curves = [dict(curve) for curve in self.state.curves]
        for step in sorted(set().union(*curves)):
            values = [curve.get(step) for curve in curves]
            self.observe(step, [point and {**point, "restored": 1} for point in values])
        self._report({}, on_curve=False)

    def after_step(self, losses: Losses, norms: Tensor) -> bool:
        """Take note of a step; True when it was reported."""
        state, every = self.state, self.config.curve_every
        state.clipped += norms > self.config.grad_clip
        on_curve = state.step % every == 0
        due = time.monotonic() - self.reported_at >= REPORT_SECONDS
        if not (on_curve or due or state.step == self.config.steps):
            return False
        steps = (state.step - 1) % every + 1  # since the last point of the curve
        values = {
            "loss": losses.total.tolist(),
            "denoising_loss": losses.denoising.tolist(),
            "learning_rate": self.learning_rates.at(state.step),
            "gradient_norm": norms.tolist(),
            "clipped_share": (state.clipped / steps).tolist(),
        }
        if losses.contrastive is not None:
            values["contrastive_loss"] = losses.contrastive.tolist()
        if losses.reverted is not None:
            values["reverted_share"] = losses.reverted.tolist()
        if on_curve:
            values["validation_mse"] = self._curve_point()
            state.clipped.zero_()
        self._report(values, on_curve=on_curve)
        return True

    def _curve_point(self) -> list[float]:
        errors = self.evaluator.errors(
            self.state.average, held_out_chunks(self.curve_set), _to_the_end
        )
        assert errors is not None
        return errors.mean(1).tolist()

    def _report(self, values: dict[str, list[float]], *, on_curve: bool) -> None:
        per_run: list[dict[str, float] | None] = []
        for index, failure in enumerate(self.state.failures()):
            numbers = {name: column[index] for name, column in values.items()}
            finite = {name: number for name, number in numbers.items() if math.isfinite(number)}
            per_run.append(None if failure else finite)
            if on_curve and not failure:
                self.state.curves[index].append((self.state.step, finite))
        self.observe(self.state.step, per_run)
        self.reported_at = time.monotonic()


def _to_the_end(count: int) -> bool:
    del count
    return True


class EvaluationWatch:
    """Reports how much of the final evaluation is done, about once a second."""

    def __init__(
        self, state: State, matrices: int, observe: Observer, should_stop: Callable[[], bool]
    ) -> None:
        self.state, self.matrices, self.observe = state, matrices, observe
        self.should_stop = should_stop
        self.done = 0
        self.reported_at = time.monotonic()

    def go_on(self, count: int) -> bool:
        """Take note that `count` matrices are next; False when asked to stop."""
        if time.monotonic() - self.reported_at >= REPORT_SECONDS:
            share = {"evaluated_share": self.done / self.matrices}
            failures = self.state.failures()
            self.observe(self.state.step, [None if failure else share for failure in failures])
            self.reported_at = time.monotonic()
        self.done += count
        return not self.should_stop()
