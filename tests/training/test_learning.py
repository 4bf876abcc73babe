"""The point of it all: training learns to invert."""

import pytest

from tests.training.helpers import FakeContext, FakeRun, config
from training.trainer import IREDTrainer


@pytest.mark.slow
def test_training_beats_the_linear_predictor() -> None:
    """After 600 steps at miniature size both conditions invert better than any linear map."""
    for strategy in ("none", "adversarial"):
        setting = config(
            matrix_size=4,
            hidden_width=64,
            batch_size=256,
            steps=600,
            learning_rate=2e-3,
            ema_warmup=100,
            sampler_inner_steps=5,
            held_out_size=1024,
            curve_every=600,
            mining={"strategy": strategy},
        )
        (outcome,) = IREDTrainer().train([FakeRun("run", 0, setting)], FakeContext())
        ours = outcome.metrics["validation_mse"]
        linear = outcome.references["validation_mse"]["linear"]
        assert ours.value + 5 * ours.standard_error < linear.value
