"""What rates, schedules and length do for the baseline, against predictors that need no training.

    python -m benchmarks.learning --n 6 --width 128 --batch 256 --steps 5000 \\
        --rates 1e-3 4e-3 --schedules constant cosine --set ema_every=1

Trains one seed at every rate under every schedule, all in one stack on the same data, and prints
the validation error of the averaged weights, the entry mean of squares, beside each trivial
predictor's on the same matrices. In the end it scores all of them on more matrices, with standard
errors. Prints a table and writes build/benchmarks/learning-N.json.
"""

import argparse
import itertools
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.allocator import keep_freed_memory
from training.config import IREDConfig
from training.data import HeldOutSet, held_out_set
from training.evaluate import Evaluator, held_out_chunks
from training.loop import train_stack
from training.outcome import Measurement, measure
from training.references import fit_references, score_references
from training.stack import Stack, State

# Matrices the predictors are fitted on: 40 per coefficient of the largest at n = 20.
FIT = 16_384


def main() -> None:
    """Train, and print a row per point of the curve."""
    options = _options()
    keep_freed_memory()
    columns = list(itertools.product(options.rates, options.schedules))
    names = [f"{rate:g} {shape}" for rate, shape in columns]
    configs = [_config(options, rate, shape) for rate, shape in columns]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    references = _references(configs[0], options.matrices)
    print("; ".join(f"{name} {m.value:.5f}" for name, m in references.items()), flush=True)
    print("; ".join(["step", *names]), flush=True)
    started, rows = time.monotonic(), []

    def observe(step: int, values: list[dict[str, float] | None]) -> None:
        if any(value and "validation_mse" in value for value in values):
            rows.append([step, *(value["validation_mse"] if value else None for value in values)])
            cells = ["failed" if cell is None else f"{cell:.5f}" for cell in rows[-1][1:]]
            print("; ".join([str(step), *cells]), flush=True)

    stack = Stack(configs, [options.seed] * len(configs), device)
    with torch.inference_mode():
        state = train_stack(stack, observe, lambda: False)
        final = _final(stack, state, names, options.final)
    final |= _references(configs[0], options.final)
    print(f"on {options.final} matrices:")
    for name, scored in final.items():
        print(f"{name}: {scored.value:.5f} +- {scored.standard_error:.5f}")
    report = {
        "settings": vars(options),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "references": {name: measurement.value for name, measurement in references.items()},
        "columns": ["step", *names],
        "validation_mse": rows,
        "final": {name: asdict(scored) for name, scored in final.items()},
        "seconds": time.monotonic() - started,
    }
    path = Path(f"build/benchmarks/learning-{options.n}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['seconds']:.0f} s; written: {path}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--points", type=int, default=10, help="points of the curve")
    parser.add_argument("--matrices", type=int, default=1024, help="behind each point")
    parser.add_argument("--final", type=int, default=4096, help="matrices behind the last scores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 1e-3])
    parser.add_argument("--schedules", nargs="+", default=["constant"], help="shapes")
    parser.add_argument("--warmup", type=int, default=0, help="steps, of every schedule")
    parser.add_argument(
        "--set", type=_setting, nargs="+", default=[], metavar="KEY=JSON", help="of the config"
    )
    return parser.parse_args()


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    return key, json.loads(value)


def _config(options: argparse.Namespace, rate: float, shape: str) -> IREDConfig:
    settings: dict[str, Any] = {
        "matrix_size": options.n,
        "hidden_width": options.width,
        "batch_size": options.batch,
        "steps": options.steps,
        "learning_rate": rate,
        "schedule": {"shape": shape, "warmup_steps": options.warmup},
        "curve_every": max(1, options.steps // options.points),
        "curve_size": options.matrices,
        "held_out_size": options.final,
        **dict(options.set),
    }
    return IREDConfig.model_validate(settings)


def _validation(config: IREDConfig, count: int) -> HeldOutSet:
    n = config.matrix_size
    return held_out_set(config.held_out_seed, "validation", count, n, config.ridge)


def _references(config: IREDConfig, count: int) -> dict[str, Measurement]:
    n, scored = config.matrix_size, _validation(config, count)
    fit = held_out_set(config.held_out_seed, "reference fit", FIT, n, config.ridge)
    predictors = fit_references(*(part.numpy().reshape(-1, n, n) for part in (fit.A, fit.y)))
    matrices = (part.numpy().reshape(-1, n, n) for part in (scored.A, scored.y))
    return dict(score_references(predictors, *matrices))


def _final(stack: Stack, state: State, names: list[str], count: int) -> dict[str, Measurement]:
    """Score the averaged weights on the beginning of the validation set."""
    chunks = held_out_chunks(_validation(stack.config, count))
    errors = Evaluator(stack).errors(state.average, chunks, lambda _: True)
    assert errors is not None
    return {name: measure(row.numpy()) for name, row in zip(names, errors, strict=True)}


if __name__ == "__main__":
    main()
