"""Settings: what is refused, what stacks, and that every key has an effect."""

from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError

from tests.training.helpers import FakeContext, FakeRun, config
from training.config import Diagnostics, IREDConfig, settings_of, stack_key
from training.schedules import ConstantRate, CosineDecay, LinearDecay, RateSchedule
from training.stack import Stack
from training.strategies import (
    AdversarialMining,
    CurriculumMining,
    HardestMining,
    HardExamples,
    Mining,
    NoMining,
    RandomMining,
    Settings,
    mining_at,
    opt_steps_shares,
)
from training.trainer import IREDTrainer

ADVERSARIAL = {"strategy": "adversarial", "contrastive_weight": 0.5, "opt_steps": 2}
FEW = {"every": 10**5, "probes": 8}
PART = {**ADVERSARIAL, "fraction": 0.5}
COSINE = {"shape": "cosine", "warmup_steps": 2}
RAMP = {"strategy": "curriculum", "ramp": "noise_scale", "start": 5.0}
HARDEST = {"strategy": "hardest_n", "candidates": 3}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"learning_rat": 1e-4}, "Extra inputs are not permitted"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"batch_size": "2048"}, "valid integer"),
        ({"steps": True}, "valid integer"),
        ({"learning_rate": float("nan")}, "finite number"),
        ({"learning_rate": float("inf")}, "finite number"),
        ({"ridge": 0.0}, "greater than 0"),
        ({"adam_beta2": 1.0}, "less than 1"),
        ({"schedule": {"shape": "cosin"}}, "'constant', 'cosine', 'linear'"),
        ({"schedule": {"warmup_steps": 5}}, "discriminator 'shape'"),
        ({"schedule": {"shape": "constant", "floor_share": 0.1}}, "Extra inputs are not permitted"),
        ({"schedule": {"shape": "cosine", "floor_share": 1.0}}, "less than 1"),
        ({"schedule": {"shape": "constant", "warmup_steps": 10**5}}, "lower schedule.warmup_steps"),
        ({"schedule": {**COSINE, "warmup_steps": 99_999}}, "leaves 1 for the rest of the schedule"),
        ({"schedule": COSINE, "steps": 2}, "schedule.warmup_steps = 2 of steps = 2 leaves 0 for"),
        ({"precision": "fp8"}, "'fp32', 'fp64', 'tf32' or 'bf16'"),
        ({"held_out_size": 100, "curve_size": 101}, "lower curve_size"),
        ({"mining": {"strategy": "adverserial"}}, "'none', 'random', 'adversarial', 'curr"),
        ({"mining": {"opt_steps": 2}}, "discriminator 'strategy'"),
        ({"mining": {**ADVERSARIAL, "filler": "natural"}}, "nothing to fill while fraction is 1"),
        ({"mining": {**ADVERSARIAL, "fraction": 0.0}}, "greater than 0"),
        ({"mining": {**ADVERSARIAL, "fraction": 1e-4}}, "rounds to 0 samples"),
        ({"mining": {**ADVERSARIAL, "fraction": 0.9999}}, "rounds to 2048 samples"),
        ({"mining": {"strategy": "curriculum", "start": 2}}, "nothing ramps"),
        ({"mining": {"strategy": "curriculum", "start": 0.5}}, "no number of inner steps"),
        ({"mining": {"strategy": "curriculum", "opt_steps": 7}}, "stays within 6 inner steps"),
        ({"mining": {"strategy": "curriculum", "start": 7}}, "stays within 6 inner steps"),
        ({"mining": {"strategy": "hardest_n", "kept": 8}}, "leaves nothing to choose"),
        ({"mining": {"strategy": "hardest_n"}, "batch_size": 8}, "no negative"),
        ({"mining": {"strategy": "ohem", "kept_share": 1.0}}, "less than 1"),
        ({"mining": {"strategy": "ohem", "kept_share": 1e-4}}, "rounds to 0 samples"),
        ({"diagnostics": {"every": 0}}, "greater than or equal to 1"),
        ({"diagnostics": {"every": 1}}, "100001 records of 256 probes are more than 4096"),
        ({"diagnostics": {"every": 6000}}, "18 records of 256 probes are more than 4096"),
        (
            {"mining": {"strategy": "hardest_n"}, "diagnostics": FEW},
            "need diagnostics.probes above",
        ),
        ({"mining": {**ADVERSARIAL, "fraction": 0.01}, "diagnostics": FEW}, "probes = 8 rounds to"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], complaint: str) -> None:
    """A typo, a wrong type or an impossible value dies before anything is submitted."""
    with pytest.raises(ValidationError, match=complaint):
        IREDConfig.model_validate(settings)


