"""Pure functions that are not computed twice in a process for the same arguments.

`advance --watch` reports after every task; of phases that ended long ago nothing has changed.
"""

import functools
import io
import pickle
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pipeline.digest import digest_of

P = ParamSpec("P")
R = TypeVar("R")
_KEPT = 32
"""Results of one function: its phases, with some to spare."""


def remembered(compute: Callable[P, R]) -> Callable[P, R]:
    """Keep the last results of a pure function, by the values of its arguments.

    The arguments must be such as pickle takes; a result is shared by those who asked for it, so
    that it must not be changed.
    """
    kept: dict[str, R] = {}

    @functools.wraps(compute)
    def once(*args: P.args, **kwargs: P.kwargs) -> R:
        key = digest_of(_content(args, kwargs))
        if key not in kept:
            while len(kept) >= _KEPT:
                del kept[next(iter(kept))]
            kept[key] = compute(*args, **kwargs)
        return kept[key]

    return once


def _content(args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
    """The values alone: which of them are the same object in memory makes no difference."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.fast = True
    pickler.dump((args, sorted(kwargs.items())))
    return buffer.getvalue()
