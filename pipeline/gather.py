"""From study, state and results to all that RESULTS.md says: one `ReportInput`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.alarms import alarms_of
from pipeline.analyse import all_hypotheses, analyse_phase, plan_of
from pipeline.analysis.sweep import SweepAnalysis
from pipeline.analysis.table import HoleReason, ResultTable, RunRow
from pipeline.aside import Likeness, likeness, set_aside_of
from pipeline.cells import cell_label
from pipeline.collect import table_of
from pipeline.curves import curves_of
from pipeline.ledger import ledger
from pipeline.plan import valid
from pipeline.report_input import (
    AsideInfo,
    ConditionInfo,
    Cost,
    FileInfo,
    GateInfo,
    JobInfo,
    LedgerLine,
    PhaseInfo,
    PhaseStatus,
    PlanSeal,
    ReportInput,
    SealState,
    SelectionInfo,
    provenance_of,
)
from pipeline.reproduce import commands, obstacle
from pipeline.state import JobRecord, RunRecord, RunStatus, State
from pipeline.study import Study
from pipeline.study_file import ConfirmPhase
from pipeline.workspace import Workspace

_TITLES = {
    "pilot": "Pilot",
    "multiseed": "Multi-seed validation",
    "diagnostics": "Diagnostics",
    "sweep": "Hyperparameter sweep",
    "confirm": "Confirmation of the selected setting",
    "alternatives": "Alternatives",
}
_HOUR_S = 3600


def gather(workspace: Workspace, study: Study, state: State) -> ReportInput:
    """Collect and analyse every complete phase.

    Raises:
        PipelineError: results are missing or changed, or cannot be compared with each other.
    """
    header = study.file.study
    tables = {name: table_of(workspace, study, state, name) for name in study.file.phases}
    rows = [row for table in tables.values() for row in table.rows]
    phases = [_phase(workspace, study, state, tables, name) for name in tables]
    phases += _dropped(study, state)
    named = {phase.kind for phase in study.file.phases.values()} | {phase.id for phase in phases}
    absent = [
        PhaseInfo(kind, title, PhaseStatus.NOT_RUN)
        for kind, title in _TITLES.items()
        if kind not in named and kind != "confirm"
    ]
    shared, conditions = _configs(study)
    return ReportInput(
        study=header.name,
        question=header.question,
        plan=plan_of(study),
        seal=_seal(study, state),
        hypotheses=all_hypotheses(study, state),
        conditions=conditions,
        labels=_labels(study),
        shared_config=shared,
        phases=(*phases, *absent),
        scope=_scope(study),
        jobs=tuple(_jobs(state, rows)),
        ledger=tuple(_ledger(state)),
        provenance=provenance_of(rows),
        deviations=(*_deviations(state), *_moved_selections(state, phases)),
        files=_files(),
        reproduce=commands(rows, state.profile),
        reproduce_note=obstacle(rows),
    )


def _phase(
    workspace: Workspace,
    study: Study,
    state: State,
    tables: Mapping[str, ResultTable],
    name: str,
) -> PhaseInfo:
    phase, table = study.file.phases[name], tables[name]
    complete = _analysable(state, table)
    ever = [run for run in state.runs.values() if run.phase == name]
    return PhaseInfo(
        id=name,
        title=_title(name, phase.kind),
        status=PhaseStatus.COMPLETE if complete else _status(state, table),
        table=table,
        analysis=analyse_phase(workspace, study, state, tables, name) if complete else None,
        part_of=phase.of if isinstance(phase, ConfirmPhase) else None,
        awaits=state.phases[name].awaits,
        selection=_selection(study, state, name),
        overrides=_flat(phase.config),
        curves=curves_of(workspace, table, study.file.study.metric.name),
        dropped=_gone(ever),
        cost=_cost(ever),
        cost_per_run=_cost_per_run(state, table),
        confirmatory=phase.confirmatory,
        begun_unfrozen=_begun_unfrozen(state, name),
        gates=_gates(state, name, complete=complete),
        aside=_aside(workspace, state, name),
    )


def _aside(workspace: Workspace, state: State, phase: str) -> tuple[AsideInfo, ...]:
    """Results that were set aside, those that compare alike together.

    Every run that was ever submitted is looked at: of a start that nobody saw, folders alone tell.
    """
    runs = {key: run for key, run in state.runs_of(phase).items() if run.tries}
    alike: dict[Likeness, tuple[str, ...]] = {}
    for aside in set_aside_of(workspace, runs):
        found = likeness(aside, runs[aside.run])
        alike[found] = (*alike.get(found, ()), workspace.relative(aside.path))
    return tuple(AsideInfo(found.value, paths) for found, paths in alike.items())


def _gates(state: State, phase: str, *, complete: bool) -> tuple[GateInfo, ...]:
    """Raised alarms, and the gates of a phase that is complete as it is."""
    record = state.phases[phase]
    overrides = {item.gate: item for item in record.overrides}
    found = (*alarms_of(state, phase), *(record.gates if complete else ()))
    return tuple(
        GateInfo(
            gate.name,
            gate.passed,
            gate.words,
            overrides[gate.name].reason if gate.name in overrides else None,
            overrides[gate.name].at if gate.name in overrides else None,
        )
        for gate in found
    )


def _selection(study: Study, state: State, name: str) -> SelectionInfo | None:
    made = valid(study, name, state.selections)
    if made is None:
        return None
    return SelectionInfo(made.ranking[0], made.reference, made.made_at, made.results_digest)


def _moved_selections(state: State, phases: Sequence[PhaseInfo]) -> list[str]:
    """Sweeps whose results would select another cell now than they did; nothing is changed."""
    found = []
    for info in phases:
        made, analysis = state.selections.get(info.id), info.analysis
        if made is None or not isinstance(analysis, SweepAnalysis) or not analysis.ranking:
            continue
        now = (analysis.ranking[0], analysis.selected_reference)
        if now != (made.ranking[0], made.reference):
            found.append(
                f"Phase {info.id}: {made.ranking[0]} against {made.reference} was selected on "
                f"{made.made_at}; the results as they are now would select {now[0]} against "
                f"{now[1]}. The selection stands as it was made."
            )
    return found


def _dropped(study: Study, state: State) -> list[PhaseInfo]:
    """Phases that the study does not have any more, although runs of them were submitted."""
    found = []
    for name, record in state.phases.items():
        runs = [run for run in state.runs.values() if run.phase == name]
        if name not in study.file.phases and _gone(runs):
            title = _title(name, record.kind)
            cost = _cost(runs)
            found.append(
                PhaseInfo(name, title, PhaseStatus.DROPPED, dropped=_gone(runs), cost=cost)
            )
    return found


def _gone(runs: Sequence[RunRecord]) -> int:
    return sum(not run.in_plan and run.tries > 0 for run in runs)


def _title(phase: str, kind: str) -> str:
    title = _TITLES.get(kind, kind)
    return title if phase == kind else f"{title} ({phase})"


def _begun_unfrozen(state: State, phase: str) -> bool:
    """Was anything of the phase submitted before the plan was frozen?"""
    frozen = state.plan_frozen_at
    jobs = (job for job in state.jobs.values() if job.phase == phase and job.job_id is not None)
    return frozen is not None and any(job.submitted_at < frozen for job in jobs)


def _analysable(state: State, table: ResultTable) -> bool:
    """Is there no hole that may still be filled?

    Failed runs may be tried again, so they count as such until a person has decided otherwise.
    """
    accepted = state.phases[table.phase].accepted_failed
    return state.phases[table.phase].awaits is None and all(
        accepted and hole.reason is HoleReason.FAILED for hole in table.holes
    )


def _status(state: State, table: ResultTable) -> PhaseStatus:
    """How far a phase is that cannot be analysed yet."""
    if any(hole.reason is HoleReason.FAILED for hole in table.holes):
        return PhaseStatus.NEEDS_PERSON
    started = any(run.tries for run in state.runs_of(table.phase).values())
    return PhaseStatus.RUNNING if started else PhaseStatus.NOT_RUN


def _seal(study: Study, state: State) -> PlanSeal:
    digest = study.plan_digest()
    if state.frozen_plan is None:
        return PlanSeal(SealState.OPEN, digest)
    same = state.frozen_plan == digest
    seal = SealState.FROZEN if same else SealState.CHANGED
    return PlanSeal(seal, digest, state.frozen_plan, state.plan_frozen_at)


def _configs(study: Study) -> tuple[dict[str, str], tuple[ConditionInfo, ...]]:
    """What all conditions share, and what tells each of them apart."""
    flat = {name: _flat(study.config_of(name)) for name in study.file.conditions}
    first = next(iter(flat.values()))
    shared = {
        key: value
        for key, value in first.items()
        if all(config.get(key) == value for config in flat.values())
    }
    infos = tuple(
        ConditionInfo(
            name,
            study.file.conditions[name].label,
            {key: value for key, value in config.items() if key not in shared},
        )
        for name, config in flat.items()
    )
    return shared, infos


def _labels(study: Study) -> dict[str, str]:
    """How people call conditions, and cells of them."""
    labels = {name: condition.label for name, condition in study.file.conditions.items()}
    cells = {
        arm.name: f"{labels[arm.condition]}, {cell_label(arm.cell)}"
        for arms in study.arms.values()
        for arm in arms
        if arm.cell
    }
    return labels | cells


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested config as dotted keys and texts."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value)
    return flat


def _scope(study: Study) -> str:
    arms = [arm.settings for of in study.arms.values() for arm in of]
    steps = sorted({study.trainer.total_steps(settings) for settings in arms})
    words = " or ".join(f"{count:,}" for count in steps)
    return f"{study.file.study.scope}, {words} steps"


def _jobs(state: State, rows: Sequence[RunRow]) -> list[JobInfo]:
    """Every submission in its order; it ended, as far as results tell, with its last one."""
    ended: dict[str | None, str] = {}
    for row in rows:
        token, at = row.facts.attempt, row.facts.ended_at or ""
        ended[token] = max(ended.get(token, ""), at)
    jobs = [(token, job) for token, job in state.jobs.items() if job.job_id is not None]
    jobs.sort(key=lambda item: item[1].submitted_at)
    return [
        JobInfo(
            job_id=job.job_id or "",
            phase=job.phase,
            tasks=len(job.tasks),
            profile=job.profile,
            submitted=job.submitted_at,
            ended=ended.get(token) or None,
            cost=_job_cost(state, token, job),
        )
        for token, job in jobs
    ]


def _ledger(state: State) -> list[LedgerLine]:
    return [
        LedgerLine(
            phase=account.phase,
            unit=account.unit,
            useful=account.hours["useful"],
            failed=account.hours["failed"],
            duplicated=account.hours["duplicated"],
            preempted=account.hours["preempted"],
            untimed=account.untimed,
        )
        for account in ledger(state)
    ]


def _job_cost(state: State, token: str, job: JobRecord) -> Cost:
    runs = [state.runs[key] for task in job.tasks for key in task.runs]
    return _cost([run for run in runs if run.job == token])


def _cost_per_run(state: State, table: ResultTable) -> dict[str, Cost]:
    costs = {}
    for condition in table.conditions:
        runs = [
            run
            for run in state.runs_of(table.phase).values()
            if run.arm == condition and run.status is RunStatus.DONE
        ]
        whole = _cost(runs)
        costs[condition] = Cost(
            _share(whole.gpu_hours, len(runs)), _share(whole.task_hours, len(runs))
        )
    return costs


def _share(hours: float | None, runs: int) -> float | None:
    return None if hours is None else hours / runs


def _cost(runs: Sequence[RunRecord]) -> Cost:
    """Of the runs that have a result: no other has recorded its time."""
    done = [run for run in runs if run.status is RunStatus.DONE]
    return Cost(
        _hours([run.gpu_seconds for run in done]), _hours([run.device_seconds for run in done])
    )


def _hours(seconds: Sequence[float | None]) -> float | None:
    known = [value for value in seconds if value is not None]
    return sum(known) / _HOUR_S if known and len(known) == len(seconds) else None


def _deviations(state: State) -> list[str]:
    again = [key for key, run in state.runs.items() if run.in_plan and run.tries > 1]
    dropped = [key for key, run in state.runs.items() if not run.in_plan]
    lines = [f"{key} took {state.runs[key].tries} tries." for key in again]
    if dropped:
        lines.append(
            f"{len(dropped)} submitted runs, such as {dropped[0]}, are not in the study any more "
            "and not counted."
        )
    return lines


def _files() -> tuple[FileInfo, ...]:
    return (
        FileInfo("RESULTS.html", "this report as one page, figures included"),
        FileInfo("study.toml", "the study and its analysis plan"),
        FileInfo("runs/", "config and result of every run, metrics of every attempt"),
        FileInfo("slurm/logs/", "task files and logs of every job"),
        FileInfo(".state/pipeline.json", "what was planned, submitted and seen"),
        FileInfo(".state/journal.jsonl", "the same as events, in order"),
    )
