"""The command line: parse, call, print, exit code; nothing else.

Every command imports what it needs when it runs: `pipeline --help` and `pipeline status` must
answer at once on a busy login node.
"""

import os
import shlex
import stat
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.errors import NeedsPersonError, PipelineError
from pipeline.words import harmless, one_line

if TYPE_CHECKING:
    from pipeline.site import Site
    from pipeline.view import StatusView
    from pipeline.workspace import Workspace

_INTERRUPTED = 130  # as a shell reports a process that ctrl-C ended

_workspace = click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder with study.toml; default: the nearest one at or above the working directory.",
)
_profile = click.option(
    "--profile",
    "-p",
    metavar="NAME",
    help="Where tasks run, from slurm/profiles.toml; default: the one used last, "
    "else the study's own.",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: pipeline init my-study && cd my-study && pipeline advance --watch",
)
@click.version_option(package_name="study-pipeline")
def app() -> None:
    """Carry a declared study, phase by phase, to a defensible answer on a Slurm cluster.

    Exit codes: 0 fine; 1 a bug of ours; 2 your input is wrong; 3 the study needs a person;
    4 the scheduler cannot be reached, nothing was changed.
    """


@app.command(epilog="Example: pipeline init my-study --template miniature")
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


@app.command(epilog="Example: pipeline plan --profile a100")
@_workspace
@_profile
def plan(workspace: Path | None, profile: str | None) -> None:
    """Show phases, runs, tasks and what they will cost; submits and writes nothing."""
    from pipeline.display import console, plan_table
    from pipeline.outline import outline

    site = _site(workspace, profile)
    rows, lines = outline(site)
    out = console()
    out.print(plan_table(rows))
    for line in lines:
        out.print(line, markup=False, soft_wrap=not out.is_terminal)


@app.command(epilog="Example: pipeline doctor --profile a100 --deep, or pipeline doctor --repair")
@_workspace
@_profile
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
            command.repair(_find(workspace), profile, _tell)
        else:
            command.doctor(_find(workspace), profile, wait_min if deep else None, as_json, _tell)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)  # what it had started it has ended, and said so


@app.command(epilog="Example: pipeline advance --watch")
@_workspace
@_profile
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

    site, out = _site(workspace, profile), console()
    end = end_of(site, for_min)
    decisions = Decisions(accept_failed, overrides, one_line(reason))
    take = begin if auto else advance_once
    step = preview(site) if dry_run else take(site, _tell, decisions)
    view = view_of(site.workspace, step.state)
    out.print(step_lines(step.did, step.notes))
    if watch and not dry_run:
        view = watch_study(site, out, _tell, end)
    out.print(status_screen(view, out.width))
    _exit_for(view)


@app.command(epilog="Example: pipeline status --json")
@_workspace
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

    view, unreachable = current_view(_find(workspace))
    if as_json:
        import json

        click.echo(json.dumps(view.as_json(), indent=1))
    else:
        _print_status(view, svg)
    if unreachable is not None:
        raise unreachable
    _exit_for(view)


@app.command(epilog="Example: pipeline report --check")
@_workspace
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with 3 when a file of the report is not what the results give.",
)
def report(workspace: Path | None, check: bool) -> None:
    """Render RESULTS.md, RESULTS.html and their figures anew from the result files."""
    from pipeline.publish import first_difference, publish_current

    site = _site(workspace, None)
    if check:
        difference = first_difference(site)
        if difference is not None:
            raise NeedsPersonError(f"{difference}; `pipeline report` renders it anew")
        click.echo("RESULTS.md, RESULTS.html and their figures are what the results give")
        return
    files = publish_current(site)
    click.echo("wrote " + ", ".join(site.workspace.relative(path) for path in files))


@app.command(epilog="Example: pipeline logs multiseed/baseline-s3-1f3a9c2e --follow")
@_workspace
@click.argument("run", metavar="RUN")
@click.option("--lines", "-n", default=40, show_default=True, help="How many lines of its end.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the task ends.")
def logs(workspace: Path | None, run: str, lines: int, follow: bool) -> None:
    """Print the end of the log of a run's last attempt."""
    from pipeline.logs import end_of, log_of
    from pipeline.logs import follow as follow_log

    place = _find(workspace)
    path = log_of(place, run)
    click.echo(f"{path}:", err=follow)
    if follow:
        for text in follow_log(place, run, lines):
            click.echo(harmless(text), nl=False)
    else:
        click.echo(harmless("\n".join(end_of(path, lines))))


