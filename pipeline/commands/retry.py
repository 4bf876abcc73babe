"""`pipeline retry`: failed runs planned anew."""

from pathlib import Path

import click

from pipeline.commands.common import profile_option, site_of, workspace_option
from pipeline.words import harmless


@click.command(epilog="Example: pipeline retry multiseed/baseline-s3-1f3a9c2e --mem-gb 32")
@workspace_option
@profile_option
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--mem-gb", type=click.IntRange(1), help="Memory they ask for, in GB.")
@click.option("--walltime-min", type=click.IntRange(1), help="Time they ask for, in minutes.")
def retry(
    workspace: Path | None,
    profile: str | None,
    runs: tuple[str, ...],
    mem_gb: int | None,
    walltime_min: int | None,
) -> None:
    """Plan failed runs anew (all of them when none is named); advance then submits them.

    Their tries are counted anew. What they ask for is never less than the profile says.
    """
    from pipeline.retry import retry as retry_runs

    step = retry_runs(site_of(workspace, profile), runs, mem_gb=mem_gb, walltime_min=walltime_min)
    click.echo(harmless("\n".join([*step.did, "next: pipeline advance"])))
