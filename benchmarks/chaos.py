"""What survives: commands, tasks and a whole cluster are killed; what is lost, what is doubled.

    python -m benchmarks.chaos [--fake] [--crowd] [--network] [--training] [--cluster] [--faults]

All parts without an option. Prints a line for each and writes build/benchmarks/chaos.json, where
parts that were not run keep what they came to before. Ends with 1 when anything was lost or doubled
or went wrong.

    --fake      kill -9 at every lasting call of every command of a study, on the fake Slurm
    --crowd     ten `advance` at once, on two hosts, for a minute; needs root
    --network   the same where each host mounts the same network file system (GlusterFS)
    --training  kill -9 of tasks that train; the results are compared bit by bit
    --cluster   kill -9 of `advance` at random calls, on a real Slurm (slurm/testcluster)
    --faults    a study of 500 tasks on a real Slurm that loses tasks, nodes and its controller
"""

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.chaos.crowding import PROCESSES, crowded
from tests.chaos.faults import survived
from tests.chaos.killing import Death, Teller
from tests.chaos.network import network_mounts
from tests.chaos.realworld import killed_at_random
from tests.chaos.stories import STORIES
from tests.chaos.trained import trained
from tests.chaos.world import world
from tests.slurm.conftest import temporary_cluster

OUT = Path("build/benchmarks/chaos.json")
WORKERS = 2
CROWD_S, CROWD_SEEDS = 60, 400
TRAINING_STEPS, TRAINING_KILLS, TRAINING_LIFE_S = 1_500, 24, 3.0
CLUSTER_KILLS = 120
TASKS, TASK_KILLS = 500, 50
_PROGRESS_S = 15.0

Figures = dict[str, Any]


class Progress:
    """Tells how far a part is, now and then."""

    def __init__(self, part: str) -> None:
        self._part, self._began, self._last = part, time.monotonic(), 0.0

    def __call__(self, line: str) -> None:
        """Tell, unless something was told a moment ago."""
        now = time.monotonic()
        if now - self._last >= _PROGRESS_S:
            self._last = now
            print(f"  {self._part}, {now - self._began:4.0f} s: {line}", flush=True)


def fake() -> Figures:
    """Die at every lasting call of every scene of every story."""
    tell = Progress("fake")
    deaths: list[Death] = []

    def told(name: str, part: int) -> int:
        """Those of a story's deaths that are one worker's; returns how many the story has."""
        with world() as place:
            teller = Teller(place, STORIES[name])
            telling = teller.undisturbed()
            for death in teller.deaths(telling, lambda call, _: call % WORKERS == part):
                deaths.append(death)
                wrong = sum(bool(one.wrongs) for one in deaths)
                tell(f"{len(deaths):,} killed, {wrong} wrong; {name}: {death.scene}")
            scenes = zip(teller.story, telling.moments, strict=True)
            return sum(len(calls) for scene, calls in scenes if not scene.told_before)

    with ThreadPoolExecutor(WORKERS) as pool:
        told_parts = [pool.submit(told, name, part) for name in STORIES for part in range(WORKERS)]
        calls = sum(future.result() for future in told_parts) // WORKERS
    calls_died_at = Counter(death.moment.split()[0] for death in deaths)
    return {
        "calls": calls,
        "killed": len(deaths),
        "died_at": dict(calls_died_at.most_common()),
        "duplicates": sum(death.duplicates for death in deaths),
        "losses": sum(death.losses for death in deaths),
        "wrong": [asdict(death) for death in deaths if death.wrongs],
    }


def crowd(mounts: Sequence[Path] = ()) -> Figures:
    """Ten processes on two hosts."""
    effect = crowded(CROWD_S, CROWD_SEEDS, mounts)
    advances = effect.advances
    in_vain = [said for said in advances.outputs if "another advance holds the lock" in said]
    wrong = [*effect.wrongs, *(set(advances.outputs) - set(in_vain))]
    return {
        "processes": PROCESSES,
        "seconds": CROWD_S,
        "advances": advances.codes.total(),
        "waited_in_vain": len(in_vain),
        "submissions": effect.submissions,
        "runs": effect.runs,
        "duplicates": effect.duplicates,
        "losses": effect.losses,
        "wrong": wrong,
    }


def network() -> Figures:
    """The two hosts, and the compute nodes, see the study through a client of their own."""
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        network_mounts(Path(folder), hosts=3) as mounts,
    ):
        return crowd(mounts)


def training() -> Figures:
    """Studies whose tasks are killed until there were enough deaths."""
    tell = Progress("training")
    undisturbed = trained(TRAINING_STEPS)
    kills = runs = equal = resumed = seed = 0
    while kills < TRAINING_KILLS:
        one = trained(TRAINING_STEPS, min(8, TRAINING_KILLS - kills), seed, TRAINING_LIFE_S)
        kills, seed = kills + one.kills, seed + 1
        runs += len(undisturbed.results)
        equal += sum(one.results.get(k) == v for k, v in undisturbed.results.items())
        resumed += sum(step > 0 for step in one.resumed_from.values())
        tell(f"{kills} tasks killed, {equal} of {runs} runs the same to the bit")
    return {
        "killed": kills,
        "runs": runs,
        "resumed_from_a_checkpoint": resumed,
        "bit_identical": equal,
        "duplicates": 0,
        "losses": runs - equal,
        "wrong": [],
    }


def cluster() -> Figures:
    """`advance` killed at random on a real Slurm."""
    with temporary_cluster() as slurm:
        found = asdict(killed_at_random(slurm, CLUSTER_KILLS, seed=1, tell=Progress("cluster")))
    killed, wrong = found.pop("kills"), list(found.pop("wrongs"))
    return {"killed": killed, **found, "wrong": wrong}


def faults() -> Figures:
    """A cluster that falls apart."""
    with temporary_cluster(cpus=6, gpus=6) as slurm:
        found = asdict(survived(slurm, TASKS, TASK_KILLS, seed=1, tell=Progress("faults")))
    duplicates, wrong = found.pop("completed_twice"), list(found.pop("wrongs"))
    return {**found, "duplicates": duplicates, "wrong": wrong}


PARTS: dict[str, Callable[[], Figures]] = {
    "fake": fake,
    "crowd": crowd,
    "network": network,
    "training": training,
    "cluster": cluster,
    "faults": faults,
}


def main() -> None:
    """Run the parts that were asked for, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in PARTS:
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    asked = vars(parser.parse_args())
    before = json.loads(OUT.read_text()) if OUT.exists() else {}
    result: dict[str, Any] = {**before, "machine": platform.platform()}
    chosen = [name for name in PARTS if asked[name]] or list(PARTS)
    for name in chosen:
        began = time.monotonic()
        result[name] = {**PARTS[name](), "took_s": round(time.monotonic() - began)}
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=1) + "\n")
        print(_line(name, result[name]), flush=True)
    figures = [result[name] for name in chosen]
    sys.exit(any(f["duplicates"] or f["losses"] or f["wrong"] for f in figures))


def _line(name: str, figures: Figures) -> str:
    shown = {key: value for key, value in figures.items() if not isinstance(value, list | dict)}
    words = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in shown.items())
    return f"{name}: {words}, wrong {len(figures['wrong'])}"


if __name__ == "__main__":
    main()
