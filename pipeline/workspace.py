"""Where things lie: the workspace's folders and the files a user may override there."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from pipeline import lock
from pipeline.errors import PipelineError

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Workspace:
    """The folder that holds `study.toml` and everything a study writes."""

    root: Path

    @property
    def study_file(self) -> Path:
        """The declaration of the study."""
        return self.root / "study.toml"

    @property
    def state_dir(self) -> Path:
        """What was intended, submitted and seen; written by the store alone."""
        return self.root / ".state"

    @property
    def lock_file(self) -> Path:
        """Held by the one command that changes something; see pipeline/lock.py."""
        return self.state_dir / lock.NAME

    @property
    def code_dir(self) -> Path:
        """Snapshots of the code that jobs run from; see pipeline/snapshot.py."""
        return self.state_dir / "code"

    @property
    def runs_dir(self) -> Path:
        """`<phase>/<run>/` for every run."""
        return self.root / "runs"

    @property
    def logs_dir(self) -> Path:
        """One folder per submission: its task files, logs and submitit's pickles."""
        return self.root / "slurm" / "logs"

    @property
    def figures_dir(self) -> Path:
        """Figures that RESULTS.md shows."""
        return self.root / "figures"

    @property
    def report_file(self) -> Path:
        """The rendered report."""
        return self.root / "RESULTS.md"

    @property
    def page_file(self) -> Path:
        """The same report with its figures as one page for a browser."""
        return self.root / "RESULTS.html"

    def run_dir(self, run_key: str) -> Path:
        """Folder of the run "<phase>/<run id>"."""
        return self.runs_dir / run_key

    def job_dir(self, phase: str, token: str) -> Path:
        """Folder of one submission."""
        return self.logs_dir / f"{phase}-{token}"

    def relative(self, path: Path) -> str:
        """The path as users and reports should read it."""
        return path.relative_to(self.root).as_posix()

    def template_dirs(self) -> list[Path]:
        """Where templates are looked up: the workspace first, then the installed ones."""
        return [self.root / "templates", shared_file("templates")]

    def profiles_file(self) -> Path:
        """The workspace's own profiles when it has any, else the installed ones."""
        own = self.root / "slurm" / "profiles.toml"
        return own if os.path.lexists(own) else shared_file("slurm/profiles.toml")


def find_workspace(start: Path, explicit: Path | None = None) -> Workspace:
    """Return the workspace at `explicit`, or the first one at or above `start`.

    Raises:
        PipelineError: there is no study.toml.
    """
    if explicit is not None:
        if not _has_study(explicit):
            raise PipelineError(
                f"{explicit}: no study.toml in this folder; "
                "`pipeline init DIR` makes a workspace with one"
            )
        return _workspace(explicit)
    for folder in (start, *start.parents):
        if _has_study(folder):
            return _workspace(folder)
    raise PipelineError(
        f"{start}: no study.toml here or in any folder above; "
        "go to a workspace, pass --workspace DIR, or make one with `pipeline init DIR`"
    )


def _has_study(folder: Path) -> bool:
    """Whatever is called so counts: what is wrong with it is said when it is read."""
    return os.path.lexists(folder / "study.toml")


def _workspace(folder: Path) -> Workspace:
    """The workspace at a folder.

    Raises:
        PipelineError: its path could not stand on a line of a script or a log.
    """
    root = folder.resolve()
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in str(root)):
        raise PipelineError(
            f"{str(root)!r}: the path holds control characters, or bytes that are not UTF-8; "
            "rename the folder"
        )
    return Workspace(root)


def shared_file(name: str) -> Path:
    """Path of a file that ships with the package, installed or in a source checkout."""
    installed = _PACKAGE / "share" / name
    return installed if installed.exists() else _PACKAGE.parent / name
