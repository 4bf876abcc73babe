"""`pipeline report`: RESULTS.md, RESULTS.html and figures anew, or compared."""

from pathlib import Path

import click

from pipeline.commands.common import site_of, workspace_option
from pipeline.errors import NeedsPersonError


@click.command(epilog="Example: pipeline report --check")
@workspace_option
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with 3 when a file of the report is not what the results give.",
)
def report(workspace: Path | None, check: bool) -> None:
    """Render RESULTS.md, RESULTS.html and their figures anew from the result files."""
    from pipeline.publish import first_difference, publish_current

    site = site_of(workspace, None)
    if check:
        difference = first_difference(site)
        if difference is not None:
            raise NeedsPersonError(f"{difference}; `pipeline report` renders it anew")
        click.echo("RESULTS.md, RESULTS.html and their figures are what the results give")
        return
    files = publish_current(site)
    click.echo("wrote " + ", ".join(site.workspace.relative(path) for path in files))