@pytest.mark.parametrize(
    "mining",
    [
        {"strategy": "none", "contrastive_weight": 0.5},
        {"strategy": "none", "opt_steps": 2},
        {"strategy": "random", "opt_steps": 2},
        {"strategy": "random", "noise_scale": 3.0},
        {"strategy": "random", "fraction": 0.5},
        {"strategy": "adversarial", "ramp": "opt_steps"},
        {"strategy": "hardest_n", "opt_steps": 2},
        {"strategy": "ohem", "contrastive_weight": 0.5},
    ],
)
def test_a_setting_its_strategy_does_not_read_is_refused(mining: dict[str, Any]) -> None:
    """A study cannot sweep a key that has no effect."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        IREDConfig.model_validate({"mining": mining})


def test_defaults_are_the_published_setting() -> None:
    """An empty config is the experiment of the paper."""
    published = IREDConfig()
    assert (published.matrix_size, published.batch_size, published.steps) == (20, 2048, 100_000)
    assert (published.learning_rate, published.hidden_width) == (1e-4, 512)
    assert published.mining == NoMining()
    adversarial = IREDConfig.model_validate({"mining": {"strategy": "adversarial"}})
    assert adversarial.mining == AdversarialMining(
        contrastive_weight=0.5, opt_steps=2, noise_scale=3.0
    )


def test_a_config_survives_its_json() -> None:
    """What a run's config.json says is read back as the same config."""
    original = config(mining={"strategy": "random", "contrastive_weight": 0.25})
    assert IREDConfig.model_validate_json(original.model_dump_json()) == original
    assert IREDConfig.model_validate(original.model_dump(mode="json")) == original


def test_whoever_sets_no_schedule_has_the_settings_of_before() -> None:
    """What is named by settings, run folders and checkpoints, is found again by a later version."""
    silent, spoken = config(), config(schedule={"shape": "constant"})
    for dump in (silent.model_dump(), spoken.model_dump(mode="json"), settings_of(silent)):
        assert "schedule" not in dump
        assert dump["learning_rate"] == 1e-2
    assert silent == spoken
    assert silent.model_dump_json() == spoken.model_dump_json()
    for table in ({"shape": "constant", "warmup_steps": 1}, {"shape": "linear"}):
        told = config(schedule=table)
        assert settings_of(told)["schedule"].items() >= table.items()
        assert IREDConfig.model_validate_json(told.model_dump_json()) == told


def test_numbers_stack_and_shapes_do_not() -> None:
    """Runs share a stack when they differ in nothing but numbers that belong to a model."""
    adversarial = {"strategy": "adversarial"}
    base = config(mining=adversarial)
    for together in (
        config(mining=adversarial, learning_rate=0.5),
        config(mining=adversarial, schedule=COSINE),
        config(mining={**adversarial, "noise_scale": 1.0}),
        config(mining={**adversarial, "contrastive_weight": 1.0}),
    ):
        assert stack_key(together) == stack_key(base)
    for apart in (
        config(mining={"strategy": "random"}),
        config(mining={**adversarial, "opt_steps": 3}),
        config(mining={**adversarial, "fraction": 0.5}),
        config(mining={**adversarial, "strategy": "curriculum"}),
        config(mining=adversarial, batch_size=9),
        config(mining=adversarial, grad_clip=2.0),
    ):
        assert stack_key(apart) != stack_key(base)


