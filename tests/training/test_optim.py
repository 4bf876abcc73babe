"""Clipping per model, rates, Adam, and the averaged weights, against torch and the definition."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from tests.training import oracle
from tests.training.helpers import SCHEDULES
from training.optim import Adam, LearningRates, average_decay, clip_by_model, update_average
from training.schedules import ConstantRate, CosineDecay, LinearDecay, RateSchedule

READ: TypeAdapter[RateSchedule] = TypeAdapter(RateSchedule)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return standard normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_model_is_clipped_by_its_own_norm() -> None:
    """A large gradient in one model does not shrink its neighbour's, as a common norm would."""
    gradient = random(3, 50) * torch.tensor([[0.01], [1.0], [100.0]], dtype=torch.float64)
    clipped = gradient.clone()
    norms = clip_by_model(clipped, 1.0)
    for index, row in enumerate(gradient):
        alone = torch.nn.Parameter(torch.zeros(50, dtype=torch.float64))
        alone.grad = row.clone()
        norm = torch.nn.utils.clip_grad_norm_([alone], 1.0)
        torch.testing.assert_close(norms[index], norm, rtol=1e-13, atol=0)
        torch.testing.assert_close(clipped[index], alone.grad, rtol=1e-13, atol=0)
    assert torch.equal(clipped[0], gradient[0])


def test_a_nan_gradient_stays_in_its_model() -> None:
    """Clipping a stack with one broken model leaves the others exact."""
    gradient = random(2, 10)
    gradient[1, 3] = torch.nan
    expected = gradient[0] / max(1.0, float(gradient[0].norm()) + 1e-6)
    clip_by_model(gradient, 1.0)
    torch.testing.assert_close(gradient[0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("table", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("steps", [9, 100])
def test_rates_are_those_of_torch_s_schedulers(table: dict[str, Any], steps: int) -> None:
    """In every step, by its warm-up, its decay and its floor."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    theirs = oracle.rate_schedule(optimiser, steps=steps, **table)
    schedule = READ.validate_python(table)
    for step in range(1, steps + 1):
        assert 0.02 * schedule.factor(step, steps) == pytest.approx(
            theirs.get_last_lr()[0], rel=1e-12
        )
        optimiser.step()
        theirs.step()


def test_a_schedule_rises_to_its_rate_and_ends_just_above_its_floor() -> None:
    """No step is wasted on a rate of 0, and the rate itself is reached whatever the warm-up."""
    schedule = LinearDecay(warmup_steps=3, floor_share=0.5)
    factors = [schedule.factor(step, 8) for step in range(1, 9)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.9, 0.8, 0.7, 0.6])
    assert [ConstantRate(warmup_steps=1).factor(step, 3) for step in (1, 2, 3)] == [0.5, 1, 1]
    assert CosineDecay().factor(1, 2) == 1
    assert CosineDecay().factor(2, 2) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_model_has_the_rate_of_its_own_schedule(dtype: torch.dtype) -> None:
    """What neighbours' schedules are changes no bit of it."""
    schedules = [READ.validate_python(table) for table in SCHEDULES.values()]
    settings = torch.linspace(1e-4, 3e-3, len(schedules), dtype=dtype)[:, None]
    together = LearningRates(settings, schedules, 20)
    ours = settings.clone()
    for step in (1, 2, 5, 11, 20):
        together.write(ours, step)
        assert ours[:, 0].tolist() == pytest.approx(together.at(step), rel=1e-6)
        for index, schedule in enumerate(schedules):
            alone = settings[index : index + 1].clone()
            LearningRates(alone, [schedule], 20).write(mine := alone.clone(), step)
            assert torch.equal(ours[index : index + 1], mine)
            expected = float(settings[index]) * schedule.factor(step, 20)
            assert float(mine) == pytest.approx(expected, rel=1e-6)
    assert torch.equal(ours[0], settings[0])


def test_a_constant_rate_is_never_written() -> None:
    """A training without a schedule does what it did before there were any."""
    rates = LearningRates(torch.full((2, 1), 1e-3), [ConstantRate()] * 2, 10)
    untouched = torch.full((2, 1), -1.0)
    rates.write(untouched, 5)
    assert untouched.tolist() == [[-1.0], [-1.0]]


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.99), (0.0, 0.5), (0.5, 0.0)])
def test_adam_is_adam(beta1: float, beta2: float) -> None:
    """Ten steps at two learning rates equal torch's optimiser on each model."""
    rates = torch.tensor([[1e-2], [1e-1]], dtype=torch.float64)
    ours = random(2, 20, seed=1)
    theirs = [torch.nn.Parameter(row.clone()) for row in ours]
    optimisers = [
        torch.optim.Adam([row], lr=float(rate), betas=(beta1, beta2))
        for row, rate in zip(theirs, rates, strict=True)
    ]
    adam = Adam.zeros(ours)
    for step in range(1, 11):
        gradient = random(2, 20, seed=step)
        first, second = (torch.tensor(1 - b**step, dtype=torch.float64) for b in (beta1, beta2))
        adam.update(ours, gradient, first, second, rates, beta1, beta2)
        for row, value, optimiser in zip(theirs, gradient, optimisers, strict=True):
            row.grad = value
            optimiser.step()
    for index, row in enumerate(theirs):
        torch.testing.assert_close(ours[index], row.detach(), rtol=1e-12, atol=1e-14)


def test_average_copies_through_the_warm_up_and_then_slows_down() -> None:
    """The decay is 0 for the first 101 calls, ramps up as 1 - (1 + k)^(-2/3), and is capped."""
    assert [average_decay(call, 100, 0.995) for call in (0, 10, 100)] == [0, 0, 0]
    assert average_decay(110, 100, 0.995) == pytest.approx(1 - 11 ** (-2 / 3))
    assert average_decay(100_000, 100, 0.995) == 0.995


def test_average_is_updated_after_the_first_step_and_every_tenth() -> None:
    """Between updates the average stands still; an update in the warm-up is an exact copy."""
    average, weights = torch.zeros(1, 3), random(1, 3).float()
    changed = []
    for step in range(1, 35):
        weights += 1
        before = average.clone()
        update_average(average, weights, step, every=10, warmup=15, largest=0.995)
        if not torch.equal(before, average):
            changed.append((step, torch.equal(average, weights)))
    assert changed == [(1, True), (11, True), (21, False), (31, False)]
