"""`pipeline init`: a workspace from a template."""

import shlex
from pathlib import Path

import click


@click.command(epilog="Example: pipeline init my-study --template miniature")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option(
    "--template",
    "-t",
    default="miniature",
    show_default=True,
    metavar="NAME",
    help="miniature: minutes on a laptop; ired: the full study.",
)
def init(directory: Path, template: str) -> None:
    """Make a workspace in DIR from a study template."""
    from pipeline.init import make_workspace

    study = make_workspace(directory, template)
    click.echo(f"wrote {study}")
    click.echo(f"next: cd {shlex.quote(str(directory))} && pipeline plan")
