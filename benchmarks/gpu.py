"""What a training step costs on a GPU: the floor, the measurement, and what lies between.

    python -m benchmarks.gpu [--conditions none adversarial] [--precisions tf32] [--stacks 10]
    python -m benchmarks.gpu --device cpu --small

Floors are closed forms over rates that are measured first: operations of matrix products over the
rate of a large product in that precision, bytes that those products read and write over the rate of
a large copy. A stack's step holds its data, as in training. Every row is printed as it is measured,
and build/benchmarks/gpu.json is written anew after each: what is cut short keeps what it had. The
log of what was tried, with what it was to bring and what it brought, is in benchmarks/gpu.md.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts import copy_rate, data_row, gradient_error, product_bytes, product_rate
from benchmarks.gpu_profile import profile_row
from training.compiling import Compiler
from training.config import IREDConfig
from training.cost import step_flop
from training.replay import Steps, cuda_graph
from training.stack import Stack, State

FULL = {"matrix_size": 20, "hidden_width": 512, "batch_size": 2048}
SMALL = {"matrix_size": 6, "hidden_width": 64, "batch_size": 64}
CONDITIONS = ("none", "random", "adversarial")
VARIANTS = ("eager", "compiled", "recorded")
WARM_UP = 6  # steps: compiled in the first, recorded in the fourth
REPORT = Path("build/benchmarks/gpu.json")
Row = dict[str, Any]


def main() -> None:
    """Run all parts."""
    options = _options()
    device = torch.device(options.device)
    size = SMALL if options.small else FULL
    machine = _machine(device, options)
    report = {"machine": [machine]}
    _written(report, "machine")
    for name, rows in _parts(options, size, device, machine):
        report[name] = rows
        _written(report, name)
    print(f"written: {REPORT}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    there = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=there, choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="sizes at which a CPU proves it runs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--conditions", nargs="+", default=CONDITIONS, choices=CONDITIONS)
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "tf32", "bf16"])
    parser.add_argument("--stacks", nargs="+", type=int, help="models trained together")
    options = parser.parse_args()
    cpu = options.device == "cpu"  # which has no tf32
    options.precisions = options.precisions or ["fp32", "bf16"] + (["tf32"] if not cpu else [])
    options.stacks = options.stacks or ([1, 2] if options.small else [1, 10, 30])
    return options


def _machine(device: torch.device, options: argparse.Namespace) -> Row:
    """What floors are made of."""
    cuda = device.type == "cuda"
    size = 512 if options.small else 8192
    return {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "copy GB/s": copy_rate(device, small=options.small) / 1e9,
        "TFLOP/s": {p: product_rate(p, device, size) / 1e12 for p in options.precisions},
    }


def _parts(
    options: argparse.Namespace, size: dict[str, int], device: torch.device, machine: Row
) -> Iterator[tuple[str, list[Row]]]:
    """Measure part after part; yields the rows of a part so far after each of them."""
    rows: list[Row] = []
    for stack in options.stacks:
        rows.append(data_row(config_of(size, "none"), stack, device, options.rounds))
        yield "data", rows
    rows = []
    for condition, precision in itertools.product(options.conditions, options.precisions):
        error = gradient_error(config_of(size, condition, precision), device)
        rows.append({"condition": condition, "precision": precision, "gradient error": error})
        yield "gradients", rows
    rows = []
    for stack, precision, condition in itertools.product(
        options.stacks, options.precisions, options.conditions
    ):
        config = config_of(size, condition, precision)
        rows.append(step_row(config, stack, "recorded", device, options.rounds, machine))
        yield "steps", rows
    # What compiling and recording bring, and where the time goes: of the largest step.
    config = config_of(size, options.conditions[-1], options.precisions[-1])
    rows = []
    for variant in VARIANTS:
        rows.append(step_row(config, options.stacks[0], variant, device, options.rounds, machine))
        yield "variants", rows
    trained = Trained(config, options.stacks[-1], device, "compiled")
    yield "profile", [profile_row(trained.steps, device)]


def config_of(size: dict[str, int], condition: str, precision: str = "fp32") -> IREDConfig:
    """Return the config of a condition."""
    return IREDConfig.model_validate(
        {**size, "mining": {"strategy": condition}, "precision": precision}
    )


class Trained:
    """A stack that has taken its first steps."""

    @torch.inference_mode()
    def __init__(self, config: IREDConfig, seeds: int, device: torch.device, variant: str) -> None:
        torch.compiler.reset()
        stack = Stack([config] * seeds, range(seeds), device)
        stack.compiler = Compiler(device, pays=variant != "eager")
        self.state = State.initial(stack.initial_weights())
        record = cuda_graph if variant == "recorded" and device.type == "cuda" else None
        self.take = Steps(stack, stack.batches(), record)
        self.steps(WARM_UP)

    @torch.inference_mode()
    def steps(self, count: int) -> None:
        """Take so many steps, each on a batch of its own."""
        for _ in range(count):
            self.take(self.state)


def step_row(
    config: IREDConfig,
    seeds: int,
    variant: str,
    device: torch.device,
    rounds: int,
    machine: Row,
) -> Row:
    """Time steps of a stack, and hold them against their floor."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    trained = Trained(config, seeds, device, variant)
    _wait(device)
    first_s = time.perf_counter() - started
    times = [_seconds(lambda: trained.steps(10), device) / 10 / seeds for _ in range(rounds)]
    measured = statistics.median(times)
    arithmetic = step_flop(config) / (machine["TFLOP/s"][config.precision] * 1e12)
    traffic = product_bytes(config) / (machine["copy GB/s"] * 1e9)
    row = {
        "condition": config.mining.strategy,
        "precision": config.precision,
        "stack": seeds,
        "variant": variant,
        "ms per model-step": measured * 1e3,
        "slowest round": max(times) * 1e3,
        "floor arithmetic": arithmetic * 1e3,
        "floor traffic": traffic * 1e3,
        "times floor": measured / max(arithmetic, traffic),
        "first steps s": first_s,
    }
    if device.type == "cuda":
        row["peak GB"] = torch.cuda.max_memory_allocated(device) / 1e9
    return row


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _written(report: dict[str, list[Row]], name: str) -> None:
    """Print the last row of a part, and write all there are."""
    row = report[name][-1]
    print(f"{name}: " + "; ".join(f"{k} {_text(v)}" for k, v in row.items()), flush=True)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
