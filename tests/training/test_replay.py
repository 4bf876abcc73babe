"""Recorded steps: the same training, whatever is recorded and when."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.training.fake_graph import fake_graph
from tests.training.helpers import MININGS, FakeContext, FakeRun, config, needs_gpu, relative_error
from tests.training.test_checkpoint import assert_same_end, train
from training import loop
from training.compiling import Compiler
from training.loss import Losses
from training.outcome import Outcome
from training.replay import WARM_UP, Steps, Work, cuda_graph
from training.stack import Stack, State

CPU = torch.device("cpu")
End = tuple[list[Outcome], FakeContext, list[FakeRun]]

# Rates of runs of a stack: recorded steps have to follow each.
RATES = ({"shape": "cosine", "warmup_steps": 6}, {"shape": "constant"})


def steps_of(
    strategy: dict[str, Any],
    record: Callable[[State], Callable[[Work], Work] | None],
    device: torch.device = CPU,
    *,
    count: int = 20,
    compiled: bool = False,
) -> tuple[State, list[Losses]]:
    """Train two runs that share no seed, and return where that led."""
    settings = [config(mining=strategy, steps=count, schedule=table) for table in RATES]
    stack = Stack(settings, [3, 1], device)
    stack.compiler = Compiler(device, pays=compiled)
    with torch.inference_mode():
        state = State.initial(stack.initial_weights())
        take = Steps(stack, stack.batches(), record(state))
        losses = [Losses(*(_copy(part) for part in take(state)[0])) for _ in range(count)]
    return state, losses


def _copy(part: torch.Tensor | None) -> Any:
    return None if part is None else part.clone()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Have the trainer record its steps on the CPU; returns what was recorded."""
    graphs: list[Work] = []

    def record(work: Work) -> Work:
        graphs.append(fake_graph(work))
        return graphs[-1]

    monkeypatch.setattr(loop, "Steps", lambda stack, source, _: Steps(stack, source, record))
    return graphs


def trained(strategy: str, stops: tuple[int, ...] = ()) -> End:
    """Train two runs of a seed, one of another and one that diverges, in pieces, to their end."""
    settings = [
        config(
            mining=MININGS[strategy],
            steps=24,
            curve_every=5,
            learning_rate=rate,
            schedule=RATES[index % 2],
        )
        for index, rate in enumerate((1e-2, 5e-3, 1e-2, 1.0))
    ]
    runs = [FakeRun(str(i), (3, 3, 1, 2)[i], setting) for i, setting in enumerate(settings)]
    for stop in stops:
        assert not train(runs, stop)[0]
    outcomes, context = train(runs)
    assert [bool(outcome.failure) for outcome in outcomes] == [False, False, False, True]
    return outcomes, context, runs[:3]  # a run that failed leaves no checkpoint


GRAPHS = {"none": 1, "random": 1, "part random": 1, "steps ramp": 3, "noise ramp": 1, "ohem": 1}


@pytest.mark.parametrize("strategy", GRAPHS)
def test_recorded_training_has_the_bits_of_training(strategy: str, recorded: list[Work]) -> None:
    """Each number of inner steps is recorded once, and what is recorded reads nothing of the host.

    All that training changes stays where it was recorded, resumed in pieces too.
    """
    whole, graphs = trained(strategy), len(recorded)
    parts = trained(strategy, stops=(6, 9))
    recorded.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Steps", Steps)
        plain = trained(strategy)
    assert not recorded
    assert graphs == GRAPHS[strategy]
    assert_same_end(whole, plain)
    assert_same_end(parts, plain)


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


def test_what_makes_the_host_wait_is_not_recorded() -> None:
    """The recorder of these tests refuses what a GPU would, and undoes what it saw."""
    x = torch.ones(3)

    def work() -> tuple[Losses, torch.Tensor]:
        x.add_(1)
        return Losses(x, x / x.sum().item(), None, None), x

    with pytest.raises(RuntimeError, match="not permitted"):
        fake_graph(work)
    assert torch.equal(x, torch.ones(3))


@needs_gpu
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_steps_are_recorded_on_a_gpu(caplog: pytest.LogCaptureFixture) -> None:
    """As the published study trains: neither compiling nor recording gives up."""
    device, mining = torch.device("cuda"), {"strategy": "adversarial"}
    ours, _ = steps_of(mining, lambda _: cuda_graph, device, compiled=True)
    plain, _ = steps_of(mining, lambda _: None, device)
    assert not caplog.records
    assert relative_error(ours.weights.cpu(), plain.weights.cpu()) < 1e-4


@needs_gpu
def test_a_recording_that_fails_on_a_gpu_leaves_its_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Training goes on where it was, and says so."""
    before = torch.cuda.current_stream()

    def wait(work: Work) -> Work:
        def waiting() -> tuple[Losses, torch.Tensor]:
            losses, norms = work()
            norms.sum().item()
            return losses, norms

        return cuda_graph(waiting)

    device, mining = torch.device("cuda"), {"strategy": "none"}
    ours, _ = steps_of(mining, lambda _: wait, device)
    assert torch.cuda.current_stream() == before
    assert "cannot be recorded" in caplog.text
    plain, _ = steps_of(mining, lambda _: None, device)
    assert relative_error(ours.weights.cpu(), plain.weights.cpu()) < 1e-5


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
