"""The canary: the first task of a phase goes alone; the others go when it has shown that it works.

It has shown so when one of its runs has a valid result, or has reported a step (the first report
at or beyond 1 % of all its steps) with finite values. When it fails, nothing else burns.

The others are not submitted until then, rather than held back by a dependency: Slurm knows of a
task's end, not of its steps, so a dependency would let them go too late when the first task works
and could not let them go at a step at all; a held array fills the submit limit, and must be
cancelled when the canary fails, by somebody who may not come. Runs that were never submitted need
nothing: the state says "planned", which is the whole truth, and any `advance` (typed, --watch, or
the follow-up job of --auto, which looks every few minutes while runs wait) lets them go.
Releasing is remembered, so that a later look at files cannot take it back.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from pipeline.attempts import METRICS
from pipeline.claim import current_folder
from pipeline.progress import last_report
from pipeline.state import PhaseRecord, RunRecord, RunStatus, State
from pipeline.words import count
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.plan import RunSpec
    from pipeline.site import Site

_SHARE = 0.01
_NO_VALUES = {"step", "total_steps", "time", "restored"}
Report = Mapping[str, float]


class Standing(Enum):
    """Where the canary of a phase is."""

    ABSENT = "no run of the phase is under way: its first task may go"
    OUT = "it is under way and has not shown yet that it works"
    FAILED = "it failed"
    PASSED = "it works: the others may go"


@dataclass(frozen=True)
class Sighting:
    """One run of the phase that was submitted, as the canary's judge sees it."""

    status: RunStatus
    report: Report
    """Its last progress report; empty where there is none of this attempt."""


def release_step(total_steps: int) -> int:
    """The step whose report lets the others go: 1 % of all steps, the first at the least."""
    return max(1, math.ceil(_SHARE * total_steps))


def standing(sightings: Iterable[Sighting], step: int) -> Standing:
    """What the runs that were submitted so far tell. Pure."""
    seen = list(sightings)
    if any(one.status is RunStatus.DONE for one in seen):
        return Standing.PASSED
    under_way = [one for one in seen if one.status in (RunStatus.QUEUED, RunStatus.RUNNING)]
    if not under_way:
        return Standing.FAILED if seen else Standing.ABSENT
    if any(_is_bad(one.report) for one in under_way):
        return Standing.OUT
    works = any(one.report.get("step", -1) >= step and _values(one.report) for one in under_way)
    return Standing.PASSED if works else Standing.OUT


def look(workspace: Workspace, state: State, phase: str) -> Standing:
    """Where the canary of a phase is, from the state and the run folders."""
    record = state.phases[phase]
    if record.canary_released:
        return Standing.PASSED
    sent = {k: r for k, r in state.runs_of(phase).items() if r.status is not RunStatus.PLANNED}
    sightings = [Sighting(run.status, _report(workspace, state, k, run)) for k, run in sent.items()]
    return standing(sightings, record.canary_step or 1)


@dataclass(frozen=True)
class Release:
    """What of a phase may be submitted now."""

    runs: Sequence["RunSpec"]
    record: PhaseRecord
    """The phase's record from here on."""
    told: tuple[str, ...] = ()
    """What a user should hear of it now."""


def admitted(site: "Site", state: State, phase: str, waiting: Sequence["RunSpec"]) -> Release:
    """Those of the waiting runs that may go: one task, none, or all."""
    from pipeline.needs import bonds  # `pipeline status` needs no study
    from pipeline.plan import pack

    record, asked = state.phases[phase], site.study.file.phases[phase].canary
    held = record.canary_step is not None and not record.canary_released
    if not waiting or record.canary_released:
        return Release(waiting, record)
    if not (site.profile.canary if asked is None else asked):
        told = f"canary: switched off for {phase}; the others go"
        return Release(waiting, replace(record, canary_released=held), (told,) if held else ())
    where = look(site.workspace, state, phase)
    if where is Standing.PASSED:
        told = f"canary: the first task of {phase} works; the others go"
        return Release(waiting, replace(record, canary_released=True), (told,) if held else ())
    was_tried = {run.key: bool(state.runs[run.key].tries) for run in waiting}
    if where is Standing.OUT or (where is Standing.FAILED and not any(was_tried.values())):
        return Release((), record)
    retried_first = sorted(waiting, key=lambda run: not was_tried[run.key])
    tasks = pack(site.study, retried_first, site.profile.stack_size, bonds(state))
    if len(tasks) < 2:
        return Release(waiting, record)
    first = tasks[0].runs
    step = release_step(site.study.trainer.total_steps(site.study.configs[first[0].condition]))
    record = replace(record, canary_step=step, canary_waiting=len(tasks) - 1)
    return Release(first, record, (_waiting_words(phase, record),))


def held_words(workspace: Workspace, state: State, phase: str) -> str | None:
    """What a user should know of a phase that is held by its canary; None for all others."""
    record = state.phases[phase]
    planned = any(run.status is RunStatus.PLANNED for run in state.runs_of(phase).values())
    if record.canary_step is None or record.canary_released or not planned:
        return None
    where = look(workspace, state, phase)
    others = count(record.canary_waiting, "other task")
    if where is Standing.FAILED:
        return f"canary: the first task of {phase} failed; {others} not submitted"
    if where is Standing.PASSED:
        return f"canary: the first task of {phase} works; the next advance submits {others}"
    return _waiting_words(phase, record)


def _waiting_words(phase: str, record: PhaseRecord) -> str:
    waits = "waits" if record.canary_waiting == 1 else "wait"
    return (
        f"canary: 1 task of {phase} first; {record.canary_waiting:,} {waits} until it reaches "
        f"step {record.canary_step:,} with a finite loss"
    )


def _report(workspace: Workspace, state: State, key: str, run: RunRecord) -> Report:
    """The run's last report, unless an earlier attempt wrote it."""
    if run.status is not RunStatus.RUNNING or run.job is None:
        return {}
    folder = current_folder(workspace.run_dir(key))
    report = last_report(folder / METRICS) if folder else {}
    submitted = datetime.fromisoformat(state.jobs[run.job].submitted_at).timestamp()
    return report if report.get("time", 0.0) >= submitted else {}


def _values(report: Report) -> list[float]:
    return [value for name, value in report.items() if name not in _NO_VALUES]


def _is_bad(report: Report) -> bool:
    return not all(math.isfinite(value) for value in _values(report))
