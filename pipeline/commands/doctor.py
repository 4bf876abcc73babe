"""`pipeline doctor`: what would keep tasks from running, and the repair of a broken state."""

import sys
from pathlib import Path

import click

from pipeline.commands.common import INTERRUPTED, find, profile_option, tell, workspace_option
from pipeline.errors import PipelineError


@click.command(epilog="Example: pipeline doctor --profile a100 --deep, or pipeline doctor --repair")
@workspace_option
@profile_option
@click.option(
    "--deep", is_flag=True, help="Also send a job of about a minute that looks around on a node."
)
@click.option(
    "--wait",
    "wait_min",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="MINUTES",
    help="How long --deep waits for that job before it cancels it.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Rebuild a broken or lost state; without it, say what of and how.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the stable JSON form.")
def doctor(
    workspace: Path | None,
    profile: str | None,
    deep: bool,
    wait_min: float,
    repair: bool,
    as_json: bool,
) -> None:
    """Check study, workspace, machine and profile against the cluster; change nothing, or --repair.

    A line per check: ok, warning or problem, with the remedy. Exit code 0 without problems (there
    may be warnings), 2 with a problem to mend, 4 when the profile's scheduler does not answer.
    """
    from pipeline.doctor import command

    if repair and (deep or as_json):
        raise PipelineError("--repair goes with neither --deep nor --json")
    try:
        if repair:
            command.repair(find(workspace), profile, tell)
        else:
            command.doctor(find(workspace), profile, wait_min if deep else None, as_json, tell)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # what it had started it has ended, and said so
