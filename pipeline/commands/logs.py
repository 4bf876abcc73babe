"""`pipeline logs`: the end of a run's log."""

from pathlib import Path

import click

from pipeline.commands.common import find, workspace_option
from pipeline.words import harmless


@click.command(epilog="Example: pipeline logs multiseed/baseline-s3-1f3a9c2e --follow")
@workspace_option
@click.argument("run", metavar="RUN")
@click.option("--lines", "-n", default=40, show_default=True, help="How many lines of its end.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the task ends.")
def logs(workspace: Path | None, run: str, lines: int, follow: bool) -> None:
    """Print the end of the log of a run's last attempt."""
    from pipeline.logs import end_of, log_of
    from pipeline.logs import follow as follow_log

    place = find(workspace)
    path = log_of(place, run)
    click.echo(f"{path}:", err=follow)
    if follow:
        for text in follow_log(place, run, lines):
            click.echo(harmless(text), nl=False)
    else:
        click.echo(harmless("\n".join(end_of(path, lines))))
