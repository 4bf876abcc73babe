"""`pipeline why`: what is known of a run."""

from pathlib import Path

import click

from pipeline.commands.common import find, workspace_option


@click.command(epilog="Example: pipeline why multiseed/baseline-s3-1f3a9c2e")
@workspace_option
@click.argument("run", metavar="RUN")
def why(workspace: Path | None, run: str) -> None:
    """Say what is known of a run: its state or failure, evidence, what was tried, what helps."""
    from pipeline.display import console
    from pipeline.why import explain
    from pipeline.why_screen import why_screen

    told, unreachable = explain(find(workspace), run)
    console().print(why_screen(told))
    if unreachable is not None:
        raise unreachable
