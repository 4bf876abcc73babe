"""A CUDA graph as far as a CPU can have one: operations are recorded with their tensors.

As on a GPU, recording leaves everything outside of it as it was; a replay repeats the operations on
the very memory they were recorded with, whatever Python has bound to other tensors since; and what
makes the host wait, or draws, is refused while something is recorded.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.loss import Losses
from training.replay import Work

REFUSED = ("_local_scalar_dense", "random_", "normal_", "uniform_", "nonzero", "masked_select")


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.own: dict[int, Tensor] = {}  # by address, what was made while recording
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # what was not, as it was

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in REFUSED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        given = _tensors((args, kwargs))
        if func._schema.is_mutable:
            for tensor in given:
                address = _address(tensor)
                if address not in self.own and address not in self.before:
                    whole = _whole(tensor)
                    self.before[address] = whole, whole.clone()
        results = func(*args, **(kwargs or {}))
        known = {_address(tensor) for tensor in given}
        made = [] if func._schema.is_mutable else _tensors(results)
        made = [tensor for tensor in made if _address(tensor) not in known]  # the others are views
        self.own |= {_address(tensor): tensor for tensor in made}
        self.operations.append((func, args, kwargs or {}, made))
        return results

    def forget(self) -> None:
        """Leave things outside as they were, and nothing of use in what was made."""
        for tensor, was in self.before.values():
            tensor.copy_(was)
        for tensor in self.own.values():
            tensor.fill_(-7 if tensor.dtype in (torch.int64, torch.bool) else torch.nan)

    def replay(self) -> None:
        for func, args, kwargs, made in self.operations:
            results = func(*args, **kwargs)
            if made:
                for target, result in zip(made, _made(results, made), strict=True):
                    target.copy_(result)


def fake_graph(work: Work) -> Work:
    """Record work on the CPU as `training.replay.cuda_graph` does on a GPU."""
    recorder = _Recorder()
    try:
        with recorder:
            results = work()
    finally:
        recorder.forget()

    def replay() -> tuple[Losses, Tensor]:
        recorder.replay()
        return results

    return replay


def _made(results: Any, made: list[Tensor]) -> list[Tensor]:
    tensors = _tensors(results)
    return tensors[: len(made)]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _whole(tensor: Tensor) -> Tensor:
    """Everything in the memory that a tensor is a view of."""
    return tensor.as_strided((tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0)
