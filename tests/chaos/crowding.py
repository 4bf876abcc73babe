"""A study that ten processes advance at the same time, and what it came to."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.crowd import Advances, Crowd
from tests.chaos.killing import unreadable
from tests.chaos.world import PROFILES, STUDY, World, world
from tests.pipeline.conftest import state_of

PROCESSES = 10


@dataclass(frozen=True)
class Effect:
    """What so many advances came to."""

    advances: Advances
    runs: int
    submissions: int
    duplicates: int
    losses: int
    wrongs: tuple[str, ...]


def crowded(seconds: float, seeds: int, mounts: Sequence[Path] = ()) -> Effect:
    """Let a crowd advance one study for a while, its tasks training meanwhile; then end it.

    Args:
        seconds: how long.
        seeds: of the study.
        mounts: of one network file system, for the compute nodes and for each host of the crowd;
            all share this machine's own file system without.
    """
    study = STUDY.replace('seeds = "0-5"', f'seeds = "0-{seeds - 1}"')
    narrow = PROFILES.replace("stack_size = 6", "stack_size = 2\nmax_submitted = 2")
    with world(study, narrow, *mounts[:1]) as place:
        crowd = Crowd(place.place.root, place.environment(), PROCESSES, seconds, mounts[1:])
        while crowd.is_busy:
            place.train()
            time.sleep(0.05)
        advances = crowd.result()
        place.profiles_file.write_text(PROFILES)  # the rest may go at once
        while _is_unfinished(place):
            place.train()
            done = place.command("advance")
            assert done.code == 0, done.output
        return _effect(place, advances)


def _is_unfinished(place: World) -> bool:
    if not (place.place.state_dir / "pipeline.json").exists():
        return True
    return {run.status.value for run in state_of(place.place).runs.values()} != {"done"}


def _effect(place: World, advances: Advances) -> Effect:
    state, starts = state_of(place.place), place.starts()
    once = Counter(dict.fromkeys(state.runs, 1))
    results = len(list(place.place.runs_dir.glob("*/*/result.json")))
    wrongs = list(unreadable(place))
    if place.submissions() != len(state.jobs):
        wrongs.append(f"{place.submissions()} submissions, {len(state.jobs)} on record")
    if results != len(state.runs):
        wrongs.append(f"{results} results of {len(state.runs)} runs")
    if place.command("report", "--check").code:
        wrongs.append("the report is not what the results give")
    return Effect(
        advances,
        runs=len(state.runs),
        submissions=place.submissions(),
        duplicates=(starts - once).total(),
        losses=(once - starts).total(),
        wrongs=tuple(wrongs),
    )
