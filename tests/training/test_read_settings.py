"""Every setting of the config reaches the training: nothing a study can set is left unread."""

from functools import partial
from typing import Any

import pytest
import torch

from pipeline.reading import watched
from tests.training.helpers import SCHEDULES, FakeContext, FakeRun, config
from training import compiling
from training.trainer import IREDTrainer

STRATEGIES: list[dict[str, Any]] = [
    {"strategy": "none"},
    {"strategy": "ohem"},
    {"strategy": "random"},
    {"strategy": "hardest_n", "candidates": 3},
    {"strategy": "hardest_n", "candidates": 3, "source": "random"},
    {"strategy": "adversarial"},
    {"strategy": "adversarial", "fraction": 0.5, "filler": "random"},
    {"strategy": "curriculum"},
    {"strategy": "curriculum", "ramp": "noise_scale"},
]


@pytest.mark.parametrize("mining", STRATEGIES)
@pytest.mark.parametrize("diagnostics", [None, {"every": 3, "probes": 8}])
def test_every_setting_is_read_in_every_condition(
    mining: dict[str, Any], diagnostics: dict[str, Any] | None
) -> None:
    """A tiny run reads all keys of the resolved config, those of its tables included."""
    setting = config(mining=mining, diagnostics=diagnostics)
    runs = [FakeRun(name, 0, setting.model_copy()) for name in ("a", "b")]
    with watched({run.run_id: run.config for run in runs}) as reading:
        outcomes = list(IREDTrainer().train(runs, FakeContext()))

        assert [outcome.failure for outcome in outcomes] == [None, None]
        assert [reading.unread(run.run_id) for run in runs] == [[], []]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_setting_of_a_schedule_is_read(name: str) -> None:
    """By the shapes that have no use for a floor, too: those have no such setting."""
    run = FakeRun("a", 0, config(schedule=SCHEDULES[name]))
    with watched({run.run_id: run.config}) as reading:
        list(IREDTrainer().train([run], FakeContext()))

        assert reading.unread("a") == []


@pytest.mark.parametrize("strategy", ["none", "random", "adversarial"])
def test_a_watched_config_does_not_keep_a_step_from_being_one_graph(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler follows the step from end to end while its config is watched."""
    monkeypatch.setitem(compiling.WORTH_FLOP, "cpu", 0.0)
    graph = partial(torch.compile, backend="eager")  # traces, and needs no C++ compiler
    monkeypatch.setattr(torch, "compile", lambda function, **_: graph(function, fullgraph=True))
    run = FakeRun("a", 0, config(mining={"strategy": strategy}))
    torch.compiler.reset()
    with watched({run.run_id: run.config}) as reading:
        (outcome,) = IREDTrainer().train([run], FakeContext())
    torch.compiler.reset()

    assert outcome.details["compiled"] == "yes"
    assert reading.unread("a") == []
