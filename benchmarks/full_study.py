"""The full study on one GPU in pieces: one command, until it says that all phases are complete.

    python -m benchmarks.full_study [--for-min 9] [--workspace full-study] [--example DIR]

Makes the workspace if there is none, from study.toml with the precision of --precision; carries the
study on for a piece with profile `gpu` (`pipeline advance --for-min`); then collects what is there
into the example's folder (see benchmarks/example.py). Phases are taken in their order: pilot,
multiseed, then the others as far as time goes. Between pieces the workspace has to stay with its
checkpoints: 23 MB for each run that is being trained, and 12 MB for each that has ended. Commit the
example once all phases it is to show are complete.

Ctrl-C leaves the task going, as it does with `pipeline advance --watch`. The exit code is that of
`pipeline advance`: 0 also between pieces, 3 when a person is needed; 2 when the example cannot be
written.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.example import ExampleError, collect
from pipeline.errors import PipelineError

WORKSPACE, EXAMPLE = Path("full-study"), Path("examples/ired-full")
INTERRUPTED = 130  # as shells say it


def main() -> None:
    """Carry the study on for one piece, and collect."""
    try:
        sys.exit(_piece(_options()))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ExampleError, PipelineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(PipelineError.exit_code)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, default=WORKSPACE)
    parser.add_argument("--template", default="ired", help="of a new workspace")
    parser.add_argument("--precision", default="tf32", help="of a new workspace's study")
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--for-min", type=float, default=9.0)
    parser.add_argument("--example", type=Path, default=EXAMPLE)
    return parser.parse_args()


def _piece(options: argparse.Namespace) -> int:
    """Take a piece, and return the exit code."""
    workspace: Path = options.workspace
    if not (workspace / "study.toml").exists():
        code = make_workspace(workspace, options.template, options.precision)
        if code:
            return code
    advance = ["advance", "--for-min", f"{options.for_min:g}", "--profile", options.profile]
    code = _pipeline(*advance, "--workspace", str(workspace))
    if code == INTERRUPTED:
        return code
    if (workspace / "RESULTS.md").exists():
        size = collect(workspace, options.example, commands(options.for_min, options.profile))
        print(f"{options.example}: {size / 1e6:.1f} MB")
    if code == 0:
        print("all phases are complete" if finished(workspace) else "run it again to go on")
    return code


def make_workspace(workspace: Path, template: str, precision: str) -> int:
    """Make a workspace of the template, its training in that precision; return the exit code."""
    code = _pipeline("init", str(workspace), "--template", template)
    if code:
        return code
    study = workspace / "study.toml"
    text = study.read_text(encoding="utf-8")
    study.write_text(
        text.replace("[config]\n", f'[config]\nprecision = "{precision}"\n', 1), encoding="utf-8"
    )
    return 0


def finished(workspace: Path) -> bool:
    """Whether every phase of the study is complete."""
    command = [sys.executable, "-m", "pipeline", "status", "--json", "--workspace", str(workspace)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    phases = json.loads(answer.stdout)["phases"]
    return all(phase["status"] == "complete" for phase in phases)


def commands(for_min: float, profile: str) -> Sequence[str]:
    """What a reader has to type, from the folder of a checkout, to get where the example is."""
    return [
        f"mkdir {WORKSPACE} && cp {EXAMPLE / 'study.toml'} {WORKSPACE}",
        "# again and again, until it says that all phases are complete",
        f"python -m benchmarks.full_study --for-min {for_min:g} --profile {profile}",
    ]


def _pipeline(*arguments: str) -> int:
    """Run one of its commands to its end, and return the exit code."""
    # Ctrl-C reaches the command, too, which answers it; killed meanwhile it could not.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        command = [sys.executable, "-m", "pipeline", *arguments]
        return subprocess.run(command, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    main()
