"""Writes RESULTS.md, RESULTS.html and their figures from the results as they are now."""

import re
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import read_bytes, write_atomic
from pipeline.replan import replanned
from pipeline.site import Site
from pipeline.state import State
from pipeline.study import Study
from pipeline.workspace import Workspace

_CONTEXT_CHARS = 20
_SHOWN_CHARS = 60
_SHOWN = re.compile(r"\]\((figures/[^)\s]+\.svg)\)")


def publish(workspace: Workspace, study: Study, state: State) -> list[Path]:
    """Analyse, draw and render; return the files written, the report first.

    Raises:
        PipelineError: results are missing, changed or not comparable, or a file cannot be written.
    """
    files = render(workspace, study, state)
    drawn = any(path.parent == workspace.figures_dir for path in files)
    if drawn and workspace.figures_dir.exists() and not workspace.figures_dir.is_dir():
        raise PipelineError(
            f"{workspace.figures_dir}: is a file, and the figures need a folder of that name; "
            "move it away and run the command again"
        )
    for path in reversed(files):  # the report last: it shows the figures
        write_atomic(path, files[path])
    return list(files)


def render(workspace: Workspace, study: Study, state: State) -> dict[Path, bytes]:
    """The report, its page and its figures, as they are to lie on the disk; writes nothing.

    Raises:
        PipelineError: results are missing, changed or not comparable.
    """
    # These import scipy and matplotlib, which takes longer than a step that finds nothing new.
    from pipeline.figures import figures_of
    from pipeline.gather import gather
    from pipeline.report import render_report
    from pipeline.report_html import render_html

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
    templates = workspace.template_dirs()
    text = render_report(replace(report, phases=phases), templates)
    shown = {workspace.relative(path): svg for path, svg in figures.items()}
    page = render_html(text, shown, f"Results: {report.study}", templates)
    return {workspace.report_file: text.encode(), workspace.page_file: page.encode(), **figures}


def outputs_exist(workspace: Workspace) -> bool:
    """Are the report, its page and every figure there? Reads the report, analyses nothing."""
    try:
        text = read_bytes(workspace.report_file).decode()
    except (OSError, UnicodeDecodeError):
        return False
    shown = [workspace.root / name for name in _SHOWN.findall(text)]
    return all(path.is_file() for path in (workspace.page_file, *shown))


def publish_current(site: Site) -> list[Path]:
    """Render the report of the results as they are recorded.

    Raises:
        PipelineError: there is nothing to report yet, or see `publish`.
    """
    return publish(site.workspace, site.study, _recorded(site))


def first_difference(site: Site) -> str | None:
    """Where report and figures on the disk depart from the recorded results; None when nowhere.

    Writes nothing.

    Raises:
        PipelineError: there is nothing to report yet, or see `render`.
    """
    for path, wanted in render(site.workspace, site.study, _recorded(site)).items():
        name = site.workspace.relative(path)
        try:
            found = read_bytes(path)
        except OSError as error:
            return f"{name}: cannot be read ({error.strerror})"
        if found != wanted:
            return f"{name}{_departure(found, wanted)}"
    return None


def _departure(found: bytes, wanted: bytes) -> str:
    """The first line in which two texts differ, and what stands there in each."""
    lines = (text.decode(errors="replace").split("\n") for text in (found, wanted))
    for number, (ours, theirs) in enumerate(zip_longest(*lines, fillvalue=""), start=1):
        if ours != theirs:
            pairs = enumerate(zip(ours, theirs, strict=False))
            equal = next((n for n, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
            start = max(0, equal - _CONTEXT_CHARS)
            shown, meant = (repr(line[start : start + _SHOWN_CHARS]) for line in (ours, theirs))
            return f":{number}: holds {shown}, the results give {meant}"
    return ": differs in its bytes alone"


def _recorded(site: Site) -> State:
    stored = site.store.load()
    if stored is None:
        raise PipelineError("nothing was submitted yet; `pipeline advance` starts the study")
    state, _ = replanned(site.study, site.profile_name, stored)
    return state
