"""Writes RESULTS.md and its figures from the results as they are now."""

from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.figures import draw_figures
from pipeline.files import write_atomic
from pipeline.gather import gather
from pipeline.replan import replanned
from pipeline.report import render_report
from pipeline.site import Site
from pipeline.state import State
from pipeline.study import Study
from pipeline.workspace import Workspace


def publish(workspace: Workspace, study: Study, state: State) -> list[Path]:
    """Analyse, draw and render; return the files written.

    Raises:
        PipelineError: results are missing, changed or not comparable, or a file cannot be written.
    """
    report = gather(workspace, study, state)
    analyses = [phase.analysis for phase in report.phases if phase.analysis is not None]
    labels = {condition.name: condition.label for condition in report.conditions}
    text = render_report(report, workspace.template_dirs())
    names = draw_figures(analyses, labels, workspace.figures_dir, post_hoc=report.seal.post_hoc)
    write_atomic(workspace.report_file, text.encode())
    return [workspace.report_file, *(workspace.figures_dir / name for name in names)]


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
