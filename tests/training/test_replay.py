"""Recorded steps: the same training, whatever is recorded and when."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.training.helpers import config, needs_gpu, relative_error
from training.loss import Losses
from training.replay import WARM_UP, Steps, Work, cuda_graph
from training.stack import Stack, State

CPU = torch.device("cpu")
RAMPS: dict[str, Any] = {
    "opt_steps": {"strategy": "curriculum", "start": 0, "opt_steps": 2, "ramp_share": 0.8},
    "noise_scale": {"strategy": "curriculum", "ramp": "noise_scale", "start": 5},
}

# Rates of two runs: recorded steps have to follow each.
RATES = ({"shape": "cosine", "warmup_steps": 6}, {"shape": "constant"})


class _Untouchable:
    """Stands for a number of the host that a recorded step must not read."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"a recorded step asks for {name} of the step's number")


def steps_of(
    strategy: dict[str, Any],
    record: Callable[[State], Callable[[Work], Work] | None],
    device: torch.device = CPU,
    count: int = 20,
) -> tuple[State, list[Losses]]:
    """Train two runs that share no seed, and return where that led."""
    settings = [config(mining=strategy, steps=count, schedule=table) for table in RATES]
    stack = Stack(settings, [3, 1], device)
    with torch.inference_mode():
        state = State.initial(stack.initial_weights())
        take = Steps(stack, stack.batches(), record(state))
        losses = [Losses(*(_copy(part) for part in take(state)[0])) for _ in range(count)]
    return state, losses


def _copy(part: torch.Tensor | None) -> Any:
    return None if part is None else part.clone()


@pytest.mark.parametrize(
    ("strategy", "graphs"),
    [({"strategy": "random"}, 1), (RAMPS["opt_steps"], 3), (RAMPS["noise_scale"], 1)],
    ids=["random", *RAMPS],
)
def test_a_recorded_step_reads_nothing_that_differs_from_step_to_step(
    strategy: dict[str, Any], graphs: int
) -> None:
    """Once recorded, it gives the same bits although the step's number is out of its reach.

    Each number of inner steps is recorded once, and after the warm-up.
    """
    recorded: list[Work] = []

    def record(state: State) -> Callable[[Work], Work]:
        def blind(work: Work) -> Work:
            recorded.append(work)

            def replay() -> Any:
                number, state.step = state.step, _Untouchable()  # type: ignore[assignment]
                try:
                    return work()
                finally:
                    state.step = number

            return replay

        return blind

    plain, plain_losses = steps_of(strategy, lambda _: None)
    ours, losses = steps_of(strategy, record)
    assert len(recorded) == graphs
    assert torch.equal(ours.weights, plain.weights)
    assert torch.equal(ours.average, plain.average)
    for mine, theirs in zip(losses, plain_losses, strict=True):
        assert torch.equal(mine.total, theirs.total)


def test_training_goes_on_where_steps_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    """It says so once, and neither skips nor repeats a step."""

    def refuse(work: Work) -> Work:
        del work
        raise RuntimeError("operation not permitted when stream is capturing")

    strategy = {"strategy": "adversarial"}
    with caplog.at_level(logging.WARNING):
        ours, _ = steps_of(strategy, lambda _: refuse)
    plain, _ = steps_of(strategy, lambda _: None)
    assert caplog.text.count("not permitted") == 1
    assert torch.equal(ours.weights, plain.weights)


def test_recording_waits_until_a_graph_is_warm() -> None:
    """What is compiled or set up in the first steps of a graph is never recorded."""
    seen: list[int] = []

    def record(state: State) -> Callable[[Work], Work]:
        def note(work: Work) -> Work:
            seen.append(state.step)
            return work

        return note

    steps_of({"strategy": "none"}, record)
    assert seen == [WARM_UP + 1]


@needs_gpu
@pytest.mark.parametrize("strategy", ["none", "random", "adversarial", "hardest_n", "ohem"])
def test_replayed_steps_are_the_steps_on_a_gpu(strategy: str) -> None:
    """A CUDA graph does what launching one by one does, draws included."""
    device = torch.device("cuda")
    mining = {"strategy": strategy}
    ours, losses = steps_of(mining, lambda _: cuda_graph, device)
    plain, plain_losses = steps_of(mining, lambda _: None, device)
    assert relative_error(ours.weights.cpu(), plain.weights.cpu()) < 1e-5
    for mine, theirs in zip(losses, plain_losses, strict=True):
        assert torch.allclose(mine.total, theirs.total, rtol=1e-4)
