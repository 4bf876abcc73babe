"""What runs ask of the scheduler beyond their profile, after attempts that had too little. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.plan import RunSpec
from pipeline.profiles import Profile, SlurmProfile
from pipeline.state import State


@dataclass(frozen=True)
class Request:
    """Runs that fit in one job: a job has one memory, one time limit, one list of nodes."""

    profile: Profile
    """The profile with what these runs need instead."""
    runs: tuple[RunSpec, ...]


def requests(profile: Profile, state: State, runs: Iterable[RunSpec]) -> list[Request]:
    """Group runs by what they need, in the order of the plan."""
    groups: dict[str, Request] = {}
    for run in runs:
        needs = _needs(profile, state, run)
        name = json.dumps(needs, sort_keys=True)
        group = groups.get(name, Request(profile.model_copy(update=needs), ()))
        groups[name] = replace(group, runs=(*group.runs, run))
    return list(groups.values())


def bonds(state: State) -> Mapping[str, str]:
    """Runs that train together again, as their checkpoints are of one stack: run -> stack."""
    return {key: run.resumes for key, run in state.runs.items() if run.resumes is not None}


def terms(profile: Profile) -> dict[str, Any]:
    """What a job is submitted with, as fields of its record."""
    shared = {
        "gpus": profile.gpus,
        "walltime_min": profile.walltime_min,
        "signal_lead_s": profile.signal_lead_s,
        "stalled_after_min": profile.failures.stalled_after_min,
    }
    if profile.backend == "local":
        return shared
    return {**shared, "mem_gb": profile.mem_gb, "excluded": _excluded(profile)}


def _needs(profile: Profile, state: State, run: RunSpec) -> dict[str, Any]:
    """Fields of the profile that this run replaces."""
    record = state.runs[run.key]
    needs: dict[str, Any] = {}
    if record.walltime_min is not None:
        needs["walltime_min"] = max(record.walltime_min, profile.walltime_min)
    if record.stack_limit is not None:
        needs["stack_size"] = min(record.stack_limit, profile.stack_size)
    if profile.backend == "local":
        return needs
    if record.mem_gb is not None:
        needs["mem_gb"] = max(record.mem_gb, profile.mem_gb)
    if state.bad_nodes:
        nodes = [*_excluded(profile), *sorted(state.bad_nodes)]
        needs["sbatch"] = {**profile.sbatch, "exclude": ",".join(dict.fromkeys(nodes))}
    return needs


def _excluded(profile: SlurmProfile) -> tuple[str, ...]:
    """Nodes that the profile leaves out, in Slurm's words ("node[13-14]" may stand for several)."""
    return (str(profile.sbatch["exclude"]),) if "exclude" in profile.sbatch else ()