@app.command(epilog="Example: pipeline why multiseed/baseline-s3-1f3a9c2e")
@_workspace
@click.argument("run", metavar="RUN")
def why(workspace: Path | None, run: str) -> None:
    """Say what is known of a run: its state or failure, evidence, what was tried, what helps."""
    from pipeline.display import console
    from pipeline.why import explain
    from pipeline.why_screen import why_screen

    told, unreachable = explain(_find(workspace), run)
    console().print(why_screen(told))
    if unreachable is not None:
        raise unreachable


@app.command(epilog="Example: pipeline retry multiseed/baseline-s3-1f3a9c2e --mem-gb 32")
@_workspace
@_profile
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

    step = retry_runs(_site(workspace, profile), runs, mem_gb=mem_gb, walltime_min=walltime_min)
    click.echo(harmless("\n".join([*step.did, "next: pipeline advance"])))


@app.command(epilog="Example: pipeline cancel multiseed --yes")
@_workspace
@click.argument("names", nargs=-1, metavar="[PHASE|RUN]...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def cancel(workspace: Path | None, names: tuple[str, ...], yes: bool) -> None:
    """End jobs of the study that are queued or running: all, or those of some phases or runs.

    Returns when they are over. Runs that train in one task with a named one end with it.
    """
    from pipeline.cancel import cancel as cancel_jobs

    place = _find(workspace)
    what = ", ".join(names) or "all jobs of the study"
    if not yes and not click.confirm(f"End {what} in {place.root}?"):
        click.echo("nothing was cancelled")
        return
    click.echo(cancel_jobs(place, names, _tell))
    click.echo("next: pipeline retry, then pipeline advance")


def main() -> None:
    """Run the command line; a `PipelineError` becomes one line and its exit code."""
    os.umask(os.umask(stat.S_IWOTH) | stat.S_IWOTH)  # a group may share a workspace, not everybody
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a label may hold what the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=False)
    except PipelineError as error:
        click.echo(f"error: {harmless(str(error))}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        words = harmless(f"error: {where}{error.strerror or error}; nothing was lost")
        click.echo(words, err=True)
        sys.exit(PipelineError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: what runs goes on, the same command takes up again", err=True)
        sys.exit(_INTERRUPTED)


def _follow(workspace: Path | None, token: str) -> None:
    """The step that a follow-up job takes; its screen goes to the job's log."""
    from pipeline.auto import follow
    from pipeline.display import console, status_screen, step_lines
    from pipeline.view import view_of

    place = _find(workspace)
    step = follow(place, token, _tell)
    if step is None:
        click.echo("another follow-up has taken this one's place; nothing was done")
        return
    view, out = view_of(place, step.state), console()
    out.print(step_lines(step.did, step.notes))
    out.print(status_screen(view, out.width))
    _exit_for(view)


def _find(workspace: Path | None) -> "Workspace":
    from pipeline.workspace import find_workspace

    return find_workspace(Path.cwd(), workspace)


def _site(workspace: Path | None, profile: str | None) -> "Site":
    from pipeline.site import open_site

    return open_site(_find(workspace), profile)


def _print_status(view: "StatusView", svg: Path | None) -> None:
    from pipeline.display import console, save_svg, status_screen

    out = console()
    out.print(status_screen(view, out.width))
    if svg is not None:
        save_svg(view, svg)


def _tell(line: str) -> None:
    click.echo(harmless(line), err=True)


def _exit_for(view: "StatusView") -> None:
    if view.attention:
        failed = sum(p.runs["failed"] for p in view.phases if p.status == "attention")
        words = f"{failed} failed {'run needs' if failed == 1 else 'runs need'}"
        raise NeedsPersonError(f"{words if failed else 'the study needs'} a person, see above")
