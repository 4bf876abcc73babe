"""`pipeline status`: where the study stands, on a screen, as JSON or as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.common import exit_for, find, workspace_option

if TYPE_CHECKING:
    from pipeline.view import StatusView


@click.command(epilog="Example: pipeline status --json")
@workspace_option
@click.option("--json", "as_json", is_flag=True, help="Print the stable JSON form.")
@click.option(
    "--svg",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the screen as an SVG picture.",
)
def status(workspace: Path | None, as_json: bool, svg: Path | None) -> None:
    """Say where the study stands, from the scheduler and the result files; never writes."""
    from pipeline.status import current_view

    view, unreachable = current_view(find(workspace))
    if as_json:
        import json

        click.echo(json.dumps(view.as_json(), indent=1))
    else:
        _print_status(view, svg)
    if unreachable is not None:
        raise unreachable
    exit_for(view)


def _print_status(view: "StatusView", svg: Path | None) -> None:
    from pipeline.display import console, save_svg, status_screen

    out = console()
    out.print(status_screen(view, out.width))
    if svg is not None:
        save_svg(view, svg)
