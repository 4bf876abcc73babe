"""Many steps of training against a plain trainer with torch's own optimiser."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tests.training import oracle
from tests.training.helpers import MININGS, SCHEDULES, config, draws_of, relative_error
from training import stack as stack_module
from training.config import IREDConfig
from training.loop import train_stack
from training.stack import Stack, State
from training.weights import export_model

CPU = torch.device("cpu")

# With the public release's quirks where it has such a strategy, and in our reading of all others.
READINGS = [
    *((name, quirks) for name in ("none", "random", "adversarial") for quirks in (False, True)),
    *((name, False) for name in MININGS if name not in ("none", "random", "adversarial")),
]


def train(stack: Stack) -> State:
    """Train a stack to its end, unobserved."""

    def ignore(step: int, values: list[dict[str, float] | None]) -> None:
        pass

    with torch.inference_mode():
        return train_stack(stack, ignore, lambda: False)


def stack_of(configs: list[IREDConfig], seeds: list[int]) -> Stack:
    """Return a stack on the CPU."""
    return Stack(configs, seeds, CPU)


def plain_trainer(
    stack: Stack, schedule: Callable[[Optimizer], LRScheduler] | None = None
) -> oracle.Trainer:
    """Return a plain trainer of the stack's first model."""
    setting = stack.config
    return oracle.Trainer(
        export_model(stack.initial_weights(), stack.layout, 0),
        learning_rate=setting.learning_rate,
        betas=(setting.adam_beta1, setting.adam_beta2),
        grad_clip=setting.grad_clip,
        ema_decay=setting.ema_decay,
        ema_every=setting.ema_every,
        ema_warmup=setting.ema_warmup,
        schedule=schedule,
    )


def distance(stack: Stack, state: State, plain: oracle.Trainer) -> float:
    """Return the largest relative error of any weight or average of the stack's first model."""
    return max(
        relative_error(value, theirs[name].detach())
        for flat, theirs in ((state.weights, plain.p), (state.average, plain.average))
        for name, value in export_model(flat, stack.layout, 0).items()
    )


@pytest.mark.parametrize(("strategy", "quirks"), READINGS)
def test_weights_and_average_equal_a_plain_trainer_after_many_steps(
    strategy: str, quirks: bool
) -> None:
    """Losses, clipping, Adam, average and ramps stay equal to a plain trainer's over 150 steps."""
    setting = config(
        mining=MININGS[strategy],
        reference_quirks=quirks,
        precision="fp64",
        steps=150,
        curve_every=1000,
        ema_every=10,
        ema_warmup=40,
        grad_clip=0.5,
        learning_rate=2e-3,
    )
    stack = stack_of([setting], [5])
    source = stack.batches()
    plain = plain_trainer(stack)
    how = oracle.Setting(**setting.mining.model_dump(), quirks=quirks)
    for step in range(1, setting.steps + 1):
        plain.step(draws_of(source.next(), 0), how.at(step, setting.steps))
    assert distance(stack, train(stack), plain) < 1e-9


@pytest.mark.parametrize("strategy", MININGS)
def test_a_run_trains_the_same_alone_and_in_a_stack(strategy: str) -> None:
    """Neighbours, their order and a shared seed change a run's weights by rounding only."""
    setting = config(mining=MININGS[strategy], steps=40, precision="fp64")
    alone = [train(stack_of([setting], [seed])) for seed in (3, 8)]
    together = train(stack_of([setting] * 4, [8, 3, 8, 1]))
    for place, run in ((1, alone[0]), (0, alone[1]), (2, alone[1])):
        assert relative_error(together.weights[place], run.weights[0]) < 1e-11
        assert relative_error(together.average[place], run.average[0]) < 1e-11


