"""RESULTS.md: rendered from a ReportInput by templates that a user may replace one by one.

Owns the seam to jinja2. Templates never print a bare value: text is escaped, numbers pass a
format, and a value that is missing stops the rendering instead of appearing as "None".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline import markdown, report_tables
from pipeline.analysis.multiseed import MultiseedAnalysis
from pipeline.analysis.pilot import PilotAnalysis
from pipeline.analysis.table import RunRow, metric_label
from pipeline.errors import PipelineError
from pipeline.report_input import PhaseInfo, ReportInput

TEMPLATE = "RESULTS.md.j2"
FORMATS = (
    "code decimal number short percent margin level interval percent_interval p_cell p_text "
    "hours seconds seeds link"
)
LOOKUPS = (
    "decision_rows check_rows seed_rows seed_places reference_groups distance_cell "
    "other_margins turns metric_names job_ids"
)


@dataclass(frozen=True)
class NumberedPhase:
    """A phase, its place in the study, and its analysis by kind (at most one is set)."""

    number: int
    info: PhaseInfo
    pilot: PilotAnalysis | None
    multiseed: MultiseedAnalysis | None


def render_report(report: ReportInput, template_dirs: Sequence[Path]) -> str:
    """Return RESULTS.md; a template is taken from the first folder that has it.

    Raises:
        PipelineError: a template is missing or wrong, or asks for a value that is not there.
    """
    environment = _environment(template_dirs)
    phases = tuple(_numbered(number, info) for number, info in enumerate(report.phases))
    labels = {condition.name: condition.label for condition in report.conditions}
    environment.globals["label"] = lambda name: labels.get(name, name)
    environment.globals["post_hoc"] = report.seal.post_hoc
    environment.globals["plan"] = report.plan
    analyses = [phase.multiseed for phase in phases if phase.multiseed]
    try:
        text = environment.get_template(TEMPLATE).render(
            report=report,
            phases=phases,
            analyses=analyses,
            comparisons=[c for analysis in analyses for c in analysis.comparisons],
            deviations=_deviations(report),
        )
    except jinja2.TemplateNotFound as error:
        searched = ", ".join(str(folder) for folder in template_dirs)
        raise PipelineError(f"no template {error.name} in {searched}") from error
    except jinja2.TemplateError as error:
        where = getattr(error, "name", None) or TEMPLATE
        raise PipelineError(f"the report's template {where} is wrong: {error.message}") from error
    return _tidy(text)


def _numbered(number: int, info: PhaseInfo) -> NumberedPhase:
    analysis = info.analysis
    return NumberedPhase(
        number,
        info,
        analysis if isinstance(analysis, PilotAnalysis) else None,
        analysis if isinstance(analysis, MultiseedAnalysis) else None,
    )


def _deviations(report: ReportInput) -> tuple[str, ...]:
    found = [d for phase in report.phases if phase.analysis for d in phase.analysis.deviations]
    return tuple(dict.fromkeys((*report.deviations, *found)))


def _tidy(text: str) -> str:
    """Collapse the blank lines that blocks leave behind, and end with one newline."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"


def _environment(template_dirs: Sequence[Path]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in template_dirs]),
        undefined=jinja2.StrictUndefined,
        autoescape=True,  # keeps apart what is Markdown already and what is text
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(markdown, name) for name in FORMATS.split()})
    environment.filters["metric"] = metric_label
    environment.globals.update(
        {name: getattr(report_tables, name) for name in LOOKUPS.split()},
        all_runs=all_runs,
        fence=fence,
    )
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
