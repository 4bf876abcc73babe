"""The closed form against autograd: losses and gradients of every condition, in float64."""

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.training import oracle
from tests.training.helpers import batch, draws_of, parameters_of, relative_error, weights
from training.batches import Batch
from training.diffusion import cosine_schedule
from training.loss import Losses, loss_and_gradient
from training.strategies import (
    AdversarialMining,
    HardestMining,
    HardExamples,
    Mining,
    NoMining,
    RandomMining,
    drawn_negatives,
)
from training.time_table import embedding
from training.weights import Layout, Weights, unflatten

TOLERANCE = 1e-10
T = 10

STRATEGIES: list[Mining] = [
    NoMining(),
    RandomMining(),
    AdversarialMining(),
    AdversarialMining(opt_steps=0),
    AdversarialMining(opt_steps=5, noise_scale=0.5),
    AdversarialMining(fraction=0.3),
    AdversarialMining(fraction=0.3, filler="natural"),
    AdversarialMining(fraction=0.85, filler="random", opt_steps=3),
    HardestMining(),
    HardestMining(candidates=19, kept=3),
    HardestMining(candidates=6, kept=2, source="random"),
    HardExamples(),
    HardExamples(kept_share=0.05),
]


def setting_of(mining: Mining, *, quirks: bool) -> oracle.Setting:
    """Say to the oracle what `mining` says to us."""
    return oracle.Setting(**mining.model_dump(), diffusion_steps=T, quirks=quirks)


def ours(
    flat: Tensor, layout: Layout, drawn: Batch, mining: Mining, *, quirks: bool
) -> tuple[Losses, Weights]:
    """Return our losses and gradient."""
    models = len(flat)
    return loss_and_gradient(
        unflatten(flat, layout),
        embedding(T, torch.float64, "cpu"),
        cosine_schedule(T, torch.float64, rounded=quirks),
        drawn,
        mining,
        torch.full((models,), getattr(mining, "contrastive_weight", 0.0), dtype=torch.float64),
        torch.full((models, 1, 1), getattr(mining, "noise_scale", 0.0), dtype=torch.float64),
        quirks=quirks,
    )


def assert_equals_oracle(
    flat: Tensor, layout: Layout, drawn: Batch, mining: Mining, *, quirks: bool
) -> list[oracle.Losses]:
    """Compare with the oracle model by model, and return what it says."""
    losses, gradient = ours(flat, layout, drawn, mining, quirks=quirks)
    expected = []
    for model in range(len(flat)):
        parameters = parameters_of(flat, layout, model)
        theirs = oracle.losses(
            parameters, draws_of(drawn, model), setting_of(mining, quirks=quirks)
        )
        theirs.total.backward()  # type: ignore[no-untyped-call]
        assert relative_error(losses.total[model], theirs.total) < TOLERANCE
        assert relative_error(losses.denoising[model], theirs.denoising) < TOLERANCE
        if theirs.contrastive is None:
            assert losses.contrastive is None
        else:
            assert losses.contrastive is not None
            assert relative_error(losses.contrastive[model], theirs.contrastive) < TOLERANCE
        for name, value in parameters.items():
            assert value.grad is not None
            assert relative_error(getattr(gradient, name)[model], value.grad) < TOLERANCE, name
        expected.append(theirs)
        if losses.reverted is not None:
            assert float(losses.reverted[model]) == pytest.approx(theirs.reverted, abs=1e-12)
    return expected


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize("mining", STRATEGIES, ids=str)
def test_losses_and_gradients_equal_autograd_at_initial_weights(
    mining: Mining, quirks: bool
) -> None:
    """Every loss and parameter gradient of a stack equals double backward, model by model."""
    layout = Layout(features=16, width=24)
    drawn = batch(3, 20, 4, T, negatives=max(1, drawn_negatives(mining)))
    assert_equals_oracle(weights(layout, [0, 1, 2]), layout, drawn, mining, quirks=quirks)


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize(
    ("first", "last", "noise_scale", "reverted"),
    [
        (1, 1, 0.0, (0.0, 0.02)),
        (1, 1, 3.0, (0.02, 0.5)),
        (30, 10, 3.0, (0.3, 0.9)),
        (100, 100, 0.1, (0.97, 1.0)),
    ],
)
def test_gradients_equal_autograd_however_many_inner_steps_are_reverted(
    first: float, last: float, noise_scale: float, reverted: tuple[float, float], quirks: bool
) -> None:
    """Smooth landscapes take every inner step, steep ones take back nearly all: both are exact."""
    layout = Layout(features=16, width=32)
    flat = weights(layout, [0])
    unflatten(flat, layout).W1x.mul_(first)
    unflatten(flat, layout).W4.mul_(last)
    drawn = batch(1, 64, 4, T)
    # The highest noise levels clamp x to nearly nothing, where any step is downhill.
    drawn = drawn._replace(t=drawn.t % 5)
    mining = AdversarialMining(noise_scale=noise_scale)
    (losses,) = assert_equals_oracle(flat, layout, drawn, mining, quirks=quirks)
    assert reverted[0] <= losses.reverted <= reverted[1]


@pytest.mark.parametrize("quirks", [False, True])
def test_the_public_releases_quirks_change_mined_negatives(quirks: bool) -> None:
    """The switch for quirks is not decoration: the two readings differ from each other."""
    layout = Layout(features=9, width=16)
    flat, drawn = weights(layout, [0]), batch(1, 12, 3, T)
    mining = AdversarialMining()
    here, _ = ours(flat, layout, drawn, mining, quirks=quirks)
    other = oracle.losses(
        parameters_of(flat, layout, 0), draws_of(drawn, 0), setting_of(mining, quirks=not quirks)
    )
    assert relative_error(here.total[0], other.total) > 1e-6


def test_a_huge_margin_costs_what_it_should() -> None:
    """The contrastive loss of a hopeless pair is its margin, not an overflow or a cut-off."""
    layout = Layout(features=9, width=16)
    flat = weights(layout, [0])
    unflatten(flat, layout).W4.mul_(1e3)
    drawn = batch(1, 8, 3, T)
    worse = dataclasses.replace(draws_of(drawn, 0), negatives=drawn.y[0])
    losses, _ = ours(
        flat,
        layout,
        drawn._replace(negatives=worse.negatives[None], y=drawn.y * 50),
        RandomMining(),
        quirks=False,
    )
    assert losses.contrastive is not None
    assert losses.contrastive.isfinite().all()
    assert float(losses.contrastive[0]) > 1e3
