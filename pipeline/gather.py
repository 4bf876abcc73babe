"""From study, state and results to all that RESULTS.md says: one `ReportInput`."""

import json
from collections.abc import Sequence
from typing import Any

from pipeline.analysis.multiseed import analyse_multiseed
from pipeline.analysis.pilot import analyse_pilot
from pipeline.analysis.table import AnalysisPlan, HoleReason, Hypothesis, ResultTable, RunRow
from pipeline.collect import table_of
from pipeline.report_input import (
    ConditionInfo,
    FileInfo,
    JobInfo,
    PhaseAnalysis,
    PhaseInfo,
    PhaseStatus,
    PlanSeal,
    ReportInput,
    SealState,
    provenance_of,
)
from pipeline.state import JobRecord, State
from pipeline.study import Study
from pipeline.workspace import Workspace

_TITLES = {
    "pilot": "Pilot",
    "multiseed": "Multi-seed validation",
    "diagnostics": "Diagnostics",
    "sweep": "Hyperparameter sweep",
    "alternatives": "Alternatives",
}
_HOUR_S = 3600


def gather(workspace: Workspace, study: Study, state: State) -> ReportInput:
    """Collect and analyse every complete phase.

    Raises:
        PipelineError: results are missing or changed, or cannot be compared with each other.
    """
    header, plan = study.file.study, plan_of(study)
    hypotheses = hypotheses_of(study)
    tables = {name: table_of(workspace, study, state, name) for name in study.file.phases}
    rows = [row for table in tables.values() for row in table.rows]
    phases = [_phase(study, state, tables[name], plan, hypotheses) for name in tables]
    declared = {phase.kind for phase in study.file.phases.values()}
    absent = [
        PhaseInfo(kind, title, PhaseStatus.NOT_RUN)
        for kind, title in _TITLES.items()
        if kind not in declared
    ]
    shared, conditions = _configs(study)
    return ReportInput(
        study=header.name,
        question=header.question,
        plan=plan,
        seal=_seal(study, state),
        hypotheses=hypotheses,
        conditions=conditions,
        shared_config=shared,
        phases=(*phases, *absent),
        scope=_scope(study),
        jobs=tuple(_jobs(state, rows)),
        provenance=provenance_of(rows),
        hours_unit="GPU-hours" if _used_gpus(state) else "CPU task-hours",
        deviations=tuple(_deviations(state)),
        files=_files(),
        reproduce=_reproduce(rows, state.profile),
    )


def plan_of(study: Study) -> AnalysisPlan:
    """The study's analysis plan as the analysis takes it."""
    file, declared = study.file, study.file.analysis
    first = next(iter(file.hypotheses.values()), None)
    return AnalysisPlan(
        metric=file.study.metric.name,
        direction=file.study.metric.direction,
        reference_condition=declared.reference
        or (first.reference if first else next(iter(file.conditions))),
        alpha=declared.alpha,
        margin_percent=declared.margin_percent,
        sensitivity_margins_percent=tuple(declared.sensitivity_margins_percent),
        power=declared.power,
        min_pairs=declared.min_pairs,
    )


def hypotheses_of(study: Study) -> tuple[Hypothesis, ...]:
    """The study's hypotheses as the analysis takes them."""
    return tuple(
        Hypothesis(name, h.statement, h.candidate, h.reference, h.family)
        for name, h in study.file.hypotheses.items()
    )


def _phase(
    study: Study,
    state: State,
    table: ResultTable,
    plan: AnalysisPlan,
    hypotheses: tuple[Hypothesis, ...],
) -> PhaseInfo:
    kind = study.file.phases[table.phase].kind
    complete = _analysable(state, table)
    seconds = [r.device_seconds for r in state.runs_of(table.phase).values() if r.device_seconds]
    return PhaseInfo(
        id=table.phase,
        title=_title(table.phase, kind),
        status=PhaseStatus.COMPLETE if complete else _status(state, table),
        table=table,
        analysis=_analysis(study, table, plan, hypotheses) if complete else None,
        device_hours=sum(seconds) / _HOUR_S if seconds else None,
        confirmatory=study.file.phases[table.phase].confirmatory,
        begun_unfrozen=_begun_unfrozen(state, table.phase),
    )


def _analysis(
    study: Study, table: ResultTable, plan: AnalysisPlan, hypotheses: tuple[Hypothesis, ...]
) -> PhaseAnalysis:
    """Analyse by kind; an exploratory phase may run too few conditions for some hypotheses."""
    phase = study.file.phases[table.phase]
    if phase.kind == "pilot":
        return analyse_pilot(table, plan.metric)
    if not phase.confirmatory:
        ran = set(table.conditions)
        hypotheses = tuple(
            h for h in hypotheses if {h.candidate, h.reference, plan.reference_condition} <= ran
        )
    return analyse_multiseed(table, plan, hypotheses)


def _title(phase: str, kind: str) -> str:
    return _TITLES[kind] if phase == kind else f"{_TITLES[kind]} ({phase})"


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
    return all(accepted and hole.reason is HoleReason.FAILED for hole in table.holes)


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
    steps = sorted({study.trainer.total_steps(config) for config in study.configs.values()})
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
            device_hours=_job_hours(state, token, job),
        )
        for token, job in jobs
    ]


def _job_hours(state: State, token: str, job: JobRecord) -> float | None:
    """Device-hours of the job's results; None while it has none."""
    runs = [state.runs[key] for task in job.tasks for key in task.runs]
    seconds = [run.device_seconds for run in runs if run.job == token and run.device_seconds]
    return sum(seconds) / _HOUR_S if seconds else None


def _used_gpus(state: State) -> bool:
    return any(run.gpu_seconds for run in state.runs.values())


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
        FileInfo("study.toml", "the study and its analysis plan"),
        FileInfo("runs/", "config, result and metrics of every run"),
        FileInfo("slurm/logs/", "task files and logs of every job"),
        FileInfo(".state/pipeline.json", "what was planned, submitted and seen"),
        FileInfo(".state/journal.jsonl", "the same as events, in order"),
    )


def _reproduce(rows: Sequence[RunRow], profile: str) -> tuple[str, ...]:
    commits = sorted({row.facts.commit for row in rows if row.facts.commit})
    checkout = [f"git checkout {commits[0]}"] if len(commits) == 1 else []
    return (*checkout, f"pipeline advance --watch --profile {profile}")
