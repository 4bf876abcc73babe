"""Writes RESULTS.md and its figures from the results as they are now."""

import re
from dataclasses import replace
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import write_atomic
from pipeline.replan import replanned
from pipeline.site import Site
from pipeline.state import State
from pipeline.study import Study
from pipeline.workspace import Workspace

_SHOWN = re.compile(r"\]\((figures/[^)\s]+\.svg)\)")


def publish(workspace: Workspace, study: Study, state: State) -> list[Path]:
    """Analyse, draw and render; return the files written.

    Raises:
        PipelineError: results are missing, changed or not comparable, or a file cannot be written.
    """
    # These import scipy and matplotlib, which takes longer than a step that finds nothing new.
    from pipeline.figures import figures_of
    from pipeline.gather import gather
    from pipeline.report import render_report

    report = gather(workspace, study, state)
    drawn = [
        figures_of(
            phase.analysis,
            report.names,
            report.marks(phase),
            phase.curves,
            phase.selection.candidate if phase.selection else "",
        )
        for phase in report.phases
    ]
    figures = {workspace.figures_dir / name: svg for of in drawn for name, svg in of.items()}
    phases = tuple(
        replace(phase, figures=tuple(workspace.relative(workspace.figures_dir / n) for n in of))
        for phase, of in zip(report.phases, drawn, strict=True)
    )
    text = render_report(replace(report, phases=phases), workspace.template_dirs())
    if figures and workspace.figures_dir.exists() and not workspace.figures_dir.is_dir():
        raise PipelineError(
            f"{workspace.figures_dir}: is a file, and the figures need a folder of that name; "
            "move it away and run the command again"
        )
    for path, svg in figures.items():
        write_atomic(path, svg)
    write_atomic(workspace.report_file, text.encode())
    return [workspace.report_file, *figures]


def outputs_exist(workspace: Workspace) -> bool:
    """Are the report and every figure that it shows there? Reads the report, analyses nothing."""
    try:
        text = workspace.report_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return all((workspace.root / name).is_file() for name in _SHOWN.findall(text))


def publish_current(site: Site) -> list[Path]:
    """Render the report of the results as they are recorded.

    Raises:
        PipelineError: there is nothing to report yet, or see `publish`.
    """
    stored = site.store.load()
    if stored is None:
        raise PipelineError("nothing was submitted yet; `pipeline advance` starts the study")
    state, _ = replanned(site.study, site.profile_name, stored)
    return publish(site.workspace, site.study, state)
