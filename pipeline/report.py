"""RESULTS.md: rendered from a ReportInput by templates that a user may replace one by one.

Owns the seam to jinja2. Templates never print a bare value: text is escaped, numbers pass a
format, and a value that is missing stops the rendering instead of appearing as "None".
"""

import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline import markdown, report_diagnostics, report_sweep, report_tables
from pipeline.analysis.alternatives import AlternativesAnalysis
from pipeline.analysis.confirm import ConfirmAnalysis
from pipeline.analysis.diagnostics import DiagnosticsAnalysis
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.analysis.pilot import PilotAnalysis
from pipeline.analysis.quantities import quantity_label
from pipeline.analysis.sweep import SweepAnalysis
from pipeline.analysis.table import RunRow, metric_label
from pipeline.errors import PipelineError
from pipeline.report_input import PhaseInfo, ReportInput

TEMPLATE = "RESULTS.md.j2"
FILTERS: Mapping[str, Callable[..., object]] = {
    "code": markdown.code,
    "decimal": markdown.decimal,
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
    "decision_rows": report_tables.decision_rows,
    "distance_cell": report_tables.distance_cell,
    "failures": report_tables.failures,
    "job_ids": report_tables.job_ids,
    "metric_names": report_tables.metric_names,
    "other_margins": report_tables.other_margins,
    "places_of": report_tables.places_of,
    "reference_groups": report_tables.reference_groups,
    "seed_places": report_tables.seed_places,
    "seed_rows": report_tables.seed_rows,
    "turns": report_tables.turns,
    "value_rows": report_tables.value_rows,
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
    environment = _environment(template_dirs)
    phases = _numbered(report.phases)
    labels = report.names
    environment.globals["label"] = lambda name: labels.get(name, name)
    environment.globals["mark"] = lambda c: _mark(report, c.phase)
    environment.globals["where"] = lambda phase: _where(phases, phase)
    environment.globals["plan"] = report.plan
    analyses = [phase.paired for phase in phases if phase.paired]
    try:
        text = environment.get_template(TEMPLATE).render(
            report=report,
            phases=phases,
            analyses=analyses,
            sweeps=[phase.sweep for phase in phases if phase.sweep],
            comparisons=[c for analysis in analyses for c in analysis.comparisons],
            marks={mark for phase in phases if phase.paired for mark in report.marks(phase.info)},
            deviations=_deviations(report, labels),
        )
    except PipelineError:
        raise
    except Exception as error:  # a template may raise anything, such as ZeroDivisionError
        raise _template_error(error, template_dirs) from error
    return _tidy(text)


def _template_error(error: Exception, template_dirs: Sequence[Path]) -> PipelineError:
    """The error as a user needs it: which file, which line, what is wrong."""
    if isinstance(error, jinja2.TemplateNotFound):
        searched = ", ".join(str(folder) for folder in template_dirs)
        return PipelineError(f"no template {error.name} in {searched}")
    message = str(error)
    if isinstance(error, jinja2.TemplateError):
        message = error.message or message
    else:
        message = f"{type(error).__name__}: {message}"
    return PipelineError(f"{_template_line(error)}: the report's template is wrong: {message}")


def _template_line(error: Exception) -> str:
    """Where in the templates an error arose: the innermost of their lines that led to it."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.filename or error.name or TEMPLATE}:{error.lineno}"
    lines = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.endswith(".j2")
    ]
    return lines[-1] if lines else TEMPLATE


class _Loader(jinja2.FileSystemLoader):
    """Names the file that cannot be read."""

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        try:
            return super().get_source(environment, template)
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, jinja2.TemplateNotFound):  # which is an OSError, too
                raise
            places = (Path(folder) / template for folder in self.searchpath)
            path = next((place for place in places if place.is_file()), template)
            why = getattr(error, "strerror", None) or "not UTF-8 text"
            raise PipelineError(f"{path}: the report's template cannot be read ({why})") from error


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
    for failure in report_tables.failures(phase.failed):
        seeds = f"seed{'s' * (len(failure.seeds) != 1)} {markdown.seeds(failure.seeds)}"
        why = f" ({failure.detail})" if failure.detail else ""
        name = labels.get(failure.condition, failure.condition)
        found.append(f"Phase {phase.id}: {name}, {seeds}: failed{why}.")
    return found


def _tidy(text: str) -> str:
    """Collapse the blank lines that blocks leave behind, and end with one newline."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"


def _environment(template_dirs: Sequence[Path]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=_Loader([str(folder) for folder in template_dirs]),
        undefined=jinja2.StrictUndefined,
        autoescape=True,  # keeps apart what is Markdown already and what is text
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(FUNCTIONS, all_runs=all_runs, fence=fence)
    return environment


def _printed(value: object) -> Markup:
    """What an expression of a template turns into."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str | jinja2.Undefined):
        return markdown.escape(str(value))  # str() of an undefined value raises
    if isinstance(value, int) and not isinstance(value, bool):
        return Markup(value)
    raise jinja2.TemplateRuntimeError(f"{value!r} would be printed without a format")


def all_runs(analysis: PilotAnalysis) -> list[RunRow]:
    """Return the pilot's runs in the order of the conditions."""
    return [run for condition in analysis.conditions for run in condition.runs]


def fence(lines: Sequence[str]) -> Markup:
    """Return lines as a code block that none of them can end."""
    body = [markdown.one_line(line) for line in lines]
    ticks = "```"
    while any(ticks in line for line in body):
        ticks += "`"
    return Markup("\n".join([f"{ticks}sh", *body, ticks]))
