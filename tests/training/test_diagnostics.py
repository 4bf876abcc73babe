"""Instrumented training: what it measures, and that training does not notice."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training import oracle
from tests.training.helpers import (
    MININGS,
    FakeContext,
    FakeRun,
    config,
    draws_of,
    parameters_of,
    relative_error,
)
from training import recorder as recorder_module
from training.batches import Batch
from training.config import IREDConfig
from training.instruments import LAYERS, fixed_solutions
from training.outcome import Outcome
from training.probes import draw_probes
from training.recorder import Recorder
from training.records import Records
from training.stack import Stack, State
from training.summaries import SUMMARIES
from training.trainer import IREDTrainer

CPU = torch.device("cpu")
WHAT = {"every": 2, "probes": 24}

Arrays = dict[str, Any]


def train(runs: list[FakeRun], stop_after: int | None = None) -> list[Outcome]:
    """Train until the end, or until the trainer has asked `stop_after` times."""
    return list(IREDTrainer().train(runs, FakeContext(stop_after)))


def read(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    """Return arrays and index of a run's file, without executing anything it may hold."""
    with np.load(folder / "diagnostics.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays.pop("index")))


def recorded(setting: IREDConfig, seed: int = 3) -> tuple[Outcome, Arrays, dict[str, Any]]:
    """Train one run and return its outcome, arrays and index."""
    run = FakeRun("a", seed, setting)
    (outcome,) = train([run])
    assert outcome.failure is None
    return (outcome, *read(run.directory))


def measured(
    mining: dict[str, Any], *, quirks: bool
) -> tuple[Stack, torch.Tensor, Batch, dict[str, torch.Tensor]]:
    """Measure two models in float64, half-way through their training; return all involved."""
    setting = config(
        mining=mining, precision="fp64", reference_quirks=quirks, diagnostics=WHAT, steps=10
    )
    stack = Stack([setting] * 2, [0, 1], CPU)
    state = State.initial(1.5 * stack.initial_weights())
    state.step = 5
    records = Records.empty(2, CPU)
    assert setting.diagnostics is not None
    recorder = Recorder(stack, state, records, setting.diagnostics)
    with torch.inference_mode():
        values = recorder._measure(slice(0, 2), 5)
    return stack, state.weights, draw_probes(stack, setting.diagnostics).batch, values


def setting_of(stack: Stack) -> oracle.Setting:
    """Say to the oracle what the stack trains with in step 5 of 10."""
    given = stack.config.mining.model_dump()
    return oracle.Setting(**given, quirks=stack.config.reference_quirks).at(5, 10)


def autograd(
    parameters: oracle.Parameters, draws: oracle.Draws, setting: oracle.Setting, term: str
) -> dict[str, torch.Tensor]:
    """Return the gradient of a loss term in every parameter."""
    losses = oracle.losses(parameters, draws, setting)
    # What ohem keeps of the denoising loss is its total.
    total = losses.total if setting.strategy == "ohem" else losses.denoising
    loss = total if term == "denoising" else losses.contrastive
    assert loss is not None
    names = list(parameters)
    parts = torch.autograd.grad(loss, [parameters[name] for name in names], allow_unused=True)
    return {
        name: torch.zeros_like(parameters[name]) if part is None else part
        for name, part in zip(names, parts, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "quirks"), [*((name, False) for name in MININGS), ("adversarial", True)]
)
def test_gradients_by_term_equal_autograd(name: str, quirks: bool) -> None:
    """Norms of each layer and cosines with the denoising gradient, of probe and own mining."""
    stack, flat, probes, values = measured(MININGS[name], quirks=quirks)
    common = oracle.Setting("adversarial", opt_steps=2, noise_scale=3.0, quirks=quirks)
    for model in range(2):
        parameters = parameters_of(flat, stack.layout, model)
        draws, own = draws_of(probes, 0), setting_of(stack)
        denoising = autograd(parameters, draws, own, "denoising")
        others = [autograd(parameters, draws, common, "contrastive")]
        if own.strategy not in ("none", "ohem"):
            others.append(autograd(parameters, draws, own, "contrastive"))
        assert values["gradient_norm"].shape == (2, 1 + len(others), len(LAYERS))
        for number, (layer, names) in enumerate(LAYERS.items()):
            first = torch.cat([denoising[n].flatten() for n in names])
            norm = values["gradient_norm"][model, 0, number]
            assert relative_error(norm, first.norm()) < 1e-10, layer
            for place, other in enumerate(others):
                second = torch.cat([other[n].flatten() for n in names])
                norm = values["gradient_norm"][model, 1 + place, number]
                assert relative_error(norm, second.norm()) < 1e-10, layer
                cosine = first @ second / first.norm() / second.norm()
                ours = values["gradient_cosine"][model, place, number]
                assert float((ours - cosine).abs()) < 1e-10, layer


@pytest.mark.parametrize("name", MININGS)
def test_examples_are_what_a_plain_reading_mines(name: str) -> None:
    """Solutions, their energies, distances, residuals and reverted steps, probe by probe."""
    stack, flat, probes, values = measured(MININGS[name], quirks=False)
    schedule, n = oracle.schedule(10, quirks=False), 3
    draws = draws_of(probes, 0)
    root, rest = schedule.root[draws.t][:, None], schedule.root_rest[draws.t][:, None]
    procedures = [oracle.Setting("adversarial", opt_steps=2, noise_scale=3.0)]
    if setting_of(stack).strategy not in ("none", "ohem"):
        procedures.append(dataclasses.replace(setting_of(stack), fraction=1.0, filler="none"))
    for model in range(2):
        parameters = parameters_of(flat, stack.layout, model)
        for place, procedure in enumerate(procedures):
            found, reverted = oracle.negatives(parameters, schedule, draws, procedure)
            X = torch.stack([each[0] for each in found])
            energy = oracle.energy(
                parameters, draws.A, root * X + rest * draws.contrast_eps, draws.t
            )
            assert relative_error(values["energy"][model, 3 + place], energy) < 1e-10
            distance = ((X - draws.y) ** 2).mean(1).sqrt()
            assert relative_error(values["distance"][model, place], distance) < 1e-10
            left = draws.A.view(-1, n, n) @ X.view(-1, n, n) - torch.eye(n, dtype=torch.float64)
            residual = (left**2).sum((1, 2)).sqrt() / n**0.5
            assert relative_error(values["residual"][model, place], residual) < 1e-10
            if procedure.strategy == "adversarial":
                share = float(values["reverted_share"][model, place])
                assert share == pytest.approx(reverted, abs=1e-12)
        positive = oracle.energy(
            parameters, draws.A, root * draws.y + rest * draws.contrast_eps, draws.t
        )
        assert relative_error(values["energy"][model, 0], positive) < 1e-10


def test_features_are_those_of_the_hidden_layers() -> None:
    """Gram matrices of h1, h2, h3 of the averaged weights at noise level 0."""
    setting = config(precision="fp64", diagnostics={"every": 3, "probes": 10}, steps=6)
    run = FakeRun("a", 3, setting)
    train([run])
    arrays, index = read(run.directory)
    assert index["labels"]["hidden layer"] == ["first", "second", "third"]
    assert arrays["representation_step"].tolist() == [0, 3, 6]
    stack = Stack([setting], [3], CPU)
    saved = torch.load(run.directory / "checkpoint.pt", weights_only=True)["tensors"]
    parameters = parameters_of(saved["average"][None], stack.layout, 0)
    assert setting.diagnostics is not None
    draws = draws_of(draw_probes(stack, setting.diagnostics).batch, 0)
    schedule, t = oracle.schedule(10, quirks=False), torch.zeros(10, dtype=torch.int64)
    x = schedule.root[0] * draws.y + schedule.root_rest[0] * draws.contrast_eps
    for layer, h in enumerate(oracle.hidden(parameters, draws.A, x, t)):
        gram = (h @ h.T).detach().numpy()
        np.testing.assert_allclose(arrays["gram"][-1, layer], gram[np.triu_indices(10)], rtol=1e-6)


@pytest.mark.parametrize("name", MININGS)
def test_training_does_not_notice(name: str) -> None:
    """Weights, moments, averages, curves and scores have the same bits with and without."""
    plain = FakeRun("a", 3, config(mining=MININGS[name], steps=9))
    instrumented = FakeRun("a", 3, config(mining=MININGS[name], steps=9, diagnostics=WHAT))
    contexts = [FakeContext(), FakeContext()]
    outcomes: list[Outcome] = []
    tensors = []
    for run, context in zip((plain, instrumented), contexts, strict=True):
        # Stopped before the end, so that the checkpoint holds the optimiser's state too.
        list(IREDTrainer().train([run], FakeContext(7)))
        tensors.append(torch.load(run.directory / "checkpoint.pt", weights_only=True)["tensors"])
        outcomes += IREDTrainer().train([run], context)
    assert {"weights", "average", "first", "second"} <= set(tensors[0])
    for key, value in tensors[0].items():
        assert torch.equal(value, tensors[1][key]), key
    assert outcomes[0].metrics == outcomes[1].metrics
    curves = [
        [(step, values) for step, _, values in context.reports["a"] if "validation_mse" in values]
        for context in contexts
    ]
    assert curves[0] == curves[1]
    assert outcomes[0].diagnostics == {}
    assert outcomes[0].artefacts == {}
    assert not (plain.directory / "diagnostics.npz").exists()
    assert "diagnostics_seconds" not in outcomes[0].details
    seconds = outcomes[1].details["diagnostics_seconds"]
    assert isinstance(seconds, float)
    assert seconds > 0


@pytest.mark.parametrize("name", ["none", "part random", "steps ramp", "hardest natural"])
@pytest.mark.parametrize("stops", [[0], [1, 3], [4], [5, 2], [10]])
def test_a_stopped_and_resumed_run_records_the_same_bytes(name: str, stops: list[int]) -> None:
    """Before the first step, at a record, between two, and in the final evaluation."""
    settings = [
        config(mining=MININGS[name], steps=9, diagnostics=WHAT, learning_rate=rate)
        for rate in (1e-2, 1e-3)
    ]
    whole, parts = (
        [FakeRun(f"run{i}", 4, setting) for i, setting in enumerate(settings)] for _ in range(2)
    )
    expected = train(whole)
    for stop in stops:
        train(parts, stop)
    outcomes = train(parts)
    for ours, theirs, run, twin in zip(outcomes, expected, parts, whole, strict=True):
        assert ours.diagnostics == theirs.diagnostics
        mine, other = ((r.directory / "diagnostics.npz").read_bytes() for r in (run, twin))
        assert mine == other


def test_neighbours_do_not_matter() -> None:
    """A run records alone what it records in a stack, up to rounding."""
    setting = config(mining=MININGS["adversarial"], precision="fp64", diagnostics=WHAT)
    alone, *together = (FakeRun("a", seed, setting) for seed in (5, 2, 5))
    train([alone])
    train(together)
    (ours, _), (theirs, _), (other, _) = (
        read(r.directory) for r in (alone, together[1], together[0])
    )
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert not np.allclose(ours["energy"], other["energy"])


def test_every_run_of_a_study_has_the_same_probes() -> None:
    """Whatever its seed and condition; another study's are others, and nobody trains on them."""
    runs = [
        recorded(config(mining=MININGS[name], diagnostics=WHAT, steps=2), seed)
        for name, seed in (("none", 1), ("adversarial", 2), ("hardest random", 1))
    ]
    for _, arrays, _ in runs[1:]:
        for name in ("level", "fixed_distance", "fixed_residual", "fixed_projected"):
            assert np.array_equal(arrays[name], runs[0][1][name]), name
    _, other, _ = recorded(config(diagnostics=WHAT, steps=2, held_out_seed=9))
    assert not np.allclose(other["fixed_distance"], runs[0][1]["fixed_distance"])
    counts = np.bincount(runs[0][1]["level"], minlength=10)
    assert counts.max() - counts.min() <= 1


def test_the_file_describes_itself() -> None:
    """Each array has a line of its axes and unit, sizes agree with labels, all numbers finite."""
    outcome, arrays, index = recorded(config(mining=MININGS["steps ramp"], diagnostics=WHAT))
    assert set(index["arrays"]) == set(arrays)
    assert arrays["step"].tolist() == [0, 2, 4, 6]
    assert index["schema_version"] == 1
    assert index["settings"] == {"every": 2, "probes": 24, "opt_steps": 2, "noise_scale": 3.0}
    sizes = {axis: len(names) for axis, names in index["labels"].items()}
    for name, about in index["arrays"].items():
        assert arrays[name].dtype in (np.float32, np.int32)
        assert np.isfinite(arrays[name]).all()
        assert about["unit"]
        assert len(about["axes"]) == arrays[name].ndim
        for axis, size in zip(about["axes"], arrays[name].shape, strict=True):
            assert sizes.setdefault(axis, size) == size, (name, axis)
    assert outcome.artefacts == {"diagnostics": "diagnostics.npz"}
    assert {n: each["value"] for n, each in index["summary"].items()} == outcome.diagnostics
    assert set(outcome.diagnostics) == set(SUMMARIES)


@pytest.mark.parametrize("what", [{"every": 1, "probes": 256}, {"every": 6, "probes": 1024}])
def test_a_file_stays_below_two_megabytes(what: dict[str, int]) -> None:
    """At the published matrix size, with as many records and probes as are accepted together."""
    setting = config(
        matrix_size=20, steps=15, mining=MININGS["adversarial"], diagnostics=what, held_out_size=8
    )
    run = FakeRun("a", 0, setting)
    train([run])
    assert 1e6 < (run.directory / "diagnostics.npz").stat().st_size < 2e6


def test_summaries_are_functions_of_the_arrays() -> None:
    """Recomputed here from the file alone."""
    outcome, arrays, index = recorded(
        config(mining=MININGS["part natural"], diagnostics={"every": 3, "probes": 24}, steps=7)
    )
    summary, labels = outcome.diagnostics, index["labels"]
    solutions = {name: arrays["energy"][-1, i] for i, name in enumerate(labels["solution"])}
    for place, prefix in ((0, ""), (1, "own_")):
        mined = solutions["own" if prefix else "probe"]
        gap = float((mined - solutions["inverse"]).mean())
        assert summary[f"{prefix}energy_gap"] == pytest.approx(gap, rel=1e-4)
        nearer = arrays["distance"][-1, place] < arrays["fixed_distance"][0]
        assert summary[f"{prefix}false_negative_share"] == pytest.approx(nearer.mean())
        cosine = arrays["gradient_cosine"][1:, place, -1].mean()
        assert summary[f"{prefix}gradient_cosine"] == pytest.approx(float(cosine), rel=1e-5)
        norms = arrays["gradient_norm"][1:, :, -1]
        ratio = (norms[:, 1 + place] / norms[:, 0]).mean()
        assert summary[f"{prefix}gradient_ratio"] == pytest.approx(float(ratio), rel=1e-5)
    # Records after steps 3, 6 and 7.
    clipped = arrays["clipped_share"] @ np.array([0, 3, 3, 1]) / 7
    assert summary["clipped_share"] == pytest.approx(float(clipped))


@pytest.mark.parametrize(("clip", "share"), [(1e-6, 1.0), (1e6, 0.0)])
def test_clipped_steps_are_counted_between_records(clip: float, share: float) -> None:
    """All of them under a tiny limit, none under a huge one, and none before training."""
    _, arrays, _ = recorded(config(grad_clip=clip, diagnostics={"every": 4, "probes": 8}))
    assert arrays["clipped_share"].tolist() == [0.0, share, share]


@pytest.mark.parametrize(("noise_scale", "share"), [(0.0, 1.0), (3.0, 0.0)])
def test_a_false_negative_is_nearer_than_its_noise(noise_scale: float, share: float) -> None:
    """Without inner steps, the inverse itself always is one, and three times the noise never."""
    what = {**WHAT, "opt_steps": 0, "noise_scale": noise_scale}
    outcome, _, _ = recorded(config(diagnostics=what))
    assert outcome.diagnostics["false_negative_share"] == share
    assert outcome.diagnostics["reverted_share"] == 0
    if noise_scale == 0:
        assert outcome.diagnostics["distance"] == pytest.approx(0, abs=1e-5)
        assert outcome.diagnostics["residual"] == pytest.approx(0, abs=1e-4)


def test_the_noise_alone_is_the_yardstick() -> None:
    """Mining that only adds the level's noise comes out exactly as far as the yardstick says."""
    what = {**WHAT, "opt_steps": 0, "noise_scale": 1.0}
    _, arrays, _ = recorded(config(diagnostics=what, precision="fp64"))
    for each in arrays["distance"][:, 0]:
        np.testing.assert_allclose(each, arrays["fixed_distance"][0], rtol=1e-6)


def test_projections_keep_squared_distances_in_expectation() -> None:
    """Directions are orthogonal, of one length, and few."""
    setting = config(matrix_size=20, diagnostics=WHAT)
    stack = Stack([setting], [0], CPU)
    assert setting.diagnostics is not None
    directions = draw_probes(stack, setting.diagnostics).directions.double()
    assert directions.shape == (400, 32)
    expected = 400 / 32 * torch.eye(32, dtype=torch.float64)
    assert (directions.T @ directions - expected).abs().max() < 1e-5
    drawn = torch.randn(2000, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ratio = ((drawn @ directions) ** 2).sum(1) / (drawn**2).sum(1)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)


def test_natural_examples_are_other_inverses() -> None:
    """Each is the exact inverse of another probe, and a random one stays within the limit."""
    stack = Stack([config(diagnostics=WHAT)], [0], CPU)
    assert stack.config.diagnostics is not None
    probes = draw_probes(stack, stack.config.diagnostics).batch
    fixed = fixed_solutions(probes, stack.schedule())
    assert torch.equal(fixed["natural"][0, :-1], probes.y[0, 1:])
    assert torch.equal(fixed["natural"][0, -1], probes.y[0, 0])
    assert float(fixed["random"].abs().max()) == 2


def test_a_record_that_is_not_finite_fails_its_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with holes would poison an analysis; the failure names the array."""
    measure = Recorder._measure

    def broken(self: Recorder, group: slice, step: int) -> dict[str, torch.Tensor]:
        values = measure(self, group, step)
        values["energy"][0, 0, 0] = torch.inf
        return values

    monkeypatch.setattr(recorder_module.Recorder, "_measure", broken)
    runs = [FakeRun(name, 0, config(diagnostics=WHAT)) for name in ("a", "b")]
    outcomes = train(runs)
    assert outcomes[0].failure == "diagnostics: energy is not finite"
    assert outcomes[1].failure is None
    assert list(runs[0].directory.iterdir()) == []
    assert (runs[1].directory / "diagnostics.npz").exists()
