"""The trainer as a study's worker sees it."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.trainer import Trainer
from tests.training.helpers import MININGS, FakeContext, FakeRun, config, poison_first_model
from training import progress
from training.outcome import Outcome
from training.stack import Stack
from training.trainer import IREDTrainer


def train(
    runs: list[FakeRun], context: FakeContext | None = None
) -> tuple[list[Outcome], FakeContext]:
    """Train runs and return their outcomes with what was reported."""
    context = context or FakeContext()
    return list(IREDTrainer().train(runs, context)), context


def test_it_is_a_trainer() -> None:
    """It satisfies the protocol it never imports, in the eyes of the type checker too."""
    trainer: Trainer = IREDTrainer()
    assert isinstance(trainer, Trainer)
    assert trainer.total_steps(config(steps=17)) == 17


def test_planning_loads_neither_torch_nor_the_pipeline() -> None:
    """Validating configs and forming stacks is quick enough for a login node."""
    code = (
        "import json, sys; from training.trainer import IREDTrainer as T; t = T();"
        "c = t.config_type(steps=3); t.stack_key(c); t.total_steps(c);"
        "print(json.dumps([m for m in ('torch', 'scipy', 'pipeline') if m in sys.modules]))"
    )
    root = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == []


@pytest.mark.parametrize("strategy", MININGS)
def test_outcomes_hold_what_a_study_needs(strategy: str) -> None:
    """Every run gets each metric with its error and count, references, digests and facts."""
    setting = config(mining=MININGS[strategy])
    outcomes, _ = train([FakeRun("a", 0, setting), FakeRun("b", 1, setting)])
    assert [outcome.run_id for outcome in outcomes] == ["a", "b"]
    for outcome in outcomes:
        assert outcome.failure is None
        assert set(outcome.metrics) == set(IREDTrainer.metrics)
        for name, measurement in outcome.metrics.items():
            assert measurement.count == setting.held_out_size, name
            assert 0 < measurement.standard_error < measurement.value
        assert set(outcome.references) == {"validation_mse", "test_mse", "harder_mse"}
        assert set(outcome.data_digests) == {"validation", "test", "harder"}
        assert outcome.details["device"] == "cpu"
        assert outcome.details["stack_size"] == 2
        assert all(isinstance(value, str | int | float) for value in outcome.details.values())
    assert outcomes[0].metrics != outcomes[1].metrics
    assert outcomes[0].references == outcomes[1].references


def test_equal_runs_give_equal_outcomes() -> None:
    """Training is a function of config and seed, whatever ran before it in the process."""
    run = FakeRun("a", 3, config(mining={"strategy": "adversarial"}))
    first, second = train([run])[0][0], train([run])[0][0]
    assert first.metrics == second.metrics
    assert first.data_digests == second.data_digests


def test_train_mse_is_over_matrices_that_were_trained_on() -> None:
    """A run too short to have seen a full set is scored on what it did see."""
    setting = config(steps=2, held_out_size=24)
    outcomes, _ = train([FakeRun("a", 0, setting)])
    assert outcomes[0].metrics["train_mse"].count == 2 * setting.batch_size


def test_progress_spans_the_run() -> None:
    """There is a report before the first step, at each point of the curve, and at the end."""
    setting = config(steps=7, curve_every=3, mining={"strategy": "adversarial"})
    _, context = train([FakeRun("a", 0, setting), FakeRun("b", 1, setting)])
    assert set(context.reports) == {"a", "b"}
    for reports in context.reports.values():
        assert [total for _, total, _ in reports] == [7] * len(reports)
        steps = [step for step, _, _ in reports]
        assert steps == sorted(set(steps))
        assert {0, 3, 6, 7} <= set(steps)
        curve = {step for step, _, values in reports if "validation_mse" in values}
        assert curve == {0, 3, 6}
        last = next(values for step, _, values in reports if step == 7 and "loss" in values)
        assert set(last) == {
            "loss",
            "denoising_loss",
            "contrastive_loss",
            "learning_rate",
            "gradient_norm",
            "clipped_share",
            "reverted_share",
        }
        assert 0 <= last["clipped_share"] <= 1
        assert last["loss"] == pytest.approx(
            last["denoising_loss"] + 0.5 * last["contrastive_loss"], rel=1e-5
        )


@pytest.mark.parametrize("stop_after", [0, 3, 8])
def test_asked_to_stop_it_returns_without_outcomes(stop_after: int) -> None:
    """Before the first step, in the middle of training, and in the middle of evaluation."""
    setting = config(steps=6)
    outcomes, context = train([FakeRun("a", 0, setting)], FakeContext(stop_after))
    assert outcomes == []
    assert context.asked == stop_after + 1


def test_a_diverged_run_fails_and_its_neighbour_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failure names loss and step; the neighbour's metrics are finite."""
    poison_first_model(monkeypatch)
    setting = config()
    outcomes, context = train([FakeRun("bad", 0, setting), FakeRun("good", 1, setting)])
    assert outcomes[0].failure == "loss is nan at step 1"
    assert outcomes[0].metrics == {}
    assert outcomes[1].failure is None
    assert all(math.isfinite(m.value) for m in outcomes[1].metrics.values())
    assert [step for step, _, _ in context.reports["bad"]] == [0]
    assert all(math.isfinite(v) for _, _, values in context.reports["bad"] for v in values.values())


def test_a_stack_that_has_failed_entirely_is_not_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When no run has a finite loss left, the outcomes come at the next report."""
    monkeypatch.setattr(
        Stack,
        "initial_weights",
        lambda self: torch.full((1, self.layout.parameter_count()), torch.nan),
    )
    outcomes, context = train([FakeRun("a", 0, config(steps=1000, curve_every=5))])
    assert [outcome.failure for outcome in outcomes] == ["loss is nan at step 1"]
    assert context.asked < 100


def test_runs_that_cannot_share_a_stack_are_refused() -> None:
    """A planner that packs the wrong runs together hears of it."""
    runs: list[Any] = [FakeRun("a", 0, config()), FakeRun("b", 0, config(batch_size=9))]
    with pytest.raises(ValueError, match="per-model settings"):
        train(runs)


def test_the_final_evaluation_reports_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the last step the share of matrices that are scored grows towards one."""
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    _, context = train([FakeRun("a", 0, config(steps=3, held_out_size=24))])
    reports = [
        values["evaluated_share"]
        for step, _, values in context.reports["a"]
        if step == 3 and "evaluated_share" in values
    ]
    # 8 matrices from each of 3 steps in the train metric, then three held-out sets of 24.
    assert reports == [0, 8 / 96, 16 / 96, 24 / 96, 48 / 96, 72 / 96]
