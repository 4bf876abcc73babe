"""`pipeline doctor --repair`: a state that agrees with all that is known, from what is left.

What the state may have lost is looked for where it cannot have been lost with it:

    the log of changes   every state that was ever saved, to the last save; else the last good copy
    slurm/logs           every submission wrote its task files before its intent was saved
    the scheduler        whether a submission exists that nobody wrote down (by its token)
    runs/                results, and whose they are
    the journal          what a person decided, when the log does not tell

Nothing is concluded from a scheduler's silence: while one that matters does not answer, nothing is
changed. What is not known to have ended is adopted, never submitted again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline import follow_up
from pipeline.doctor.leftovers import leftovers, remove
from pipeline.doctor.rebuild import Found, adopted, with_decisions
from pipeline.doctor.strays import fate, of_results_alone, refuse_unknown_claims
from pipeline.files import read_bytes
from pipeline.lock import exclusive
from pipeline.observe import observe
from pipeline.profiles import load_profile
from pipeline.reconcile import counts, reconcile
from pipeline.remains import first_trace, submission_folders
from pipeline.replan import replanned
from pipeline.salvage import salvaged
from pipeline.site import Site
from pipeline.state import RunStatus, State
from pipeline.store import BrokenStateError, StateStore
from pipeline.study import load_study
from pipeline.submit import settle_intents
from pipeline.words import and_more, count
from pipeline.workspace import Workspace


@dataclass
class Plan:
    """What a repair comes to."""

    state: State | None = None
    """To be saved; None when the stored one stays as it is."""
    is_broken: bool = False
    """True when the stored one cannot be read."""
    is_whole: bool = True
    """False when what replaces it may lack the last saves."""
    acts: list[str] = field(default_factory=list)
    """What is done, in words such as "3 leftovers removed"."""
    unknown: list[str] = field(default_factory=list)
    """What cannot be known any more."""
    leftovers: list[Path] = field(default_factory=list)


def plan_repair(workspace: Workspace, profile_name: str | None = None) -> Plan:
    """What a repair would do; writes nothing.

    Raises:
        SchedulerUnreachableError: one that matters does not answer; nothing may be concluded.
        PipelineError: the study or the profile is wrong, or what is left contradicts itself.
    """
    store, plan = StateStore(workspace.state_dir), Plan()
    try:
        base = store.load()
        plan.is_broken = base is None and first_trace(workspace) is not None
    except BrokenStateError:
        base, plan.is_broken = None, True
    if plan.is_broken:
        base = _salvage(store, plan)
    folders = submission_folders(workspace)
    strays = folders.keys() - (base.jobs.keys() if base else set())
    if plan.is_broken or strays:
        _rebuild(
            workspace, store, plan, base, {t: folders[t] for t in sorted(strays)}, profile_name
        )
    plan.leftovers = leftovers(workspace, plan.state or base)
    if plan.leftovers:
        first = workspace.relative(plan.leftovers[0])
        named = and_more(first, len(plan.leftovers) - 1, "leftover")
        plan.acts.append(f"{named} of killed commands removed")
    return plan


def repair(
    workspace: Workspace, profile_name: str | None, on_wait: Callable[[str], None]
) -> list[str]:
    """Do it, under the lock; returns what was done, in words, and how to go back.

    Raises:
        SchedulerUnreachableError, PipelineError: see `plan_repair`; nothing was changed.
    """
    with exclusive(workspace.lock_file, on_wait=on_wait):
        plan = plan_repair(workspace, profile_name)
        done = list(plan.acts)
        if plan.state is not None:
            store = StateStore(workspace.state_dir)
            kept = store.set_aside() if plan.is_broken else store.keep()
            if not plan.is_broken:
                store.load()
            store.save(plan.state)
            store.save(plan.state)  # so that the last good copy is whole as well
            store.record([{"event": "repaired", "did": plan.acts, "unknown": plan.unknown}])
            place = workspace.relative(kept)
            done.append(f"kept the old files in {place}; to go back: cp {place}/* .state/")
        remove(plan.leftovers)
        return done + plan.unknown


def _salvage(store: StateStore, plan: Plan) -> State | None:
    found = salvaged(store)
    plan.is_whole = found is not None and found.is_whole
    if found is None:
        plan.acts.append("study planned anew, as neither copy nor log of the state can be read")
        plan.unknown.append(
            "not known any more: what earlier attempts cost and why they failed, nodes left out, "
            "walltime and memory raised by failures; gates and selections are made again"
        )
        return None
    plan.acts.append(f"state taken from {found.source}")
    return found.state


def _rebuild(
    workspace: Workspace,
    store: StateStore,
    plan: Plan,
    base: State | None,
    strays: Mapping[str, Path],
    profile_name: str | None,
) -> None:
    """Bring the state of a plan in line with folders, journal and scheduler."""
    site = _site(workspace, store, base, profile_name)
    state, _ = replanned(site.study, site.profile_name, base)
    found = [one for folder in strays.values() if (one := fate(site, folder)) is not None]
    state = adopted(state, found)
    if plan.is_broken:
        state = adopted(state, orphans := of_results_alone(site, state))
        found += orphans
        refuse_unknown_claims(site, state)
    if not plan.is_whole:
        state = with_decisions(state, _events(store.journal))
    if not found and not plan.is_broken:
        return  # files of submissions that never came to pass
    state, _ = replanned(site.study, site.profile_name, state)
    state, _ = settle_intents(workspace, state)
    state, _ = follow_up.settle(workspace, state)
    plan.state = _seen(workspace, state)
    plan.acts += _adoptions(found)
    tally = counts(run for run in plan.state.runs.values() if run.in_plan)
    told = ", ".join(f"{tally[name]} {name}" for name in ("done", "running", "pending", "failed"))
    plan.acts.append(f"state written: {count(tally['total'], 'run')}, {told}")


def _seen(workspace: Workspace, state: State) -> State:
    """The state as the scheduler and the results in their places show it.

    A result that counts, but does not lie in its place yet, is for the next `advance` to put there.
    """
    seen, _ = reconcile(state, observe(workspace, state))
    runs = {
        key: state.runs[key]
        if run.status is RunStatus.DONE and not (workspace.run_dir(key) / "result.json").exists()
        else run
        for key, run in seen.runs.items()
    }
    return replace(seen, runs=runs)


def _site(
    workspace: Workspace, store: StateStore, base: State | None, profile_name: str | None
) -> Site:
    study = load_study(workspace.study_file)
    name = profile_name or (base.profile if base else study.file.study.profile)
    return Site(workspace, study, name, load_profile(workspace.profiles_file(), name), store)


def _events(journal: Path) -> list[dict[str, Any]]:
    """Events that can still be read."""
    return list(_parsed(journal))


def _parsed(journal: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = read_bytes(journal).splitlines()
    except OSError:
        return
    for line in lines:
        with suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                yield event


def _adoptions(found: list[Found]) -> list[str]:
    lines = []
    for one in found:
        runs = count(sum(map(len, one.remains.tasks)), "run")
        name = f"job {one.job_id}" if one.job_id else f"submission {one.remains.token}"
        lines.append(f"{name} adopted with {runs} of {one.remains.phase}, which the state had lost")
    return lines
