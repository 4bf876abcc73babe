"""What commands share: options, the way to the workspace, words on the way, the exit code.

Imports nothing heavy: every command has this loaded before it knows what it needs.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import NeedsPersonError
from pipeline.words import harmless

if TYPE_CHECKING:
    from pipeline.site import Site
    from pipeline.view import StatusView
    from pipeline.workspace import Workspace

INTERRUPTED = 130  # as a shell reports a process that ctrl-C ended

workspace_option = click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder with study.toml; default: the nearest one at or above the working directory.",
)
profile_option = click.option(
    "--profile",
    "-p",
    metavar="NAME",
    help="Where tasks run, from slurm/profiles.toml; default: the one used last, "
    "else the study's own.",
)


def find(workspace: Path | None) -> "Workspace":
    """The workspace that is named, or the nearest one at or above the working directory."""
    from pipeline.workspace import find_workspace

    return find_workspace(Path.cwd(), workspace)


def site_of(workspace: Path | None, profile: str | None) -> "Site":
    """That workspace with its study and a profile: the one named, used last, or the study's."""
    from pipeline.site import open_site

    return open_site(find(workspace), profile)


def tell(line: str) -> None:
    """Say a word on the way, on stderr."""
    click.echo(harmless(line), err=True)


def exit_for(view: "StatusView") -> None:
    """End with exit code 3 where the study needs a person.

    Raises:
        NeedsPersonError: it does.
    """
    if view.attention:
        failed = sum(p.runs["failed"] for p in view.phases if p.status == "attention")
        words = f"{failed} failed {'run needs' if failed == 1 else 'runs need'}"
        raise NeedsPersonError(f"{words if failed else 'the study needs'} a person, see above")
