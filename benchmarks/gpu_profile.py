"""Where the time of a step goes, by kind of kernel, for `benchmarks.gpu`."""

import re
import time
from collections.abc import Callable
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

STEPS = 10
LARGEST = 12  # kernels that are named

# The first that matches a kernel's name, or an operation's on a CPU, says what it is.
KINDS = {
    "products": r"gemm|gemv|cutlass|xmma|nvjet|cublas|aten::(?:b|add|badd|baddb)?mm$",
    "draws": r"distribution|philox|random_|uniform_|normal_",
    "fused": r"triton_|cpp_fused|CompiledFxGraph",
    "copies": r"copy|memcpy|memset|fill",
}


def profile_row(steps: Callable[[int], None], device: torch.device) -> dict[str, Any]:
    """Return shares of a step's time by kind, what is idle, and the largest kernels.

    Launched one by one, not replayed: a recorded step's kernels have no gaps that are ours.
    """
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    _wait(device)
    with profile(activities=activities) as watched:
        started = time.perf_counter()
        steps(STEPS)
        _wait(device)
        wall_us = (time.perf_counter() - started) * 1e6
    busy: dict[str, float] = {}
    for event in watched.key_averages():
        of_device = event.device_type == DeviceType.CUDA
        own_us = event.self_device_time_total if cuda else event.self_cpu_time_total
        span = cuda and event.key.startswith("##")  # around kernels that are counted themselves
        if own_us > 0 and of_device is cuda and not span:
            busy[event.key] = busy.get(event.key, 0.0) + own_us
    shares: dict[str, float] = {}
    for name, own_us in busy.items():
        kind = kind_of(name)
        shares[kind] = shares.get(kind, 0.0) + own_us / wall_us
    largest = sorted(busy.items(), key=lambda item: -item[1])[:LARGEST]
    return {
        "ms per step": wall_us / STEPS / 1e3,
        "shares": {**shares, "idle": max(0.0, 1 - sum(shares.values()))},
        "largest": {name[:80]: own_us / wall_us for name, own_us in largest},
    }


def kind_of(name: str) -> str:
    """Say what a kernel does, by its name."""
    found = (kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE))
    return next(found, "other")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
