"""`pipeline advance`: one step, a watch, or a chain of follow-up jobs."""

from pathlib import Path

import click

from pipeline.commands.common import exit_for, find, profile_option, site_of, tell, workspace_option
from pipeline.errors import PipelineError
from pipeline.words import one_line


@click.command(epilog="Example: pipeline advance --watch")
@workspace_option
@profile_option
@click.option("--watch", is_flag=True, help="Stay until the study ends or needs a person.")
@click.option(
    "--for-min",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="--watch so long at most: tasks of this machine then stop, to go on at the same command.",
)
@click.option(
    "--auto",
    is_flag=True,
    help="Leave a small follow-up job on the cluster that advances the study when its jobs have "
    "ended, and so on to the end; nothing of ours runs on the login node.",
)
@click.option("--follow-up", metavar="TOKEN", hidden=True)
@click.option("--dry-run", is_flag=True, help="Say what would be done; write and submit nothing.")
@click.option(
    "--accept-failed",
    is_flag=True,
    help="Go on without the current phase's failed runs; the report records the decision.",
)
@click.option(
    "--override",
    "overrides",
    multiple=True,
    metavar="GATE",
    help="Go on in spite of a closed gate or a raised alarm, by the name that status shows; "
    "needs --reason, and the report records both.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why the gate is overridden.")
def advance(
    workspace: Path | None,
    profile: str | None,
    watch: bool,
    for_min: float | None,
    auto: bool,
    follow_up: str | None,
    dry_run: bool,
    accept_failed: bool,
    overrides: tuple[str, ...],
    reason: str,
) -> None:
    """Learn what happened, analyse what is complete, submit what comes next; return at once.

    Twice in a row changes nothing.
    """
    watch = watch or for_min is not None
    if overrides and not reason.strip():
        raise PipelineError('--override needs --reason "...": the report says why')
    if auto and watch:
        raise PipelineError("--auto and --watch both carry the study on; choose one")
    if follow_up is not None:
        _follow(workspace, follow_up)
        return
    from pipeline.advance import advance as advance_once
    from pipeline.auto import begin
    from pipeline.decisions import Decisions
    from pipeline.display import console, status_screen, step_lines
    from pipeline.preview import preview
    from pipeline.view import view_of
    from pipeline.watch import end_of, watch_study

    site, out = site_of(workspace, profile), console()
    end = end_of(site, for_min)
    decisions = Decisions(accept_failed, overrides, one_line(reason))
    take = begin if auto else advance_once
    step = preview(site) if dry_run else take(site, tell, decisions)
    view = view_of(site.workspace, step.state)
    out.print(step_lines(step.did, step.notes))
    if watch and not dry_run:
        view = watch_study(site, out, tell, end)
    out.print(status_screen(view, out.width))
    exit_for(view)


def _follow(workspace: Path | None, token: str) -> None:
    """The step that a follow-up job takes; its screen goes to the job's log."""
    from pipeline.auto import follow
    from pipeline.display import console, status_screen, step_lines
    from pipeline.view import view_of

    place = find(workspace)
    step = follow(place, token, tell)
    if step is None:
        click.echo("another follow-up has taken this one's place; nothing was done")
        return
    view, out = view_of(place, step.state), console()
    out.print(step_lines(step.did, step.notes))
    out.print(status_screen(view, out.width))
    exit_for(view)
