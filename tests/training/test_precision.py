"""Reduced precision: what it rounds, what it leaves alone, and where it is refused."""

import pytest
import torch

from tests.training.helpers import FakeContext, FakeRun, config
from training.batches import BatchSource
from training.loss import Losses, loss_and_gradient
from training.precision import for_products
from training.stack import Stack
from training.trainer import IREDTrainer
from training.weights import flatten, unflatten

CPU = torch.device("cpu")


def gradient(precision: str, strategy: str) -> tuple[Losses, torch.Tensor]:
    """Return losses and flat gradient of one batch at the initial weights."""
    setting = config(
        precision=precision,
        matrix_size=4,
        hidden_width=64,
        batch_size=128,
        mining={"strategy": strategy},
    )
    stack = Stack([setting], [0], CPU)
    batch = BatchSource(setting, [0], stack.dtype, CPU).next()
    losses, named = loss_and_gradient(
        for_products(unflatten(stack.initial_weights(), stack.layout), setting.precision),
        stack.features(),
        stack.schedule(),
        batch,
        setting.mining,
        stack.contrastive_weight,
        stack.noise_scale,
    )
    return losses, flatten(named)


@pytest.mark.parametrize("strategy", ["none", "random", "adversarial"])
def test_bf16_rounds_products_and_sums_in_float32(strategy: str) -> None:
    """The gradient's error is bfloat16's, and everything that is handed on is float32."""
    _, exact = gradient("fp64", strategy)
    errors = {}
    for precision in ("fp32", "bf16"):
        losses, ours = gradient(precision, strategy)
        assert ours.dtype == losses.total.dtype == torch.float32
        errors[precision] = float((ours.double() - exact).norm() / exact.norm())
    assert errors["fp32"] < 1e-5
    assert 1e-4 < errors["bf16"] < 3e-2


def test_bf16_trains_and_is_recorded() -> None:
    """Weights and moments stay float32, so small updates are not lost."""
    run = FakeRun("a", 0, config(precision="bf16", mining={"strategy": "adversarial"}))
    (outcome,) = IREDTrainer().train([run], FakeContext())
    assert outcome.failure is None
    assert outcome.details["precision"] == "bf16"
    saved = torch.load(run.directory / "checkpoint.pt", weights_only=True)["tensors"]
    assert saved["weights"].dtype == saved["average"].dtype == torch.float32


def test_tf32_is_refused_where_it_would_be_float32() -> None:
    """A CPU has no TF32: a study that compares the two there would compare nothing."""
    run = FakeRun("a", 0, config(precision="tf32"))
    with pytest.raises(ValueError, match="needs an NVIDIA GPU"):
        list(IREDTrainer().train([run], FakeContext()))
