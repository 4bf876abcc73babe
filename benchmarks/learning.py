"""What learning rate and length do for the baseline, against predictors that need no training.

    python -m benchmarks.learning --n 6 --width 128 --batch 256 --steps 5000 \\
        --rates 1e-4 1e-3 4e-3

Trains one seed at every rate, all in one stack on the same data, and prints the validation error
of the averaged weights, the entry mean of squares, beside each trivial predictor's on the same
matrices. Prints a table and writes build/benchmarks/learning-N.json.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from training.allocator import keep_freed_memory
from training.config import IREDConfig
from training.data import held_out_set
from training.loop import train_stack
from training.references import fit_references, score_references
from training.stack import Stack

# Matrices the predictors are fitted on: 40 per coefficient of the largest at n = 20.
FIT = 16_384


def main() -> None:
    """Train, and print a row per point of the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--points", type=int, default=10, help="points of the curve")
    parser.add_argument("--matrices", type=int, default=1024, help="behind each point")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 1e-3])
    options = parser.parse_args()
    keep_freed_memory()
    configs = [_config(options, rate) for rate in options.rates]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    references = _references(configs[0])
    print("; ".join(f"{name} {value:.5f}" for name, value in references.items()), flush=True)
    print("; ".join(["step", *(f"rate {rate:g}" for rate in options.rates)]), flush=True)
    started, rows = time.monotonic(), []

    def observe(step: int, values: list[dict[str, float] | None]) -> None:
        if any(value and "validation_mse" in value for value in values):
            rows.append([step, *(value["validation_mse"] if value else None for value in values)])
            cells = ["failed" if cell is None else f"{cell:.5f}" for cell in rows[-1][1:]]
            print("; ".join([str(step), *cells]), flush=True)

    with torch.inference_mode():
        train_stack(Stack(configs, [options.seed] * len(configs), device), observe, lambda: False)
    report = {
        "settings": vars(options),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "references": references,
        "columns": ["step", *options.rates],
        "validation_mse": rows,
        "seconds": time.monotonic() - started,
    }
    path = Path(f"build/benchmarks/learning-{options.n}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['seconds']:.0f} s; written: {path}")


def _config(options: argparse.Namespace, rate: float) -> IREDConfig:
    settings: dict[str, Any] = {
        "matrix_size": options.n,
        "hidden_width": options.width,
        "batch_size": options.batch,
        "steps": options.steps,
        "learning_rate": rate,
        "curve_every": max(1, options.steps // options.points),
        "curve_size": options.matrices,
        "held_out_size": options.matrices,
    }
    return IREDConfig.model_validate(settings)


def _references(config: IREDConfig) -> dict[str, float]:
    n, seed = config.matrix_size, config.held_out_seed
    fit = held_out_set(seed, "reference fit", FIT, n, config.ridge)
    scored = held_out_set(seed, "validation", config.curve_size, n, config.ridge)
    predictors = fit_references(*(part.numpy().reshape(-1, n, n) for part in (fit.A, fit.y)))
    matrices = (part.numpy().reshape(-1, n, n) for part in (scored.A, scored.y))
    return {name: found.value for name, found in score_references(predictors, *matrices).items()}


if __name__ == "__main__":
    main()
