"""Batches do not depend on how their streams are read."""

from collections.abc import Iterator

import pytest
import torch

from tests.training.helpers import config
from training import batches
from training.batches import BatchSource
from training.data import draw_roots, matrices
from training.streams import generator, normal

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch use two threads."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("two_threads")
def test_streams_read_in_parallel_give_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads change when a stream is read, never what is read from it."""
    setting = config(mining={"strategy": "random"}, batch_size=64)
    serial = BatchSource(setting, [3, 1, 3], torch.float32, CPU)
    monkeypatch.setattr(batches, "THREADED_DRAW", 0)
    parallel = BatchSource(setting, [3, 1, 3], torch.float32, CPU)
    assert serial.pool is None
    assert parallel.pool is not None
    with torch.inference_mode():
        for _ in range(5):
            for one, other in zip(serial.next(), parallel.next(), strict=True):
                assert one is not None
                assert other is not None
                assert torch.equal(one, other)


def test_batches_are_made_of_the_streams_they_name() -> None:
    """The data stream gives R, the noise stream t and then eps."""
    setting = config(mining={"strategy": "adversarial"}, batch_size=40)
    drawn = BatchSource(setting, [5], torch.float32, CPU).next()
    A, y = matrices(draw_roots(generator(5, "data"), 40, 3), setting.ridge, torch.float32)
    noise = generator(5, "noise")
    t = torch.randint(10, (40,), generator=noise)
    eps = normal(noise, (40, 9), torch.float32)
    contrast = normal(generator(5, "contrast"), (40, 9), torch.float32)
    ours = (drawn.A, drawn.y, drawn.t, drawn.eps, drawn.contrast_eps)
    for mine, expected in zip(ours, (A, y, t, eps, contrast), strict=True):
        assert mine is not None
        assert torch.equal(mine[0], expected)
