"""Operation counts against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.training.helpers import MININGS, batch, config, weights
from training.cost import step_flop
from training.loss import loss_and_gradient
from training.stack import Stack
from training.strategies import drawn_negatives, mining_at
from training.weights import unflatten


@pytest.mark.parametrize("name", [name for name, table in MININGS.items() if "ramp" not in table])
def test_counts_are_torchs_up_to_the_time_network(name: str) -> None:
    """What is left out is under a twentieth of it at a width where layers matter."""
    setting = config(
        matrix_size=10,
        hidden_width=256,
        batch_size=512,
        mining=MININGS[name],
        precision="fp64",
    )
    stack = Stack([setting], [0], torch.device("cpu"))
    flat = unflatten(weights(stack.layout, [0]), stack.layout)
    drawn = batch(1, 512, 10, 10, negatives=max(1, drawn_negatives(setting.mining)))
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


@pytest.mark.parametrize("name", [name for name, table in MININGS.items() if "ramp" in table])
def test_a_curriculum_costs_the_mean_of_its_steps(name: str) -> None:
    """Over a training whose steps all parts of the ramp divide."""
    setting = config(mining=MININGS[name], batch_size=100, steps=1000)
    each = [
        step_flop(setting.model_copy(update={"mining": mining_at(setting.mining, step, 1000)}))
        for step in range(1, 1001)
    ]
    assert step_flop(setting) == pytest.approx(sum(each) / 1000, rel=1e-3)
