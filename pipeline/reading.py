"""Which keys of their configs the runs of a task read: watched from outside, the configs unchanged.

A key is watched by a property on the config's class that removes itself at the first read: from
then on, and for compilers that look into classes, nothing is there. Type, equality, hash, pickling
and dumps of a config stay what they are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

_DUMPS = ("model_dump", "model_dump_json", "__iter__")
"""What hands out every key at once: which of them are used then cannot be told."""

Place = tuple[type[BaseModel], str]
"""A field of a model."""


class Reading:
    """What a task has read of its runs' configs so far.

    Runs that train together may read what they share from one of them, so a key counts as read
    for all once it was read in any.
    """

    def __init__(self, configs: Mapping[str, BaseModel]) -> None:
        self._configs = configs  # alive as long as their ids are used below
        self._prefixes: dict[int, set[str]] = {}
        self._waiting: dict[Place, set[str]] = {}
        self._own_dumps: dict[Place, object] = {}
        for config in configs.values():
            self._enter(config, "")

    def unread(self, run_id: str) -> list[str]:
        """Dotted keys of a run's config that nobody read; of a table nobody read, its own name."""
        return sorted(self._unread(self._configs[run_id], ""))

    def watch(self) -> None:
        """Put the properties in place."""
        for model in {model for model, _ in self._waiting}:
            for name in _DUMPS:
                self._own_dumps[model, name] = vars(model).get(name)
                setattr(model, name, _dumping(getattr(model, name), self._read_all))
        for model, name in self._waiting:
            setattr(model, name, _reading(name, self._read))

    def stop(self) -> None:
        """Take away what is still in place."""
        for place, own in self._own_dumps.items():
            delattr(*place) if own is None else setattr(*place, own)
        for place, paths in self._waiting.items():
            if paths:
                self._remove(place)

    def _enter(self, config: BaseModel, prefix: str) -> None:
        self._prefixes.setdefault(id(config), set()).add(prefix)
        for name, inner in _settings(config):
            self._waiting.setdefault((type(config), name), set()).add(prefix + name)
            for nested in inner:
                self._enter(nested, f"{prefix}{name}.")

    def _read(self, config: BaseModel, name: str) -> None:
        place = (type(config), name)
        waiting = self._waiting.get(place)
        if not waiting:
            return
        # A copy that the trainer made stands at any of the places where its type stands.
        prefixes = self._prefixes.get(id(config))
        waiting -= set(waiting) if prefixes is None else {prefix + name for prefix in prefixes}
        if not waiting:
            self._remove(place)

    def _read_all(self, config: BaseModel) -> None:
        for name, inner in _settings(config):
            self._read(config, name)
            for nested in inner:
                self._read_all(nested)

    def _unread(self, config: BaseModel, prefix: str) -> set[str]:
        found: set[str] = set()
        for name, inner in _settings(config):
            if prefix + name in self._waiting[type(config), name]:
                found.add(prefix + name)
                continue
            for nested in inner:
                found |= self._unread(nested, f"{prefix}{name}.")
        return found

    def _remove(self, place: Place) -> None:
        with suppress(AttributeError):  # another thread was first
            delattr(*place)


@contextmanager
def watched(configs: Mapping[str, BaseModel]) -> Iterator[Reading]:
    """Watch which keys of the configs (by run id) are read inside the block."""
    reading = Reading(configs)
    reading.watch()
    try:
        yield reading
    finally:
        reading.stop()


def _settings(config: BaseModel) -> Iterator[tuple[str, list[BaseModel]]]:
    """Fields that can have more than one value, each with the models inside its value."""
    for name, field in type(config).model_fields.items():
        options = get_args(field.annotation)
        if get_origin(field.annotation) is Literal and len(options) == 1:
            continue  # the tag of a union says which model it is, and isinstance says so as well
        yield name, list(_models(config.__dict__[name]))


def _models(value: object) -> Iterable[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _models(item)


def _reading(name: str, told: Callable[[BaseModel, str], None]) -> property:
    def read(config: BaseModel) -> Any:
        told(config, name)
        return config.__dict__[name]

    def write(config: BaseModel, value: Any) -> None:
        config.__dict__[name] = value

    return property(read, write)


def _dumping(dump: Callable[..., Any], told: Callable[[BaseModel], None]) -> Callable[..., Any]:
    def recorded(config: BaseModel, *args: Any, **options: Any) -> Any:
        told(config)
        return dump(config, *args, **options)

    return recorded
