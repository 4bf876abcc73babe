"""Which config keys are read: told to the key, and nothing about the config changes by it."""

import copy
import pickle
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from pipeline.reading import watched


class Plain(BaseModel):
    """One member of a union."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["plain"] = "plain"


class Fancy(BaseModel):
    """The other, with settings of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["fancy"] = "fancy"
    power: int = 2
    speed: float = 1.0


class Config(BaseModel):
    """A config with a nested union and a list of models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = 3
    rate: float = 0.1
    style: Annotated[Plain | Fancy, Field(discriminator="kind")] = Field(default_factory=Plain)
    layers: tuple[Fancy, ...] = ()


class Open(BaseModel):
    """A config that may be written to."""

    steps: int = 3
    rate: float = 0.1


def unread(config: BaseModel, use: Callable[[Any], object]) -> list[str]:
    """The keys that `use` leaves unread."""
    with watched({"run": config}) as reading:
        use(config)
        return reading.unread("run")


@pytest.mark.parametrize(
    ("use", "left"),
    [
        (lambda _: None, ["layers", "rate", "steps", "style"]),
        (lambda c: (c.steps, c.rate, c.layers), ["style"]),
        (lambda c: (c.steps, c.rate, c.layers, c.style), ["style.power", "style.speed"]),
        (lambda c: (c.steps, c.rate, c.layers, c.style.power), ["style.speed"]),
        (lambda c: (c.steps, c.layers, c.style.power, c.style.speed), ["rate"]),
        (lambda c: getattr(c.model_copy(), "rate"), ["layers", "steps", "style"]),  # noqa: B009
        (lambda c: (copy.deepcopy(c).style.power, c.steps), ["layers", "rate", "style.speed"]),
        (lambda c: c.model_dump(), []),
        (lambda c: c.model_dump_json(), []),
        (dict, []),
    ],
)
def test_what_is_left_unread(use: Callable[[Any], object], left: list[str]) -> None:
    """Own keys, nested keys, keys of copies; a dump hands out everything."""
    assert unread(Config(style=Fancy()), use) == left


def test_a_tag_with_one_value_is_no_setting() -> None:
    """Whoever tells models of a union apart by isinstance has read all there is."""
    assert unread(Config(), lambda c: (c.steps, c.rate, c.layers, c.style)) == []


def test_equal_types_at_two_places_are_told_apart() -> None:
    """Reading one table's key does not count for another table of the same model."""
    config = Config(style=Fancy(), layers=(Fancy(power=9), Fancy(power=8)))

    left = unread(config, lambda c: (c.steps, c.rate, c.style.speed, c.layers[0].power, c.style))

    assert left == ["layers.speed", "style.power"]


def test_runs_that_train_together_share_what_was_read() -> None:
    """A stack reads shared settings from its first run alone."""
    first, second = Config(), Config(rate=0.2)
    with watched({"a": first, "b": second}) as reading:
        _ = (first.steps, first.layers, first.style, second.rate)

        assert reading.unread("a") == reading.unread("b") == []


def test_a_watched_config_is_the_config_it_was() -> None:
    """Type, equality, hash, pickle, repr and dump are what they are without a watch."""
    config = Config(style=Fancy(power=7))
    dumped, shown = config.model_dump(), repr(config)
    with watched({"run": config}) as reading:
        assert type(config) is Config
        assert config == Config(style=Fancy(power=7))
        assert hash(config) == hash(Config(style=Fancy(power=7)))
        assert pickle.loads(pickle.dumps(config)) == config
        assert repr(config) == shown
        assert reading.unread("run") == ["layers", "rate", "steps", "style"]
        assert config.model_dump() == dumped
        with pytest.raises(ValueError, match="frozen"):
            config.steps = 4


def test_what_a_trainer_writes_it_reads_back() -> None:
    """A config that is not frozen can be changed under the watch."""
    config = Open()
    with watched({"run": config}):
        config.steps = 7
        assert config.steps == 7
    config.rate = 0.5
    assert (config.steps, config.rate) == (7, 0.5)


def test_nothing_stays_behind() -> None:
    """After the block the classes hold what they held before, even when the block raised."""
    before = {model: dict(vars(model)) for model in (Config, Fancy)}

    def give_up(config: Any) -> None:
        _ = config.steps
        raise KeyError

    with pytest.raises(KeyError):
        unread(Config(style=Fancy()), give_up)

    for model, attributes in before.items():
        assert set(vars(model)) - set(attributes) <= {"__pydantic_setattr_handlers__"}
        assert all(vars(model)[name] is value for name, value in attributes.items())
