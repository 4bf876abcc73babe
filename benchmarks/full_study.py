"""The full study on one GPU in pieces: one command, until it says that all phases are complete.

    python -m benchmarks.full_study [--for-min 9] [--workspace full-study] [--example DIR]

Makes the workspace if there is none, from study.toml with the precision of --precision; carries the
study on for a piece with profile `gpu` (`pipeline advance --for-min`); then collects what is there
into the example's folder (see benchmarks/example.py). Phases are taken in their order: pilot,
multiseed, then the others as far as time goes. Between pieces the workspace has to stay with its
checkpoints: 23 MB for each run that is being trained, and 12 MB for each that has ended. Commit the
example once all phases it is to show are complete.

The exit code is that of `pipeline advance`: 0 also between pieces, 3 when a person is needed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.example import collect


def main() -> None:
    """Carry the study on for one piece, and collect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("full-study"))
    parser.add_argument("--template", default="ired", help="of a new workspace")
    parser.add_argument("--precision", default="tf32", help="of a new workspace's study")
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--for-min", type=float, default=9.0)
    parser.add_argument("--example", type=Path, default=Path("examples/ired-full"))
    options = parser.parse_args()
    if not (options.workspace / "study.toml").exists():
        make_workspace(options.workspace, options.template, options.precision)
    place = ["--workspace", str(options.workspace)]
    exit_code = _pipeline(
        "advance", "--for-min", f"{options.for_min:g}", "--profile", options.profile, *place
    )
    if (options.workspace / "RESULTS.md").exists():
        size = collect(options.workspace, options.example, _commands(options))
        print(f"{options.example}: {size / 1e6:.1f} MB")
    print("all phases are complete" if finished(options.workspace) else "run it again to go on")
    sys.exit(exit_code)


def make_workspace(workspace: Path, template: str, precision: str) -> None:
    """Make a workspace of the template, its training in that precision."""
    _pipeline("init", str(workspace), "--template", template)
    study = workspace / "study.toml"
    text = study.read_text(encoding="utf-8")
    study.write_text(
        text.replace("[config]\n", f'[config]\nprecision = "{precision}"\n', 1), encoding="utf-8"
    )


def finished(workspace: Path) -> bool:
    """Whether every phase of the study is complete."""
    command = [sys.executable, "-m", "pipeline", "status", "--json", "--workspace", str(workspace)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    phases = json.loads(answer.stdout)["phases"]
    return all(phase["status"] == "complete" for phase in phases)


def _pipeline(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pipeline", *arguments], check=False).returncode


def _commands(options: argparse.Namespace) -> list[str]:
    command = f"python -m benchmarks.full_study --for-min {options.for_min:g}"
    for name in ("template", "precision", "profile"):
        command += f" --{name} {getattr(options, name)}"
    return ["# again and again, until it says that all phases are complete", command]


if __name__ == "__main__":
    main()
