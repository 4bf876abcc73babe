"""Makes the README's pictures from a real run of the miniature study.

    python -m benchmarks.figures

Runs the miniature in build/figures, takes the status screen while its multiseed phase trains, and
copies the forest plot when it is complete. Writes docs/status.svg and docs/forest.svg.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

WORKSPACE = Path("build/figures")
DOCS = Path("docs")


def pipeline(*arguments: str) -> list[str]:
    """A command line of ours, on the scratch workspace."""
    return [sys.executable, "-m", "pipeline", *arguments, "--workspace", str(WORKSPACE)]


def trained_runs() -> int:
    """Runs of the multiseed phase that are done."""
    done = subprocess.run(pipeline("status", "--json"), capture_output=True, text=True, check=False)
    phases = json.loads(done.stdout)["phases"]
    return int(phases[1]["runs"]["done"])


def main() -> None:
    """Run, watch for the right moment, keep the pictures."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    make = [sys.executable, "-m", "pipeline", "init", str(WORKSPACE), "--template", "miniature"]
    subprocess.run(make, check=True)
    watch = subprocess.Popen(pipeline("advance", "--watch"))
    while watch.poll() is None and not trained_runs():
        time.sleep(0.2)
    time.sleep(8)  # until the stacks that just started report their speed
    subprocess.run(pipeline("status", "--svg", str(DOCS / "status.svg")), check=True)
    if watch.wait() != 0:
        sys.exit("the miniature study did not complete; see above")
    shutil.copy(WORKSPACE / "figures" / "multiseed-forest.svg", DOCS / "forest.svg")
    print(f"wrote {DOCS}/status.svg and {DOCS}/forest.svg")


if __name__ == "__main__":
    main()
