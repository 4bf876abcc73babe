"""What a training step costs: against the plain reading, the machine's peak, and company.

    python -m benchmarks.train [--rounds 15] [--quick]

Everything that is compared is timed in alternation in one process; ratios are taken within a round,
and reported as their median with quartiles, so that a busy machine slows both sides. Uses the GPU
where there is one. Prints tables and writes build/benchmarks/train.json.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.plain import Plain
from training.allocator import keep_freed_memory
from training.compiling import Compiler
from training.config import IREDConfig
from training.cost import step_flop
from training.loss import loss_and_gradient
from training.precision import for_products, product_mode
from training.stack import Stack, State
from training.step import Step
from training.weights import flatten, unflatten

SIZES = {
    "n 20, width 512, batch 2048": {"matrix_size": 20, "hidden_width": 512, "batch_size": 2048},
    "n 6, width 128, batch 256": {"matrix_size": 6, "hidden_width": 128, "batch_size": 256},
}
STRATEGIES = ("none", "random", "adversarial")
REPORT = Path("build/benchmarks/train.json")
Row = dict[str, Any]


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of alternation")
    parser.add_argument("--quick", action="store_true", help="miniature size only")
    parser.add_argument("--memory-child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.memory_child:
        _memory_child(json.loads(options.memory_child), device)
        return
    sizes = dict(list(SIZES.items())[1:]) if options.quick else SIZES
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "rounds": options.rounds,
    }
    report["steps"] = _show(
        [
            step_row(name, size, strategy, options.rounds, device)
            for name, size in sizes.items()
            for strategy in STRATEGIES
        ]
    )
    report["stacks"] = _show(
        [row for size in sizes.values() for row in stack_rows(size, options.rounds, device)]
    )
    report["precision"] = _show(precision_rows(device))
    if not options.quick:
        report["memory"] = _show(memory_rows())
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {REPORT}")


def config_of(size: dict[str, Any], strategy: str, **changes: Any) -> IREDConfig:
    """Return the config of one size and strategy."""
    return IREDConfig.model_validate({**size, "mining": {"strategy": strategy}, **changes})


class Ours:
    """Our training of a stack, step by step."""

    @torch.inference_mode()
    def __init__(
        self, config: IREDConfig, seeds: int, device: torch.device, *, compiled: bool
    ) -> None:
        torch.compiler.reset()
        self.stack = Stack([config] * seeds, range(seeds), device)
        self.stack.compiler = Compiler(device, pays=compiled)
        self.state = State.initial(self.stack.initial_weights())
        self.take, self.source = Step(self.stack), self.stack.batches()
        self.matrices = self.source.matrices()

    @torch.inference_mode()
    def data(self) -> None:
        """Draw matrices."""
        self.matrices = self.source.matrices()

    @torch.inference_mode()
    def step(self) -> None:
        """Train on the matrices last drawn, with new noise."""
        self.take(self.state, self.source.with_noise(*self.matrices))


def step_row(
    name: str, size: dict[str, Any], strategy: str, rounds: int, device: torch.device
) -> Row:
    """Time one size and strategy."""
    config = config_of(size, strategy)
    plain = Plain(config, device)
    ours = {kind: Ours(config, 1, device, compiled=kind == "compiled") for kind in KINDS}
    left, right = torch.randn(2048, 512, device=device), torch.randn(512, 512, device=device)

    jobs: dict[str, Timed] = {
        "plain": lambda repeats: plain.seconds("step", repeats),
        "plain data": lambda repeats: plain.seconds("data", repeats),
        "data": timed(ours["eager"].data, device),
        "peak": timed(lambda: left @ right, device),
        **{kind: timed(ours[kind].step, device) for kind in KINDS},
    }
    repeats = {"peak": 10} if size["matrix_size"] > 10 else dict.fromkeys(jobs, 20)
    times = alternate(jobs, repeats, rounds)
    plain.close()
    peak = [2 * 2048 * 512 * 512 / t for t in times["peak"]]
    row: Row = {"size": name, "strategy": strategy}
    row.update({f"{job} ms": statistics.median(times[job]) * 1e3 for job in jobs if job != "peak"})
    for kind in KINDS:
        t = times[kind]
        row[f"{kind}: times faster"] = _quartiles(_over(times["plain"], t))
        with_data = [a + b for a, b in zip(t, times["data"], strict=True)]
        plain_with = [a + b for a, b in zip(times["plain"], times["plain data"], strict=True)]
        row[f"{kind}: with data"] = _quartiles(_over(plain_with, with_data))
        share = [step_flop(config) / a / b for a, b in zip(t, peak, strict=True)]
        row[f"{kind}: share of peak"] = _quartiles(share)
    row["peak GFLOP/s"] = statistics.median(peak) / 1e9
    return row


KINDS = ("eager", "compiled")


def stack_rows(size: dict[str, Any], rounds: int, device: torch.device) -> list[Row]:
    """Time stacks of 1, 2, 5 and 10 seeds, data included, against one run alone."""
    counts = (1, 2, 5, 10)
    config = config_of(size, "adversarial")
    stacks = {count: Ours(config, count, device, compiled=False) for count in counts}

    def step(ours: Ours) -> Callable[[], None]:
        def take() -> None:
            ours.data()
            ours.step()

        return take

    jobs = {str(count): timed(step(ours), device) for count, ours in stacks.items()}
    repeats = {} if size["matrix_size"] > 10 else dict.fromkeys(jobs, 10)
    times = alternate(jobs, repeats, max(3, rounds // 3))
    return [
        {
            "n": size["matrix_size"],
            "runs in the stack": count,
            "ms per run and step": statistics.median(times[str(count)]) * 1e3 / count,
            "cost per run against alone": _quartiles(
                [b / a / count for a, b in zip(times["1"], times[str(count)], strict=True)]
            ),
        }
        for count in counts
    ]


def precision_rows(device: torch.device) -> list[Row]:
    """Relative error of the gradient in each precision against float64, at initial weights."""
    rows = []
    for strategy in STRATEGIES:
        exact = _gradient(strategy, "fp64", device)
        row: Row = {"strategy": strategy}
        for precision in ("fp32", "bf16", *(["tf32"] if device.type == "cuda" else [])):
            ours = _gradient(strategy, precision, device).double()
            row[f"{precision}: gradient error"] = float((ours - exact).norm() / exact.norm())
        rows.append(row)
    return rows


@torch.inference_mode()
def _gradient(strategy: str, precision: str, device: torch.device) -> torch.Tensor:
    config = config_of(SIZES["n 20, width 512, batch 2048"], strategy, precision=precision)
    stack = Stack([config], [0], device)
    weights = unflatten(stack.initial_weights(), stack.layout)
    with product_mode(config.precision):
        _, gradient = loss_and_gradient(
            for_products(weights, config.precision),
            stack.features(),
            stack.schedule(),
            stack.batches().next(),
            config.mining,
            stack.contrastive_weight,
            stack.noise_scale,
        )
    return flatten(gradient)


def memory_rows() -> list[Row]:
    """Peak memory of fresh processes at the published size."""
    cases: list[dict[str, Any]] = [
        {"part": "training", "seeds": 10, "strategy": "adversarial", "held_out_size": 2},
        # One noise level and no inner steps: the memory of the full sampler, a hundredth the time.
        # A further seed adds its errors, 4 MB, and the weights, moments and batch of the row above.
        {"part": "evaluation", "seeds": 2, "strategy": "none", "held_out_size": 131_072},
    ]
    rows = []
    for case in cases:
        answer = subprocess.run(
            [sys.executable, "-m", "benchmarks.train", "--memory-child", json.dumps(case)],
            capture_output=True,
            text=True,
            check=True,
        )
        rows.append({**case, **json.loads(answer.stdout)})
    return rows


def _memory_child(case: dict[str, Any], device: torch.device) -> None:
    from training.evaluate import reference_scores, score

    changes: dict[str, Any] = {"held_out_size": case["held_out_size"], "curve_size": 2}
    if case["part"] == "evaluation":
        changes.update(diffusion_steps=1, sampler_inner_steps=0)
    config = config_of(SIZES["n 20, width 512, batch 2048"], case["strategy"], **changes)
    with torch.inference_mode():
        ours = Ours(config, case["seeds"], device, compiled=False)
        for _ in range(1 if case["part"] == "evaluation" else 3):
            ours.data()
            ours.step()
        if case["part"] == "evaluation":
            references = partial(reference_scores, config)
            score(ours.stack, ours.state.average, lambda count: count > 0, references)
    answer = {"peak RSS GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if device.type == "cuda":
        answer["peak GPU GB"] = torch.cuda.max_memory_allocated(device) / 2**30
    print(json.dumps(answer))


Timed = Callable[[int], float]
"""Does something that many times, and returns seconds per repeat."""


def timed(job: Callable[[], Any], device: torch.device) -> Timed:
    """Return the job with a clock around it."""

    def run(repeats: int) -> float:
        _wait(device)
        started = time.perf_counter()
        for _ in range(repeats):
            job()
        _wait(device)
        return (time.perf_counter() - started) / repeats

    return run


def alternate(
    jobs: dict[str, Timed], repeats: dict[str, int], rounds: int
) -> dict[str, list[float]]:
    """Time all jobs in turn, `rounds` times; return seconds per repeat of each."""
    for job in jobs.values():
        job(2)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            times[name].append(job(repeats.get(name, 1)))
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _over(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [x / y for x, y in zip(a, b, strict=True)]


def _quartiles(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "q1": low, "q3": high}


def _show(rows: list[Row]) -> list[Row]:
    """Print rows as one block per row, and hand them on."""
    for row in rows:
        print("; ".join(f"{key} {_text(value)}" for key, value in row.items()), flush=True)
    print()
    return rows


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:.3g} ({value['q1']:.3g}-{value['q3']:.3g})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
