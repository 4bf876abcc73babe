"""`pipeline cancel`: jobs ended."""

from pathlib import Path

import click

from pipeline.commands.common import find, tell, workspace_option


@click.command(epilog="Example: pipeline cancel multiseed --yes")
@workspace_option
@click.argument("names", nargs=-1, metavar="[PHASE|RUN]...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def cancel(workspace: Path | None, names: tuple[str, ...], yes: bool) -> None:
    """End jobs of the study that are queued or running: all, or those of some phases or runs.

    Returns when they are over. Runs that train in one task with a named one end with it.
    """
    from pipeline.cancel import cancel as cancel_jobs

    place = find(workspace)
    what = ", ".join(names) or "all jobs of the study"
    if not yes and not click.confirm(f"End {what} in {place.root}?"):
        click.echo("nothing was cancelled")
        return
    click.echo(cancel_jobs(place, names, tell))
    click.echo("next: pipeline retry, then pipeline advance")
