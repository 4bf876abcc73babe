"""Operation counts against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.training.helpers import batch, config, weights
from training.cost import step_flop
from training.loss import loss_and_gradient
from training.stack import Stack
from training.weights import unflatten


@pytest.mark.parametrize("strategy", ["none", "random", "adversarial"])
def test_counts_are_torchs_up_to_the_time_network(strategy: str) -> None:
    """What is left out is under a twentieth of it at a width where layers matter."""
    setting = config(
        matrix_size=10,
        hidden_width=256,
        batch_size=512,
        mining={"strategy": strategy},
        precision="fp64",
    )
    stack = Stack([setting], [0], torch.device("cpu"))
    flat = unflatten(weights(stack.layout, [0]), stack.layout)
    drawn = batch(1, 512, 10, 10)
    with FlopCounterMode(display=False) as counter:
        loss_and_gradient(
            flat,
            stack.features(),
            stack.schedule(),
            drawn,
            setting.mining,
            stack.contrastive_weight,
            stack.noise_scale,
        )
    assert step_flop(setting) == pytest.approx(counter.get_total_flops(), rel=0.05)