# For every key: a value other than the tests' own, and what the rest has to be for it to matter.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "matrix_size": (4, {}),
    "ridge": (0.7, {}),
    "harder_ridge": (0.2, {}),
    "hidden_width": (17, {}),
    "diffusion_steps": (7, {}),
    "mining": ({"strategy": "random"}, {}),
    "batch_size": (9, {}),
    "steps": (7, {}),
    "learning_rate": (2e-2, {}),
    "schedule": ({"shape": "cosine"}, {}),
    "adam_beta1": (0.8, {}),
    "adam_beta2": (0.9, {}),
    "grad_clip": (1e-6, {}),
    "ema_decay": (0.1, {}),
    "ema_every": (2, {}),
    "ema_warmup": (3, {}),
    "sampler_inner_steps": (3, {}),
    "held_out_size": (25, {}),
    "held_out_seed": (5, {}),
    "curve_every": (2, {}),
    "curve_size": (9, {}),
    "diagnostics": ({"every": 3, "probes": 8}, {}),
    "precision": ("fp64", {}),
    "reference_quirks": (True, {}),
}

# The same for the keys of each strategy.
MINING_CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "none strategy": ("ohem", {}),
    "random strategy": ("none", {}),
    "random contrastive_weight": (1.0, {"strategy": "random"}),
    "adversarial strategy": ("random", {}),
    "adversarial contrastive_weight": (1.0, ADVERSARIAL),
    "adversarial opt_steps": (3, ADVERSARIAL),
    "adversarial noise_scale": (1.0, ADVERSARIAL),
    "adversarial fraction": (0.5, ADVERSARIAL),
    "adversarial filler": ("natural", PART),
    "curriculum strategy": ("adversarial", {}),
    "curriculum contrastive_weight": (1.0, RAMP),
    "curriculum opt_steps": (3, RAMP),
    "curriculum noise_scale": (1.0, RAMP),
    "curriculum fraction": (0.5, RAMP),
    "curriculum filler": ("random", {**RAMP, "fraction": 0.5}),
    "curriculum ramp": ("contrastive_weight", RAMP),
    "curriculum start": (4.0, RAMP),
    "curriculum ramp_share": (0.9, RAMP),
    "hardest_n strategy": ("random", {}),
    "hardest_n contrastive_weight": (1.0, HARDEST),
    "hardest_n candidates": (4, HARDEST),
    "hardest_n kept": (2, HARDEST),
    "hardest_n source": ("random", HARDEST),
    "ohem strategy": ("none", {}),
    "ohem kept_share": (0.25, {"strategy": "ohem"}),
}

# And for those of each schedule.
SCHEDULE_CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "constant shape": ("linear", {}),
    "constant warmup_steps": (1, {"shape": "constant"}),
    "cosine shape": ("linear", {}),
    "cosine warmup_steps": (1, COSINE),
    "cosine floor_share": (0.5, COSINE),
    "linear shape": ("constant", {}),
    "linear warmup_steps": (1, {"shape": "linear"}),
    "linear floor_share": (0.5, {"shape": "linear"}),
}

# And for those of an instrumented run.
DIAGNOSTICS = {"every": 2, "probes": 8}
DIAGNOSTICS_CHANGES = {"every": 3, "probes": 9, "opt_steps": 1, "noise_scale": 1.0}

STRATEGIES: dict[str, type[Settings]] = {
    "none": NoMining,
    "random": RandomMining,
    "adversarial": AdversarialMining,
    "curriculum": CurriculumMining,
    "hardest_n": HardestMining,
    "ohem": HardExamples,
}


def test_every_key_is_accounted_for() -> None:
    """A new setting needs a case above."""
    assert set(CHANGES) == set(IREDConfig.model_fields)
    assert set(DIAGNOSTICS_CHANGES) == set(Diagnostics.model_fields)
    shapes: dict[str, type[Settings]] = {
        "constant": ConstantRate,
        "cosine": CosineDecay,
        "linear": LinearDecay,
    }
    assert set(get_args(get_args(RateSchedule)[0])) == set(shapes.values())
    assert set(SCHEDULE_CHANGES) == {
        f"{shape} {key}" for shape, model in shapes.items() for key in model.model_fields
    }
    members = get_args(get_args(Mining)[0])
    assert set(members) == set(STRATEGIES.values())
    assert set(MINING_CHANGES) == {
        f"{strategy} {key}" for strategy, model in STRATEGIES.items() for key in model.model_fields
    }