@pytest.mark.parametrize("name", SCHEDULES)
def test_weights_equal_a_plain_trainer_s_under_every_schedule(name: str) -> None:
    """The rate of each step is the one that torch's schedulers would have given it."""
    setting = config(schedule=SCHEDULES[name], precision="fp64", steps=60, curve_every=1000)
    stack = stack_of([setting], [5])
    source = stack.batches()
    schedule = partial(oracle.rate_schedule, steps=setting.steps, **SCHEDULES[name])
    plain = plain_trainer(stack, schedule)
    how = oracle.Setting(**setting.mining.model_dump())
    for _ in range(setting.steps):
        plain.step(draws_of(source.next(), 0), how)
    assert distance(stack, train(stack), plain) < 1e-10


def test_schedules_train_in_one_stack_as_if_alone() -> None:
    """A rate belongs to a model in every step, not to its stack."""
    variants = [config(schedule=table, steps=20, precision="fp64") for table in SCHEDULES.values()]
    together = train(stack_of(variants, [0] * len(variants)))
    for index, variant in enumerate(variants):
        alone = train(stack_of([variant], [0]))
        assert relative_error(together.weights[index], alone.weights[0]) < 1e-11
    rows = {tuple(row.tolist()) for row in together.weights}
    assert len(rows) == len(variants)


def test_runs_with_their_own_numbers_train_in_one_stack() -> None:
    """Learning rate, contrastive weight and noise scale belong to a model, not to its stack."""
    variants = [
        config(
            learning_rate=rate,
            steps=20,
            precision="fp64",
            mining={
                "strategy": "adversarial",
                "contrastive_weight": weight,
                "noise_scale": scale,
            },
        )
        for rate, weight, scale in ((1e-3, 0.5, 3.0), (1e-2, 0.1, 3.0), (1e-3, 0.5, 1.0))
    ]
    together = train(stack_of(variants, [0, 0, 0]))
    for index, variant in enumerate(variants):
        alone = train(stack_of([variant], [0]))
        assert relative_error(together.weights[index], alone.weights[0]) < 1e-11
    assert not torch.equal(together.weights[0], together.weights[1])
    assert not torch.equal(together.weights[0], together.weights[2])


def test_a_model_that_diverges_leaves_its_neighbours_alone() -> None:
    """One run's nan is recorded with its step; the others come out as if it had not been there."""
    calm = config(steps=30)

    class Poisoned(Stack):
        def initial_weights(self) -> torch.Tensor:
            weights = super().initial_weights()
            weights[1] *= 1e15
            return weights

    state = train(Poisoned([calm] * 3, [0, 1, 2], CPU))
    failures = state.failures()
    assert failures[1] in ("loss is nan at step 1", "loss is inf at step 1")
    assert failures[0] is failures[2] is None
    healthy = train(stack_of([calm] * 3, [0, 7, 2]))
    for index in (0, 2):
        assert torch.equal(state.weights[index], healthy.weights[index])


@pytest.mark.parametrize("strategy", MININGS)
def test_models_that_take_turns_train_as_if_alone(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each model occupies the machine, a stack's arithmetic is that of single runs."""
    monkeypatch.setattr(stack_module, "LARGE_LAYER", 0)
    setting = config(mining=MININGS[strategy], steps=20)
    together = stack_of([setting] * 3, [8, 3, 8])
    assert together.groups == [slice(0, 1), slice(1, 2), slice(2, 3)]
    state = train(together)
    for place, seed in enumerate(together.seeds):
        alone = train(stack_of([setting], [seed]))
        assert torch.equal(state.weights[place], alone.weights[0])
        assert torch.equal(state.average[place], alone.average[0])


def test_models_take_turns_only_where_one_fills_the_machine() -> None:
    """Small models share their steps on a CPU, large ones do not; on a GPU all do."""
    large = config(batch_size=2048, hidden_width=512)
    cuda = torch.device("cuda")
    assert len(stack_module._groups(large, 10, CPU)) == 10
    assert len(stack_module._groups(config(), 10, CPU)) == 1
    assert len(stack_module._groups(large, 10, cuda)) == 1
