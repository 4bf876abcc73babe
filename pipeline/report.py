"""RESULTS.md: rendered from a ReportInput by templates that a user may replace one by one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import (
    markdown,
    report_completeness,
    report_diagnostics,
    report_recommend,
    report_sweep,
    report_tables,
    templating,
)
from pipeline.analysis.alternatives import AlternativesAnalysis
from pipeline.analysis.confirm import ConfirmAnalysis
from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.analysis.pilot import PilotAnalysis
from pipeline.analysis.quantities import quantity_label
from pipeline.analysis.sweep import SweepAnalysis
from pipeline.analysis.table import RunRow, metric_label
from pipeline.report_input import PhaseInfo, ReportInput

TEMPLATE = "RESULTS.md.j2"
FILTERS: Mapping[str, Callable[..., object]] = {
    "code": markdown.code,
    "decimal": markdown.decimal,
    "fence": markdown.fence,
    "hours": markdown.hours,
    "interval": markdown.interval,
    "level": markdown.level,
    "link": markdown.link,
    "margin": markdown.margin,
    "metric": metric_label,
    "number": markdown.number,
    "p_cell": markdown.p_cell,
    "p_text": markdown.p_text,
    "percent": markdown.percent,
    "percent_interval": markdown.percent_interval,
    "seconds": markdown.seconds,
    "seeds": markdown.seeds,
    "short": markdown.short,
}
FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "check_rows": report_tables.check_rows,
    "completeness": report_completeness.completeness,
    "decision_rows": report_tables.decision_rows,
    "distance_cell": report_tables.distance_cell,
    "gaps": report_completeness.gaps,
    "job_ids": report_tables.job_ids,
    "metric_names": report_tables.metric_names,
    "other_margins": report_tables.other_margins,
    "places_of": report_tables.places_of,
    "reference_groups": report_tables.reference_groups,
    "seed_places": report_tables.seed_places,
    "seed_rows": report_tables.seed_rows,
    "turns": report_tables.turns,
    "value_rows": report_tables.value_rows,
    "ends": report_recommend.ends,
    "enough": report_recommend.enough,
    "more_pairs": report_recommend.more_pairs,
    "past": report_recommend.past,
    "sides": report_recommend.sides,
    "tally": report_recommend.tally,
    "uncleared": report_recommend.uncleared,
    "apart_by_candidate": report_diagnostics.apart_by_candidate,
    "estimate_of": report_diagnostics.estimate_of,
    "estimate_rows": report_diagnostics.estimate_rows,
    "feature_rows": report_diagnostics.feature_rows,
    "finding_rows": report_diagnostics.finding_rows,
    "interval_of": report_diagnostics.interval_of,
    "possible_explanations": report_diagnostics.possible_explanations,
    "quantity": quantity_label,
    "signed_estimate": report_diagnostics.signed_estimate,
    "standing_out": report_diagnostics.standing_out,
    "unresolved_explanations": report_diagnostics.unresolved_explanations,
    "left_out": report_sweep.left_out,
    "level_means": report_sweep.level_means,
    "optimism_rows": report_sweep.optimism_rows,
    "order_rows": report_sweep.order_rows,
    "plus_minus": report_sweep.plus_minus,
    "points": report_sweep.points,
    "selected_cell": report_sweep.selected_cell,
    "setting_rows": report_sweep.setting_rows,
    "sweep_places": report_sweep.sweep_places,
    "sweep_seeds": report_sweep.sweep_seeds,
}


@dataclass(frozen=True)
class NumberedPhase:
    """A phase, its place in the study, and its analysis by kind."""

    number: str
    """A phase that completes another has its number and a letter: 3, 3b."""
    info: PhaseInfo
    pilot: PilotAnalysis | None
    diagnostics: DiagnosticsAnalysis | None
    sweep: SweepAnalysis | None
    confirm: ConfirmAnalysis | None
    alternatives: AlternativesAnalysis | None
    paired: MultiseedAnalysis | None
    """Every analysis that gives verdicts holds one."""


def render_report(report: ReportInput, template_dirs: Sequence[Path]) -> str:
    """Return RESULTS.md; a template is taken from the first folder that has it.

    Raises:
        PipelineError: a template is missing or wrong, or asks for a value that is not there.
    """
    environment = templating.environment_of(template_dirs, markdown.escape)
    environment.filters.update(FILTERS)
    environment.globals.update(FUNCTIONS, all_runs=all_runs)
    phases = _numbered(report.phases)
    labels = report.names
    environment.globals["label"] = lambda name: labels.get(name, name)
    environment.globals["mark"] = lambda c: _mark(report, c.phase)
    environment.globals["where"] = lambda phase: _where(phases, phase)
    environment.globals["place"] = lambda phase: _place(phases, phase)
    environment.globals["plan"] = report.plan
    analyses = [phase.paired for phase in phases if phase.paired]
    values = {
        "report": report,
        "phases": phases,
        "analyses": analyses,
        "sweeps": [phase.sweep for phase in phases if phase.sweep],
        "comparisons": [c for analysis in analyses for c in analysis.comparisons],
        "marks": {mark for phase in phases if phase.paired for mark in report.marks(phase.info)},
        "deviations": _deviations(report, labels),
    }
    return markdown.tidy(templating.render(environment, TEMPLATE, values))


def _numbered(infos: Sequence[PhaseInfo]) -> tuple[NumberedPhase, ...]:
    numbers: dict[str, str] = {}
    count, parts = 0, Counter[str]()
    for info in infos:
        if info.part_of in numbers:
            parts[info.part_of] += 1
            numbers[info.id] = numbers[info.part_of] + chr(ord("a") + parts[info.part_of])
        else:
            numbers[info.id] = str(count)
            count += 1
    return tuple(_sorted_out(numbers[info.id], info) for info in infos)


def _sorted_out(number: str, info: PhaseInfo) -> NumberedPhase:
    analysis = info.analysis
    paired = analysis if isinstance(analysis, MultiseedAnalysis) else None
    if isinstance(analysis, ConfirmAnalysis | AlternativesAnalysis):
        paired = analysis.paired
    return NumberedPhase(
        number,
        info,
        pilot=analysis if isinstance(analysis, PilotAnalysis) else None,
        diagnostics=analysis if isinstance(analysis, DiagnosticsAnalysis) else None,
        sweep=analysis if isinstance(analysis, SweepAnalysis) else None,
        confirm=analysis if isinstance(analysis, ConfirmAnalysis) else None,
        alternatives=analysis if isinstance(analysis, AlternativesAnalysis) else None,
        paired=paired,
    )


def _mark(report: ReportInput, phase: str) -> str:
    """What stands behind a verdict of a phase."""
    (info,) = (info for info in report.phases if info.id == phase and info.analysis)
    marks = report.marks(info)
    return f" ({', '.join(marks)})" if marks else ""


def _where(phases: Sequence[NumberedPhase], phase: str) -> str:
    """Where a verdict stands; empty when only one phase gives any."""
    giving = {numbered.info.id: numbered.number for numbered in phases if numbered.paired}
    return f" in phase {giving[phase]}, {phase}" if len(giving) > 1 else ""


def _place(phases: Sequence[NumberedPhase], phase: str) -> str:
    """A phase's number and name."""
    (number,) = (numbered.number for numbered in phases if numbered.info.id == phase)
    return f"{number}, {phase}"


