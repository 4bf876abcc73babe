"""Settings: what is refused, what stacks, and that every key has an effect."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.training.helpers import FakeContext, FakeRun, config
from training.config import (
    AdversarialMining,
    IREDConfig,
    NoMining,
    RandomMining,
    stack_key,
)
from training.trainer import IREDTrainer


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
        ({"precision": "fp8"}, "'fp32', 'fp64', 'tf32' or 'bf16'"),
        ({"held_out_size": 100, "curve_size": 101}, "lower curve_size"),
        ({"mining": {"strategy": "adverserial"}}, "'none', 'random', 'adversarial'"),
        ({"mining": {"opt_steps": 2}}, "discriminator 'strategy'"),
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


def test_numbers_stack_and_shapes_do_not() -> None:
    """Runs share a stack when they differ in nothing but numbers that belong to a model."""
    adversarial = {"strategy": "adversarial"}
    base = config(mining=adversarial)
    for together in (
        config(mining=adversarial, learning_rate=0.5),
        config(mining={**adversarial, "noise_scale": 1.0}),
        config(mining={**adversarial, "contrastive_weight": 1.0}),
    ):
        assert stack_key(together) == stack_key(base)
    for apart in (
        config(mining={"strategy": "random"}),
        config(mining={**adversarial, "opt_steps": 3}),
        config(mining=adversarial, batch_size=9),
        config(mining=adversarial, grad_clip=2.0),
    ):
        assert stack_key(apart) != stack_key(base)


ADVERSARIAL = {"strategy": "adversarial", "contrastive_weight": 0.5, "opt_steps": 2}

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
    "precision": ("fp64", {}),
    "reference_quirks": (True, {}),
    "mining.strategy": ("none", {"mining": {"strategy": "random"}}),
    "mining.contrastive_weight": (1.0, {"mining": ADVERSARIAL}),
    "mining.opt_steps": (3, {"mining": ADVERSARIAL}),
    "mining.noise_scale": (1.0, {"mining": ADVERSARIAL}),
}


def every_key() -> set[str]:
    """Return the names of all settings, those of the strategies included."""
    names = set(IREDConfig.model_fields)
    for strategy in (NoMining, RandomMining, AdversarialMining):
        names |= {f"mining.{name}" for name in strategy.model_fields}
    return names


def test_every_key_is_accounted_for() -> None:
    """A new setting needs a case below."""
    assert set(CHANGES) == every_key()


def observable(setting: IREDConfig) -> Any:
    """Train a run and return everything a study would see of it, times and machine left out."""
    context = FakeContext()
    (outcome,) = IREDTrainer().train([FakeRun("run", 0, setting)], context)
    curve = [report for report in context.reports["run"] if "validation_mse" in report[2]]
    return (outcome.metrics, outcome.references, outcome.data_digests, curve)


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_every_key_changes_something_observable(key: str) -> None:
    """No setting is inert: the original study ran 40 experiments on keys nothing read."""
    value, others = CHANGES[key]
    if key.startswith("mining."):
        if key == "mining.strategy":
            changed = config(mining={"strategy": value})
        else:
            changed = config(mining={**others["mining"], key.removeprefix("mining."): value})
    else:
        changed = config(**{**others, key: value})
    assert observable(changed) != observable(config(**others))
