"""`pipeline plan`: what the study will run, and what that costs."""

from pathlib import Path

import click

from pipeline.commands.common import profile_option, site_of, workspace_option


@click.command(epilog="Example: pipeline plan --profile a100")
@workspace_option
@profile_option
def plan(workspace: Path | None, profile: str | None) -> None:
    """Show phases, runs, tasks and what they will cost; submits and writes nothing."""
    from pipeline.display import console, plan_table
    from pipeline.outline import outline

    site = site_of(workspace, profile)
    rows, lines = outline(site)
    out = console()
    out.print(plan_table(rows))
    for line in lines:
        out.print(line, markup=False, soft_wrap=not out.is_terminal)
