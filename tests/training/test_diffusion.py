"""Noise schedule, inner steps and sampler."""

import pytest
import torch

from tests.training import oracle
from tests.training.helpers import batch, parameters_of, relative_error, weights
from training.diffusion import cosine_schedule, descend, levels, sample
from training.energy import given_levels, prepare
from training.time_table import embedding, time_table
from training.weights import Layout, unflatten


@pytest.mark.parametrize("steps", [1, 3, 10, 50])
@pytest.mark.parametrize("quirks", [False, True])
def test_schedule_is_the_clipped_cosine(steps: int, quirks: bool) -> None:
    """Signal, noise and step sizes agree with the definition, in float32 under the quirks."""
    ours = cosine_schedule(steps, torch.float64, rounded=quirks)
    theirs = oracle.schedule(steps, quirks=quirks)
    tolerance = 1e-7 if quirks else 1e-12
    for a, b in zip(ours, vars(theirs).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    assert torch.equal(ours.signal, ours.signal.float().double()) == quirks


@pytest.mark.parametrize("quirks", [False, True])
def test_inner_steps_follow_the_definition(quirks: bool) -> None:
    """Step, clamp and reversal agree with a plain reading that evaluates everything anew."""
    layout = Layout(features=9, width=16)
    flat, drawn = weights(layout, [0, 1]), batch(2, 30, 3, 10)
    flat *= 2
    named = unflatten(flat, layout)
    table = time_table(named, embedding(10, torch.float64, "cpu"))
    schedule = cosine_schedule(10, torch.float64, rounded=quirks)
    ours = descend(
        named,
        given_levels(prepare(named, drawn.A), table, drawn.t),
        levels(schedule, drawn.t, first_limits_all=quirks),
        3 * drawn.eps,
        4,
        doubling=quirks,
    )
    for model in range(2):
        x, reverted = oracle.inner_steps(
            parameters_of(flat, layout, model),
            oracle.schedule(10, quirks=quirks),
            drawn.A[model],
            3 * drawn.eps[model],
            drawn.t[model],
            4,
            quirks=quirks,
        )
        assert 0 < reverted < 1
        assert relative_error(ours.x[model], x) < 1e-11
        assert float(ours.reverted[model]) == pytest.approx(reverted, abs=1e-12)


def test_inner_steps_never_raise_the_energy() -> None:
    """What is kept has at most the energy it started from, within the limit or untouched."""
    layout = Layout(features=9, width=16)
    flat, drawn = 3 * weights(layout, [0]), batch(1, 50, 3, 10)
    named = unflatten(flat, layout)
    table = time_table(named, embedding(10, torch.float64, "cpu"))
    at = levels(cosine_schedule(10, torch.float64), drawn.t)
    given = given_levels(prepare(named, drawn.A), table, drawn.t)
    end = descend(named, given, at, drawn.eps, 5, doubling=False).x
    p = parameters_of(flat, layout, 0)
    before = oracle.energy(p, drawn.A[0], drawn.eps[0], drawn.t[0])
    after = oracle.energy(p, drawn.A[0], end[0], drawn.t[0])
    assert (after <= before + 1e-12).all()
    untouched = (end == drawn.eps).all(-1, keepdim=True)
    assert ((end.abs() <= at.limit) | untouched).all()


@pytest.mark.parametrize("quirks", [False, True])
@pytest.mark.parametrize("inner", [0, 1, 5])
def test_sampler_follows_the_definition(inner: int, quirks: bool) -> None:
    """Each model of a stack samples what a plain reading of the algorithm samples."""
    layout = Layout(features=9, width=16)
    flat, drawn = weights(layout, [0, 1]), batch(2, 12, 3, 10)
    flat *= 1.5
    ours = sample(
        unflatten(flat, layout),
        embedding(10, torch.float64, "cpu"),
        cosine_schedule(10, torch.float64, rounded=quirks),
        drawn.A,
        drawn.eps,
        inner,
        quirks=quirks,
    )
    for model in range(2):
        theirs = oracle.sample(
            parameters_of(flat, layout, model),
            drawn.A[model],
            drawn.eps[model],
            10,
            inner,
            quirks=quirks,
        )
        assert relative_error(ours[model], theirs) < 1e-9
    assert float(ours.abs().max()) <= 2
