"""`pipeline init`: a workspace from a study template."""

from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import write_atomic
from pipeline.validation import suggest
from pipeline.workspace import shared_file

_GITIGNORE = ".state/\nruns/\nslurm/logs/\n"


def make_workspace(directory: Path, template: str) -> Path:
    """Write study.toml into `directory` (made if absent) and return its path.

    Raises:
        PipelineError: unknown template, or there is a study already.
    """
    templates = study_templates()
    if template not in templates:
        raise PipelineError(f'no study template "{template}"{suggest(template, list(templates))}')
    study = directory / "study.toml"
    if study.exists():
        raise PipelineError(f"{study} exists already; choose another folder or remove it first")
    write_atomic(study, templates[template].read_bytes())
    ignore = directory / ".gitignore"
    if not ignore.exists():
        write_atomic(ignore, _GITIGNORE.encode())
    return study


def study_templates() -> dict[str, Path]:
    """Study files by template name."""
    folder = shared_file("templates") / "studies"
    found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {**found, "ired": shared_file("study.toml")}
