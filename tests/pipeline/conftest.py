"""A small workspace whose study trains in milliseconds, and a way to call the command line."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.claim import current_folder
from pipeline.site import Site, open_site
from pipeline.state import RunStatus, State
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.planting import WHOLE_STUDY
from tests.pipeline.result_file import result_for

TOY_STUDY = """\
[study]
name = "toy"
question = "Does a handicap hurt?"
trainer = "toy:ToyTrainer"
metric = { name = "loss", direction = "minimize" }

[config]
steps = 3

[conditions.baseline]
label = "Baseline"

[conditions.worse]
label = "Handicapped"
config.handicap = 0.5

[hypotheses.handicap-helps]
statement = "A handicap lowers the loss."
candidate = "worse"
reference = "baseline"

[analysis]
min_pairs = 3

[phases.pilot]
seeds = [1000]

[phases.multiseed]
seeds = "0-5"
confirmatory = true
"""

CLUSTER = """
[profiles.cluster]
backend = "slurm"
partition = "main"
gres = "gpu:a100:1"
cpus_per_task = 1
mem_gb = 1
walltime_min = 30
stack_size = 2
poll_interval_s = 0.2
"""
PROFILES = CLUSTER + "canary = false\n"

WAIT_S = 90
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def whole(tmp_path: Path) -> Site:
    """A workspace, opened, with a study of every kind of phase."""
    place = make_toy(tmp_path / "whole", WHOLE_STUDY)
    return open_site(place, None)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with the toy study; whatever it started is ended afterwards."""
    place = make_toy(tmp_path / "ws")
    yield place
    for process in psutil.process_iter(["cmdline"]):
        if any(str(place.root) in word for word in process.info["cmdline"] or ()):
            process.kill()


def make_toy(folder: Path, study: str = TOY_STUDY) -> Workspace:
    """Write the toy study and its trainer into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("toy.py"), folder / "toy.py")
    (folder / "study.toml").write_text(study, encoding="utf-8")
    return Workspace(folder)


@pytest.fixture
def site(workspace: Workspace) -> Site:
    """The toy workspace opened on the local profile."""
    return open_site(workspace, None)


@pytest.fixture
def cluster(workspace: Workspace, fake_slurm: FakeSlurm) -> FakeSlurm:
    """A cluster beside a workspace with a profile for it; two toy runs a task."""
    on_cluster(workspace, PROFILES)
    return fake_slurm


@pytest.fixture
def slurm_site(workspace: Workspace, cluster: FakeSlurm) -> Site:
    """The toy study opened on the cluster's profile."""
    del cluster
    return open_site(workspace, None)


@pytest.fixture
def cli(workspace: Workspace) -> Cli:
    """Run `pipeline ARGS` in the toy workspace as a user would, in a process of its own."""

    def run(*arguments: str, timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=workspace.root,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run


def attempt_of(workspace: Workspace, key: str) -> Path:
    """The folder of the current attempt at a run; one that is not there before it has started."""
    run_dir = workspace.run_dir(key)
    return current_folder(run_dir) or run_dir / "attempts" / "none"


def reports_of(workspace: Workspace, key: str) -> int:
    """How often the current attempt at a run has reported."""
    try:
        return len((attempt_of(workspace, key) / "metrics.jsonl").read_text().splitlines())
    except FileNotFoundError:
        return 0


def edit(workspace: Workspace, old: str, new: str) -> None:
    """Replace a piece of study.toml; it must be there."""
    text = workspace.study_file.read_text(encoding="utf-8")
    assert old in text
    workspace.study_file.write_text(text.replace(old, new), encoding="utf-8")


def write_profiles(workspace: Workspace, text: str) -> None:
    """Give the workspace profiles of its own."""
    path = workspace.root / "slurm" / "profiles.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def on_cluster(workspace: Workspace, profiles: str) -> None:
    """Have the toy study run on the profile "cluster" of these."""
    write_profiles(workspace, profiles)
    edit(workspace, 'name = "toy"', 'name = "toy"\nprofile = "cluster"')


def only_pilot(workspace: Workspace) -> None:
    """Let the study end with its pilot: a fifth of its runs, and no figure."""
    edit(workspace, '[phases.multiseed]\nseeds = "0-5"\nconfirmatory = true\n', "")


def state_of(workspace: Workspace) -> State:
    """The state as it is stored now."""
    state = StateStore(workspace.state_dir).load()
    assert state is not None
    return state


def statuses(workspace: Workspace, phase: str) -> set[RunStatus]:
    """The statuses that occur in a phase."""
    return {run.status for run in state_of(workspace).runs_of(phase).values()}


def toy_result(workspace: Workspace, key: str, token: str) -> str:
    """A valid result.json of a run, by any attempt."""
    run = state_of(workspace).runs[key]
    return result_for("toy", key, run, {"loss": 1.0}, {"token": token}).decode()


def add_policy(workspace: Workspace, profile: str = "cluster", **settings: object) -> None:
    """Write settings of the failure policy into the workspace's profile."""
    path = workspace.root / "slurm" / "profiles.toml"
    lines = [f"{name} = {str(value).lower()}" for name, value in settings.items()]
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join([text, f"[profiles.{profile}.failures]", *lines, ""]))


def wait_for(condition: Callable[[], object], what: str = "waited too long") -> None:
    """Poll until something holds; it must within the time of a test."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def snapshot(workspace: Workspace) -> dict[str, bytes]:
    """Every file of the workspace but those that running tasks and Python write."""
    return {
        str(path.relative_to(workspace.root)): path.read_bytes()
        for path in workspace.root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "lock"
    }


def kill_the_task(workspace: Workspace) -> None:
    """End every process of the only live task with SIGKILL, once it has begun to work."""
    (job,) = state_of(workspace).live_jobs().values()
    controller = psutil.Process(int(job.job_id or 0))
    wait_for(controller.children)
    for process in [*controller.children(recursive=True), controller]:
        process.kill()
    wait_for(lambda: not psutil.pid_exists(controller.pid))