def observable(setting: IREDConfig) -> Any:
    """Train a run and return everything a study would see of it, times and machine left out."""
    context = FakeContext()
    (outcome,) = IREDTrainer().train([FakeRun("run", 0, setting)], context)
    curve = [report for report in context.reports["run"] if "validation_mse" in report[2]]
    recorded = (outcome.diagnostics, outcome.artefacts)
    return (outcome.metrics, outcome.references, outcome.data_digests, curve, recorded)


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_every_key_changes_something_observable(key: str) -> None:
    """No setting is inert: the original study ran 40 experiments on keys nothing read."""
    value, others = CHANGES[key]
    assert observable(config(**{**others, key: value})) != observable(config(**others))


@pytest.mark.parametrize("name", sorted(MINING_CHANGES))
def test_every_key_of_a_strategy_changes_something_observable(name: str) -> None:
    """Nor is a setting of mining inert, in any strategy that has it."""
    strategy, key = name.split()
    value, table = MINING_CHANGES[name]
    if key == "strategy":
        # Even where every other setting is the default.
        before, after = {"strategy": strategy}, {"strategy": value}
        size = {"batch_size": 9}  # above the candidates of hardest_n
    else:
        before, after, size = table, {**table, key: value}, {}
    assert observable(config(mining=after, **size)) != observable(config(mining=before, **size))


@pytest.mark.parametrize("name", sorted(SCHEDULE_CHANGES))
def test_every_key_of_a_schedule_changes_something_observable(name: str) -> None:
    """Nor is a setting of the learning rate's schedule inert, in any shape that has it."""
    shape, key = name.split()
    value, table = SCHEDULE_CHANGES[name]
    if key == "shape":
        before, after = {"shape": shape}, {"shape": value}
    else:
        before, after = table, {**table, key: value}
    assert observable(config(schedule=after)) != observable(config(schedule=before))


@pytest.mark.parametrize("key", DIAGNOSTICS_CHANGES)
def test_every_key_of_diagnostics_changes_something_observable(key: str) -> None:
    """What an instrumented run records is what its table says."""
    changed = {**DIAGNOSTICS, key: DIAGNOSTICS_CHANGES[key]}
    assert observable(config(diagnostics=changed)) != observable(config(diagnostics=DIAGNOSTICS))


def test_a_ramp_starts_easy_and_reaches_its_target() -> None:
    """Inner steps hold for equal parts of the ramp and arrive as it ends; then nothing changes."""
    up = CurriculumMining(opt_steps=3, start=0, ramp_share=0.6)
    lengths = []
    for step in range(1, 101):
        mining = mining_at(up, step, 100)
        assert isinstance(mining, AdversarialMining)
        lengths.append(mining.opt_steps)
    assert lengths == [0] * 20 + [1] * 20 + [2] * 20 + [3] * 40
    down = CurriculumMining(opt_steps=1, start=3, ramp_share=0.5)
    assert [down.opt_steps_at(p) for p in (0.0, 0.49, 0.5, 0.99, 1.0)] == [3, 3, 2, 2, 1]
    assert opt_steps_shares(down) == {3: 0.25, 2: 0.25, 1: 0.5}


@pytest.mark.parametrize(
    ("ramp", "start", "own"), [("noise_scale", 5.0, 3.0), ("contrastive_weight", 0.0, 0.5)]
)
def test_a_number_ramps_linearly_between_exact_ends(ramp: str, start: float, own: float) -> None:
    """The first step has the start, the middle the mean, and from the end on it is the target."""
    setting = config(
        steps=101, mining={"strategy": "curriculum", "ramp": ramp, "start": start, "ramp_share": 1}
    )
    stack = Stack([setting] * 2, [0, 1], torch.device("cpu"))
    values = [getattr(stack.mining_numbers(step), ramp) for step in (1, 51, 101)]
    assert values[0].flatten().tolist() == [start] * 2
    assert values[1].flatten().tolist() == pytest.approx([(start + own) / 2] * 2, rel=0.01)
    half = config(
        steps=100,
        mining={"strategy": "curriculum", "ramp": ramp, "start": start, "ramp_share": 0.5},
    )
    numbers = [Stack([half], [0], torch.device("cpu")).mining_numbers(step) for step in (51, 100)]
    assert [float(getattr(n, ramp)) for n in numbers] == [own, own]
