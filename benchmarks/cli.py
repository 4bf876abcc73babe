"""What the command line costs: `pipeline status` against bare imports, and a large state file.

    python -m benchmarks.cli

Prints a table and writes build/benchmarks/cli.json. The ratio is the figure to quote: both
commands run in alternation on the same machine.
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.state import (
    JobRecord,
    PhaseRecord,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)
from pipeline.store import StateStore

ROUNDS = 21
OUT = Path("build/benchmarks/cli.json")


def synthetic(runs: int, study: Path) -> State:
    """A state with that many finished runs in tasks of ten."""
    from pipeline.digest import digest_of

    keys = [f"multiseed/baseline-s{seed}-0123abcd" for seed in range(runs)]
    records = {
        key: RunRecord(
            phase="multiseed", condition="baseline", seed=seed, config_digest="0" * 64,
            status=RunStatus.DONE, job="t0", task=seed // 10, tries=1, result_digest="1" * 64,
            device_seconds=5400.0, gpu_seconds=5400.0,
        )
        for seed, key in enumerate(keys)
    }  # fmt: skip
    tasks = tuple(
        TaskRecord(runs=tuple(keys[i : i + 10]), state=TaskState.ENDED, scheduler_state="COMPLETED")
        for i in range(0, runs, 10)
    )
    job = JobRecord(
        phase="multiseed", profile="a100", backend="slurm", tasks=tasks, job_id="1",
        submitted_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return State(
        study="synthetic",
        study_digest=digest_of(study.read_bytes()),
        profile="a100",
        phases={"multiseed": PhaseRecord(kind="multiseed", analysed="2" * 64)},
        runs=records,
        jobs={"t0": job},
    )


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def status_against_imports(folder: Path) -> dict[str, float]:
    """Median and quartiles of the ratio, pair by pair."""
    study = folder / "study.toml"
    study.write_text("# not read: the state says all\n")
    StateStore(folder / ".state").save(synthetic(1_000, study))
    status = [sys.executable, "-m", "pipeline", "status", "--workspace", str(folder)]
    bare = [sys.executable, "-c", "import pydantic, rich"]

    def run(command: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    ratios = [seconds(run(status)) / seconds(run(bare)) for _ in range(ROUNDS)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": middle, "lower_quartile": low, "upper_quartile": high}


def large_state(folder: Path) -> dict[str, float]:
    """Seconds to load with full validation and to save 10,000 runs."""
    study = folder / "study.toml"
    study.write_text("\n")
    store = StateStore(folder / ".state")
    store.save(synthetic(10_000, study))
    (folder / ".state" / "pipeline.json.sha256").unlink()  # so that the load validates
    load_s = seconds(store.load)
    state = store.load()
    assert state is not None
    save_s = seconds(lambda: store.save(state))
    return {"load_and_validate_s": load_s, "validate_and_save_s": save_s, "sum_s": load_s + save_s}


def main() -> None:
    """Measure, print, write."""
    result: dict[str, Any] = {"machine": platform.platform(), "rounds": ROUNDS}
    with tempfile.TemporaryDirectory() as folder:
        result["status_over_bare_imports"] = status_against_imports(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        result["state_of_10_000_runs"] = large_state(Path(folder))
    ratio, large = result["status_over_bare_imports"], result["state_of_10_000_runs"]
    print("pipeline status, 1,000 runs / python -c 'import pydantic, rich'")
    print(f"  median {ratio['median']:.2f} [{ratio['lower_quartile']:.2f}, "
          f"{ratio['upper_quartile']:.2f}] over {ROUNDS} pairs")  # fmt: skip
    print(f"state of 10,000 runs: load + validate + save {large['sum_s']:.2f} s here")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
