"""kill -9 of tasks that train on this machine; the pipeline resumes them; what they come to."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from pipeline.digest import digest_of
from pipeline.workspace import Workspace
from tests.chaos.meanwhile import Meanwhile
from tests.chaos.nursery import ROOT

STUDY = """\
[study]
name = "resumed"
question = "Does a kill change a bit?"
trainer = "often_saved:OftenSaved"
metric = {{ name = "validation_mse", direction = "minimize" }}

[config]
matrix_size = 4
hidden_width = 64
batch_size = 128
steps = {steps}
learning_rate = 2e-3
ema_every = 1
held_out_size = 512
curve_every = 50
curve_size = 64
mining = {{ strategy = "none" }}

[conditions.baseline]
label = "Baseline"

[conditions.adversarial]
label = "Adversarial"
config.mining = {{ strategy = "adversarial", opt_steps = 2, noise_scale = 3.0 }}

[phases.pilot]
seeds = "1000-1001"
"""

PROFILES = """
[profiles.local]
backend = "local"
stack_size = 2
cpus_per_task = 1
walltime_min = 30
poll_interval_s = 0.2
failures = { max_tries = 100 }
"""
_WORKER = "submitit.core._submit"
_TIME_LIMIT_S = 900


@dataclass(frozen=True)
class Trained:
    """What a study came to."""

    results: dict[str, Any]
    """Of each run: metrics, references, data, the digests of its tensors, its curve."""
    kills: int
    resumed_from: dict[str, int]
    """Of each run: the step that its last attempt began with."""


@contextmanager
def workspace(steps: int) -> Iterator[Workspace]:
    """A study of two conditions at two seeds; whatever it started is ended afterwards."""
    with TemporaryDirectory(prefix="resumed-") as folder:
        place = Workspace(Path(folder))
        (place.root / "study.toml").write_text(STUDY.format(steps=steps))
        (place.root / "slurm").mkdir()
        (place.root / "slurm" / "profiles.toml").write_text(PROFILES)
        shutil.copy(Path(__file__).with_name("often_saved.py"), place.root)
        try:
            yield place
        finally:
            for process in workers(place):
                with suppress(psutil.Error):
                    process.kill()


def trained(steps: int, kills: int = 0, seed: int = 0, within_s: float = 0.0) -> Trained:
    """Train a study to its end with `advance --watch`, its tasks killed so often on the way.

    Args:
        steps: of each run.
        kills: kill -9 of a whole task, each at a moment of its own.
        seed: of those moments.
        within_s: how long after its start, or after its first report, a task lives at most.
    """
    with workspace(steps) as place:
        with Killer(place, kills, random.Random(seed), within_s) as killer:
            while (code := _pipeline(place, "advance", "--watch")) == 3:
                _pipeline(place, "retry")  # killed twice in a row: that is a person's to decide
        assert code == 0, (place.root / "commands.log").read_text()
        results, resumed_from = _came_to(place)
        return Trained(results, killer.done, resumed_from)


class Killer(Meanwhile):
    """Kills one task after the other, with all its processes, until it has killed so many."""

    def __init__(
        self, place: Workspace, kills: int, moments: random.Random, within_s: float
    ) -> None:
        super().__init__()
        self.done = 0
        self._place, self._kills, self._moments = place, kills, moments
        self._within_s = within_s

    def run(self) -> None:
        """Kill until there is nothing more to kill."""
        while self.done < self._kills and not self._over.wait(0.02):
            for worker in workers(self._place):
                self._wait_for_moment(worker)
                self.done += self._killed(worker)

    def _wait_for_moment(self, worker: psutil.Process) -> None:
        if self._moments.random() < 0.8:  # most while it trains, some before
            while worker.is_running() and not _has_reported(self._place, worker):
                time.sleep(0.01)
        time.sleep(self._moments.uniform(0, self._within_s))

    def _killed(self, worker: psutil.Process) -> bool:
        try:
            if worker.status() == psutil.STATUS_ZOMBIE:
                return False  # it had ended before its moment came
            os.killpg(os.getpgid(worker.pid), signal.SIGKILL)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False
        worker.wait(_TIME_LIMIT_S)
        return True


def workers(place: Workspace) -> list[psutil.Process]:
    """The processes that train."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if _WORKER in words and any(str(place.root) in word for word in words):
            found.append(process)
    return found


def _has_reported(place: Workspace, worker: psutil.Process) -> bool:
    started = worker.create_time()
    return any(path.stat().st_mtime > started for path in place.runs_dir.rglob("metrics.jsonl"))


def _pipeline(place: Workspace, *arguments: str) -> int:
    with (place.root / "commands.log").open("ab") as log:
        return subprocess.run(
            [sys.executable, "-P", "-m", "pipeline", *arguments],
            cwd=place.root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=_TIME_LIMIT_S,
            check=False,
        ).returncode


def _came_to(place: Workspace) -> tuple[dict[str, Any], dict[str, int]]:
    """Of each run what does not depend on the clock, and the step it was last resumed from."""
    results, steps = {}, {}
    for path in sorted(place.runs_dir.glob("*/*/result.json")):
        result = json.loads(path.read_text())
        name, details = path.parent.name, result["details"]
        kept = {key: result[key] for key in ("metrics", "references", "data_digests")}
        tensors, curve = _tensors(_last(path.parent, "checkpoint.pt")), _curve(path.parent)
        results[name] = {**kept, "tensors": tensors, "curve": curve}
        steps[name] = details["resumed_from_step"]
    return results, steps


def _last(folder: Path, name: str) -> Path:
    """What the last attempt at a run has written under a name."""
    return max(folder.rglob(name), key=lambda path: path.stat().st_mtime)


def _tensors(path: Path) -> dict[str, str]:
    """Digests of the weights, their average and the random streams, bit by bit."""
    import torch

    saved = torch.load(path, map_location="cpu", weights_only=True)["tensors"]
    return {name: digest_of(tensor.numpy().tobytes()) for name, tensor in saved.items()}


def _curve(folder: Path) -> dict[int, float]:
    """The error at each point of the curve."""
    lines = _last(folder, "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {one["step"]: one["validation_mse"] for one in records if "validation_mse" in one}
