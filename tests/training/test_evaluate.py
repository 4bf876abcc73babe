"""Final scores: identical noise, bounded batches, and the sampler behind them."""

import pytest
import torch

from tests.training import oracle
from tests.training.helpers import config, parameters_of
from training.data import held_out_set
from training.evaluate import BLOCK, Evaluator, held_out_chunks, score, training_chunks
from training.outcome import measure
from training.stack import Stack
from training.streams import generator, normal

CPU = torch.device("cpu")


def to_the_end(count: int) -> bool:
    """Do not stop."""
    return count > 0


def test_errors_are_those_of_the_plain_sampler() -> None:
    """Each matrix's error is the mean over entries of what the sampler leaves, model by model."""
    setting = config(precision="fp64", sampler_inner_steps=3)
    stack = Stack([setting] * 2, [0, 1], CPU)
    flat = stack.initial_weights()
    held_out = held_out_set(1, "test", 20, 3, 0.5)
    errors = Evaluator(stack).errors(flat, held_out_chunks(held_out), to_the_end)
    assert errors is not None
    stream = generator(setting.held_out_seed, "sampler start")
    start = normal(stream, (BLOCK, 9), torch.float64)[:20]
    for model in range(2):
        solution = oracle.sample(
            parameters_of(flat, stack.layout, model),
            held_out.A.double(),
            start,
            10,
            3,
            quirks=False,
        )
        expected = (solution - held_out.y.double()).square().mean(1).detach()
        torch.testing.assert_close(errors[model], expected, rtol=1e-9, atol=0)


def test_a_run_is_scored_the_same_in_every_stack() -> None:
    """Noise and matrices are the study's, so neighbours change a score by rounding only."""
    setting = config(held_out_size=BLOCK + 10, precision="fp64", sampler_inner_steps=1)
    flats, scores = [], []
    for seeds in ([5], [2, 5]):
        stack = Stack([setting] * len(seeds), seeds, CPU)
        flats.append(stack.initial_weights())
        scores.append(score(stack, flats[-1], to_the_end, dict))
    alone, together = scores
    assert alone is not None
    assert together is not None
    for name, measurement in alone.metrics[0].items():
        assert together.metrics[1][name].value == pytest.approx(measurement.value, rel=1e-10)
    assert alone.digests == together.digests


def test_training_matrices_are_the_ones_that_were_trained_on() -> None:
    """The chunks of the train metric repeat the run's own stream from its beginning."""
    stack = Stack([config(batch_size=8)] * 2, [0, 1], CPU)
    source = stack.batches()
    seen = torch.cat([source.next().A for _ in range(3)], dim=1)
    chunks = list(training_chunks(stack.batches(), 20))
    assert torch.equal(torch.cat([A for A, _ in chunks], dim=1), seen[:, :20])


def test_standard_error_is_over_matrices() -> None:
    """The spread is the sample's, with n - 1, over the root of the count."""
    measurement = measure(torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64).numpy())
    assert measurement.value == 3.0
    assert measurement.standard_error == pytest.approx((14 / 3) ** 0.5 / 2)
    assert measurement.count == 4
