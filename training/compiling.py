"""torch.compile where it pays, and the same arithmetic uncompiled where it does not or cannot.

Compiling fuses what lies between matrix products: a step on a CPU takes a fifth less, one on a GPU
half (estimated). It costs 10 to 60 seconds of every attempt and a C++ compiler on the node.
Whether to compile is decided from the config and the device alone, never from the steps that are
left, so that a resumed run computes as it did before it was stopped.
"""

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar, cast

import torch

from training.config import IREDConfig
from training.cost import step_flop

# Operations of a stack's training from which compiling pays: about five minutes on two cores, and
# on a GPU about half a minute, in which an uncompiled step mostly waits to be launched.
WORTH_FLOP = {"cpu": 6e13, "cuda": 1e15}

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


def worth_compiling(config: IREDConfig, models: int, device: torch.device) -> bool:
    """Whether a stack's training is long enough to earn back its compilation."""
    return step_flop(config) * config.steps * models >= WORTH_FLOP[device.type]


class Compiler:
    """Compiles the functions of one stack, or hands them back as they are."""

    def __init__(self, device: torch.device, *, pays: bool) -> None:
        self._device, self._pays = device, pays
        self._compiled: dict[Callable[..., object], _Compiled[..., object]] = {}

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function, to be compiled at its first call if that pays."""
        if not self._pays:
            return function
        if function not in self._compiled:
            self._compiled[function] = _Compiled(function, self._device)
        return cast(Callable[P, R], self._compiled[function])

    def summary(self) -> str:
        """Say for the record whether functions were compiled: yes, no, or why not."""
        failures = [c.failure for c in self._compiled.values() if c.failure]
        if failures:
            return f"no: {failures[0]}"
        return "yes" if self._pays else "no: too short to pay"


class _Compiled(Generic[P, R]):
    """A function that is compiled at its first call, or stays as it is when that fails."""

    def __init__(self, function: Callable[P, R], device: torch.device) -> None:
        options: dict[str, str | int | bool | Callable[..., object]] = {
            # Workers that compile in parallel outlive a killed job, and win nothing on few cores.
            "compile_threads": 1,
            # Products called from C++ rather than Python: 5 to 9 % of a small model's step.
            "cpp_wrapper": True,
        }
        self._eager = function
        self._call: Callable[P, R] = torch.compile(
            function,
            fullgraph=True,
            dynamic=False,
            options=options if device.type == "cpu" else None,
        )
        self._tried = False
        self.failure: str | None = None  # why it stays uncompiled

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._tried:
            return self._call(*args, **kwargs)
        self._tried = True
        try:
            return self._call(*args, **kwargs)
        except Exception as error:
            # Compilers fail in many ways (none installed, a full /tmp, a broken toolchain), all
            # before the function has run. If it is the function that fails, it fails again below.
            self.failure = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("training goes on uncompiled, torch.compile failed: %s", self.failure)
            self._call = self._eager
            return self._eager(*args, **kwargs)
