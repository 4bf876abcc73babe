"""Common random numbers: what equal seeds share, and what cannot shift anything else."""

from typing import Any, get_args

import pytest
import torch

from tests.training.helpers import MININGS, config
from training.batches import Batch, BatchSource
from training.stack import Stack
from training.streams import Purpose, generator, normal

CPU = torch.device("cpu")


def batches(seeds: list[int], count: int = 3, **changes: Any) -> list[Batch]:
    """Return the first batches of a stack."""
    setting = config(**changes)
    dtype = torch.float64 if setting.precision == "fp64" else torch.float32
    source = BatchSource(setting, seeds, dtype, CPU)
    return [source.next() for _ in range(count)]


def test_a_runs_draws_do_not_depend_on_its_stack() -> None:
    """Data and all noise are equal bit for bit, alone, with others, and with its own seed again."""
    mining = {"strategy": "random"}
    alone = batches([4], mining=mining)
    for seeds, places in (([9, 4, 2], [1]), ([4, 4], [0, 1]), ([2, 9, 4, 0, 4], [2, 4])):
        together = batches(seeds, mining=mining)
        for one, many in zip(alone, together, strict=True):
            for single, stacked in zip(one, many, strict=True):
                assert single is not None
                assert stacked is not None
                for place in places:
                    assert torch.equal(single[0], stacked[place])


def test_equal_seeds_share_data_noise_and_weights_across_conditions() -> None:
    """Mining draws come from streams of their own, so no condition sees other data for them."""
    reference = batches([7], mining=MININGS["random"])
    for name, mining in MININGS.items():
        for ours, theirs in zip(batches([7], mining=mining), reference, strict=True):
            for part in ("A", "y", "t", "eps"):
                assert torch.equal(getattr(ours, part), getattr(theirs, part)), (name, part)
            assert (ours.contrast_eps is None) == (name in ("none", "ohem"))
            if ours.contrast_eps is not None:
                assert theirs.contrast_eps is not None
                assert torch.equal(ours.contrast_eps, theirs.contrast_eps), name
            assert (ours.negatives is None) == ("random" not in name)
    weights = [Stack([config(mining=m)], [7], CPU).initial_weights() for m in MININGS.values()]
    assert all(torch.equal(weights[0], other) for other in weights)


def test_a_random_filler_is_what_random_mining_would_draw() -> None:
    """So the two differ in the samples that are mined, and in nothing else."""
    for a, b in zip(
        batches([7], mining=MININGS["random"]),
        batches([7], mining=MININGS["part random"]),
        strict=True,
    ):
        assert a.negatives is not None
        assert b.negatives is not None
        assert torch.equal(a.negatives, b.negatives)


def test_precision_changes_rounding_and_nothing_else() -> None:
    """A float64 run sees the float32 run's draws, so that precision can be studied paired."""
    for single, double in zip(batches([1]), batches([1], precision="fp64"), strict=True):
        assert torch.equal(single.A, double.A.float())
        assert torch.equal(single.t, double.t)
        assert torch.equal(single.eps, double.eps.float())
        assert (single.y - double.y).abs().max() < 1e-5


def test_streams_differ_by_seed_and_by_purpose() -> None:
    """No seed's stream for one purpose is any seed's stream for another."""
    first = [
        tuple(normal(generator(seed, purpose), (4,), torch.float32).tolist())
        for seed in range(20)
        for purpose in get_args(Purpose)
    ]
    assert len(set(first)) == len(first)


def test_no_draw_touches_the_global_generator() -> None:
    """Whoever else draws random numbers in the process neither disturbs us nor is disturbed."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches([0, 1], mining={"strategy": "random"})
    Stack([config()], [0], CPU).initial_weights()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("strategy", ["none", "random", "adversarial"])
def test_noise_has_the_promised_distributions(strategy: str) -> None:
    """t is uniform over the noise levels and the noise is standard normal."""
    (drawn,) = batches([0], count=1, batch_size=20_000, mining={"strategy": strategy})
    counts = torch.bincount(drawn.t[0], minlength=10)
    assert counts.shape == (10,)
    assert (counts - 2000).abs().max() < 5 * 2000**0.5
    for noise in (drawn.eps, drawn.contrast_eps, drawn.negatives):
        if noise is not None:
            assert abs(float(noise.mean())) < 5 / noise.numel() ** 0.5
            assert abs(float(noise.var()) - 1) < 5 * (2 / noise.numel()) ** 0.5
