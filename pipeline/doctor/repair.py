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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import follow_up
from pipeline.collect import mismatch
from pipeline.doctor.leftovers import leftovers, remove
from pipeline.doctor.rebuild import Found, adopted, with_decisions
from pipeline.errors import PipelineError
from pipeline.lock import exclusive
from pipeline.needs import terms
from pipeline.observe import observe
from pipeline.profiles import load_profile
from pipeline.provenance import age_s, node_name
from pipeline.reconcile import counts, reconcile
from pipeline.remains import CLAIM, Remains, first_trace, remains_in, remains_of, submission_folders
from pipeline.replan import replanned
from pipeline.results import ResultFileError, RunResult, read_result
from pipeline.salvage import salvaged
from pipeline.scheduler import ACCOUNTING_LAG_S, scheduler_for
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
    found = [one for folder in strays.values() if (one := _fate(site, folder)) is not None]
    state = adopted(state, found)
    if plan.is_broken:
        state = adopted(state, orphans := _of_results_alone(site, state))
        found += orphans
        _refuse_unknown_claims(site, state)
        state = with_decisions(state, _events(store.journal))
    if not found and not plan.is_broken:
        return  # files of submissions that never came to pass
    state, _ = replanned(site.study, site.profile_name, state)
    state, _ = settle_intents(workspace, state)
    state, _ = follow_up.settle(workspace, state)
    plan.state, _ = reconcile(state, observe(workspace, state))
    plan.acts += _adoptions(found)
    tally = counts(run for run in plan.state.runs.values() if run.in_plan)
    told = ", ".join(f"{tally[name]} {name}" for name in ("done", "running", "pending", "failed"))
    plan.acts.append(f"state written: {count(tally['total'], 'run')}, {told}")


def _site(
    workspace: Workspace, store: StateStore, base: State | None, profile_name: str | None
) -> Site:
    study = load_study(workspace.study_file)
    name = profile_name or (base.profile if base else study.file.study.profile)
    return Site(workspace, study, name, load_profile(workspace.profiles_file(), name), store)


def _fate(site: Site, folder: Path) -> Found | None:
    """What became of a submission that the state does not know; None when it was never made.

    Raises:
        SchedulerUnreachableError: that cannot be known now.
        PipelineError: it exists, and its files do not tell what it runs.
    """
    token = folder.name.rpartition("-")[2]
    try:
        remains = remains_in(folder)
    except PipelineError as error:
        _refuse_live(site, token, folder, str(error))
        return None
    job_id = remains.job_id
    if job_id is None:
        found = scheduler_for(remains.backend).find(token, folder)
        job_id = found.job_id if found is not None else None
    lag_s = ACCOUNTING_LAG_S if remains.backend == "slurm" else 0
    if job_id is None and age_s(remains.made_at) >= lag_s:
        return None
    return _found(site, remains, job_id)


def _found(site: Site, remains: Remains, job_id: str | None, *, over: bool = False) -> Found:
    """With the profile that it was probably submitted to."""
    same = site.profile.backend == remains.backend
    known = terms(site.profile) if same else {}
    host = {"host": remains.host or node_name()} if remains.backend == "local" else {}
    name = site.profile_name if same else remains.backend
    return Found(remains, job_id, name, {**known, **host}, over)


def _refuse_live(site: Site, token: str, folder: Path, why: str) -> None:
    """Stop where a submission exists of which we do not know what it runs."""
    found = scheduler_for(site.profile.backend).find(token, folder)
    if found is not None:
        raise PipelineError(
            f"{why}; job {found.job_id} was submitted as {token}, and it is not known what it "
            "runs; nothing was changed: put the files back from a copy; or, once that job is over "
            f"(scancel {found.job_id}), remove {folder} and what names {token} in runs/*/*/"
            "attempt.json"
        )


def _of_results_alone(site: Site, state: State) -> list[Found]:
    """Submissions whose folder is gone, as far as valid results tell of them."""
    results: list[RunResult] = []
    for key, run in state.runs.items():
        path = site.workspace.run_dir(key) / "result.json"
        if run.status is RunStatus.DONE or not path.exists():
            continue
        with suppress(ResultFileError):
            read = read_result(path)
            if read and read[0].attempt.token not in state.jobs and not mismatch(read[0], key, run):
                results.append(read[0])
    made = remains_of(results, site.profile.backend)
    return [_found(site, one, one.job_id, over=True) for one in made if one.job_id is not None]


def _refuse_unknown_claims(site: Site, state: State) -> None:
    """Stop where a run may be under way in a job of which nothing tells that it runs it."""
    asked: set[str] = set()
    for key, run in state.runs.items():
        if run.status is not RunStatus.PLANNED:
            continue
        token = _claimant(site.workspace.run_dir(key) / CLAIM)
        if token is None or token in asked or _holds(state, token, key):
            continue
        asked.add(token)
        folder = site.workspace.job_dir(run.phase, token)
        if not folder.exists():
            _refuse_live(site, token, folder, f"{folder}: is gone")


def _claimant(path: Path) -> str | None:
    """The submission that a run was granted to last."""
    try:
        return str(json.loads(path.read_bytes())["token"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _holds(state: State, token: str, key: str) -> bool:
    return token in state.jobs and any(key in task.runs for task in state.jobs[token].tasks)


def _events(journal: Path) -> list[dict[str, Any]]:
    """Events that can still be read."""
    return list(_parsed(journal))


def _parsed(journal: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = journal.read_bytes().splitlines()
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