def _deviations(report: ReportInput, labels: Mapping[str, str]) -> tuple[str, ...]:
    found = [sentence for phase in report.phases for sentence in _deviations_of(phase, labels)]
    return tuple(dict.fromkeys((*report.deviations, *found)))


def _deviations_of(phase: PhaseInfo, labels: Mapping[str, str]) -> list[str]:
    """A failed run stays a missing pair, and is named (statistics: no seed is replaced)."""
    found = list(phase.analysis.deviations) if phase.analysis else []
    if phase.confirmatory and phase.begun_unfrozen:
        found.append(f"Phase {phase.id}: runs were submitted before the plan was frozen.")
    for gate in phase.gates:
        if not gate.passed and gate.override_reason is not None:
            found.append(
                f'Phase {phase.id}: the gate "{gate.name}" was closed ({gate.words}) and '
                f"overridden by a person at {gate.override_at}: {gate.override_reason}"
            )
    if phase.without_failed:
        count = len(phase.failed)
        found.append(
            f"Phase {phase.id}: the phase was analysed without {count} failed "
            f"run{'s' * (count != 1)}, as decided by a person."
        )
    for gap in report_completeness.gaps(phase.failed):
        seeds = f"seed{'s' * (len(gap.seeds) != 1)} {markdown.seeds(gap.seeds)}"
        why = f" ({gap.detail})" if gap.detail else ""
        name = labels.get(gap.condition, gap.condition)
        found.append(f"Phase {phase.id}: {name}, {seeds}: failed{why}.")
    return found


def all_runs(analysis: PilotAnalysis) -> list[RunRow]:
    """Return the pilot's runs in the order of the conditions."""
    return [run for condition in analysis.conditions for run in condition.runs]
