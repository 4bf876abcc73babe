"""`pipeline doctor` as a command: examine and print, or repair and say what was done."""

import json
from collections.abc import Callable
from functools import partial

import click

from pipeline.doctor.examine import examine
from pipeline.doctor.finding import failure
from pipeline.doctor.render import as_json as json_of
from pipeline.doctor.render import print_findings
from pipeline.doctor.repair import repair as repair_state
from pipeline.workspace import Workspace

Tell = Callable[[str], None]


def doctor(
    place: Workspace, profile: str | None, wait_min: float | None, as_json: bool, tell: Tell
) -> None:
    """Print a line per check, or their JSON form.

    Args:
        place: the workspace.
        profile: by default where `advance` would send tasks.
        wait_min: how long a job on a compute node may take to answer; None sends none.
        as_json: for scripts.
        tell: told what happens to that job.

    Raises:
        PipelineError: there is a problem, or the scheduler does not answer.
    """
    wait_s = None if wait_min is None else wait_min * 60
    if as_json:
        findings = list(examine(place, profile, wait_s, announce=tell))
        click.echo(json.dumps(json_of(findings), indent=1))
    else:
        findings = print_findings(partial(examine, place, profile, wait_s))
    error = failure(findings)
    if error is not None:
        raise error


def repair(place: Workspace, profile: str | None, tell: Tell) -> None:
    """Print a line per thing that was done.

    Raises:
        PipelineError: see `pipeline.doctor.repair`; nothing was changed.
    """
    click.echo("\n".join(repair_state(place, profile, tell) or ["nothing to repair"]))
