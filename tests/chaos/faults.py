"""A cluster that falls apart under a study: tasks die, nodes are lost, Slurm is restarted."""

import os
import random
import signal
import time
from collections.abc import Callable

import psutil

from pipeline.state import RunStatus
from slurm.testcluster.cluster import Cluster
from tests.chaos.meanwhile import Meanwhile
from tests.chaos.realworld import Study, Survived, Tell, count_by_end, study_on

NODES = ("node3", "node4")
"""Are lost for good, one after the other."""
_WORKER = "submitit.core._submit"
_LONGEST_LIFE_S = 1.5  # of a task that is to die: start-up, training and end
_POLL_S = 1.0


class TaskKiller(Meanwhile):
    """Kills the first starts of some tasks, with all their processes, at moments of their own."""

    def __init__(self, study: Study, kills: int, tasks: int, seed: int) -> None:
        super().__init__()
        self.done = 0
        self._folder = str(study.place.root)
        self._chance, self._kills = kills / tasks, kills
        self._random = random.Random(seed)

    def run(self) -> None:
        """Look for tasks that have started; each is spared or condemned once."""
        seen: set[int] = set()
        condemned: dict[psutil.Process, float] = {}
        while self.done < self._kills and not self._over.wait(0.05):
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or [""]
                trains = "python" in words[0] and _WORKER in words  # srun names it, too
                ours = trains and any(self._folder in word for word in words)
                if ours and process.pid not in seen:
                    seen.add(process.pid)
                    if self._random.random() < self._chance * 1.3:  # some end before their moment
                        life = self._random.uniform(0, _LONGEST_LIFE_S)
                        condemned[process] = time.monotonic() + life
            for process in [p for p, moment in condemned.items() if moment <= time.monotonic()]:
                del condemned[process]
                self.done += _killed(process)


def _killed(process: psutil.Process) -> bool:
    try:
        os.killpg(os.getpgid(process.pid), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def survived(
    cluster: Cluster, tasks: int, kills: int, seed: int, tell: Tell = lambda _: None
) -> Survived:
    """Carry a study of so many tasks to its end while its cluster falls apart.

    Tasks are killed all along; at a quarter, a half, and so on of the way a node is lost or the
    controller restarted, in turn.
    """
    began = time.monotonic()
    blows = _blows(cluster)
    with study_on(
        cluster, f"0-{tasks // 2 - 1}", pilot=False, step_s=0.1, stack_size=1, gres="gpu:a100:1"
    ) as study:
        retries, wrongs = 0, []
        with TaskKiller(study, kills, tasks, seed) as killer:
            while not study.is_done:
                ended = study.command("advance")
                if ended.code == 3:  # killed twice in a row: that is a person's to decide
                    retries += study.command("retry").code == 0
                elif ended.code not in (0, 4):
                    wrongs.append(f"advance ended with {ended.code}: {ended.output[-300:]}")
                    break
                study.let_lag_pass()
                done = _done(study)
                tell(f"{done} of {tasks} runs done, {killer.done} tasks killed")
                if blows and done >= tasks * blows[0][0]:
                    tell(blows[0][1])
                    blows.pop(0)[2]()
                time.sleep(_POLL_S)
        return _judged(study, killer.done, retries, wrongs, time.monotonic() - began)


def _blows(cluster: Cluster) -> list[tuple[float, str, Callable[[], None]]]:
    """Share of the runs that are done when it strikes, what it is, and the blow itself."""
    controller = cluster.daemon("slurmctld")

    def restart() -> None:
        controller.stop()
        time.sleep(2)
        controller.start()

    return [
        (0.2, f"{NODES[0]} is lost", cluster.daemon(NODES[0]).kill),
        (0.35, "slurmctld is restarted", restart),
        (0.5, f"{NODES[1]} is lost", cluster.daemon(NODES[1]).kill),
        (0.65, "slurmctld is restarted", restart),
    ]


def _done(study: Study) -> int:
    state = study.state
    runs = state.runs.values() if state is not None else ()
    return sum(run.status is RunStatus.DONE for run in runs)


def _judged(study: Study, killed: int, retries: int, wrongs: list[str], took_s: float) -> Survived:
    state, starts = study.state, study.all_starts()
    assert state is not None
    if study.command("report", "--check").code:
        wrongs.append("the report is not what the results give")
    results = {
        f"{path.parent.parent.name}/{path.parent.name}"
        for path in study.place.runs_dir.glob("*/*/result.json")
    }
    completed = {
        key: sum(start.state == "COMPLETED" for start in found) for key, found in starts.items()
    }
    undone = [key for key, run in state.runs.items() if run.status is not RunStatus.DONE]
    return Survived(
        runs=len(state.runs),
        tasks_killed=killed,
        nodes_lost=len(NODES),
        controller_restarts=2,
        starts=sum(len(found) for found in starts.values()),
        ended=dict(count_by_end(starts)),
        completed_twice=sum(max(0, number - 1) for number in completed.values()),
        losses=len(set(undone) | (state.runs.keys() - results)),
        retries=retries,
        took_s=took_s,
        wrongs=tuple(wrongs),
    )
