"""What size costs: a phase of 1,000 tasks on Slurm, and states of 10,000 and 100,000 runs.

    python -m benchmarks.scale

On the fake Slurm of the tests; with SLURM_CONF set, on that cluster (the jobs are cancelled at the
end). Prints two tables and writes build/benchmarks/scale.json. The ratios are the figures to
quote: each time over that of `json.loads` of the same file, or of a bare `import pydantic`, taken
in alternation on the same machine.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.cli import seconds, synthetic
from pipeline.reconcile import Facts, reconcile
from pipeline.scheduler import TaskStatus
from pipeline.state import RunStatus, State, TaskState
from pipeline.store import StateStore
from pipeline.view import view_of
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import TOY_STUDY, make_toy

TASKS = 1_000
SIZES = (10_000, 100_000)
ROUNDS = 5
OUT = Path("build/benchmarks/scale.json")
PROFILE = """
[profiles.cluster]
backend = "slurm"
cpus_per_task = 1
mem_gb = 1
walltime_min = 10
canary = false
"""


def thousand_tasks(folder: Path) -> dict[str, Any]:
    """Submit a phase of 1,000 tiny tasks and look at it, over a bare `import pydantic`."""
    study = TOY_STUDY.replace("seeds = [1000]", f'seeds = "1000-{1000 + TASKS // 2 - 1}"')
    workspace = make_toy(folder / "ws", study.replace('name = "toy"', 'name = "scale"', 1))
    (workspace.root / "slurm").mkdir()
    (workspace.root / "slurm" / "profiles.toml").write_text(PROFILE)
    with ExitStack() as stack:
        environment = dict(os.environ)
        if "SLURM_CONF" not in os.environ:
            fake = stack.enter_context(FakeSlurm(folder / "slurm", slots=0))
            environment |= fake.environment()

        def run(*command: str) -> Callable[[], object]:
            return lambda: subprocess.run(
                [sys.executable, *command],
                cwd=workspace.root,
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )

        submission_s = seconds(run("-m", "pipeline", "advance", "--profile", "cluster"))
        status = [seconds(run("-m", "pipeline", "status")) for _ in range(ROUNDS)]
        bare = [seconds(run("-c", "import pydantic")) for _ in range(ROUNDS)]
        state = StateStore(workspace.state_dir).load()
        assert state is not None
        if "SLURM_CONF" in os.environ:  # the fake ends what it holds by itself
            run("-m", "pipeline", "cancel", "--yes")()
    return {
        "slurm": "real" if "SLURM_CONF" in os.environ else "fake",
        "tasks": sum(len(job.tasks) for job in state.jobs.values()),
        "arrays": len(state.jobs),
        "submission_s": submission_s,
        "status_s": statistics.median(status),
        "import_pydantic_s": statistics.median(bare),
    }


def synthetic_state(runs: int, folder: Path) -> dict[str, float]:
    """Seconds of each operation on a state of that many runs, median over rounds."""
    study = folder / "study.toml"
    study.write_text("# not read: the state says all\n")
    workspace, store = Workspace(folder), StateStore(folder / ".state")
    done = synthetic(runs, study)
    running, facts = under_way(done)
    store.save(done)
    content = store.path.read_bytes()
    seal = store.path.with_name("pipeline.json.sha256")
    command = [sys.executable, "-m", "pipeline", "status", "--workspace", str(folder)]

    def validating_load() -> None:
        written = seal.read_bytes()
        seal.unlink()
        store.load()
        seal.write_bytes(written)

    actions: Mapping[str, Callable[[], object]] = {
        "json.loads": lambda: json.loads(content),
        "load": store.load,
        "load and validate": validating_load,
        "validate and save": lambda: store.save(done),
        "reconcile, all running": lambda: reconcile(running, facts),
        "view of all done": lambda: view_of(workspace, done),
        "view of all running": lambda: view_of(workspace, running),
        "pipeline status": lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),
        "import pydantic": lambda: subprocess.run(
            [sys.executable, "-c", "import pydantic"], check=True
        ),
    }
    measured: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(ROUNDS):
        for name, action in actions.items():
            measured[name].append(seconds(action))
    return {name: statistics.median(times) for name, times in measured.items()}


def under_way(done: State) -> tuple[State, Facts]:
    """The same runs while they train, and what a look at the scheduler then tells."""
    runs = {
        key: replace(
            run, status=RunStatus.QUEUED, result_digest=None, device_seconds=None, gpu_seconds=None
        )
        for key, run in done.runs.items()
    }
    jobs = {
        token: replace(job, tasks=tuple(replace(t, state=TaskState.QUEUED) for t in job.tasks))
        for token, job in done.jobs.items()
    }
    seen = TaskStatus(TaskState.RUNNING, "RUNNING", node="n1")
    facts = Facts({token: [seen] * len(job.tasks) for token, job in jobs.items()}, {})
    return replace(done, runs=runs, jobs=jobs), facts


def main() -> None:
    """Measure, print, write."""
    result: dict[str, Any] = {"machine": platform.platform(), "rounds": ROUNDS}
    with tempfile.TemporaryDirectory() as folder:
        phase = result["phase"] = thousand_tasks(Path(folder))
    print(f"{phase['tasks']:,} tasks in {phase['arrays']} array(s), {phase['slurm']} Slurm")
    for name in ("submission", "status"):
        ratio = phase[f"{name}_s"] / phase["import_pydantic_s"]
        print(f"  {name:<24}{phase[f'{name}_s']:8.2f} s  {ratio:6.1f} x import pydantic")
    for runs in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            times = result[f"state_of_{runs}_runs"] = synthetic_state(runs, Path(folder))
        print(f"state of {runs:,} runs")
        for name, time_s in times.items():
            process = name in ("pipeline status", "import pydantic")
            base = "import pydantic" if process else "json.loads"
            print(f"  {name:<24}{time_s:8.3f} s  {time_s / times[base]:6.1f} x {base}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
