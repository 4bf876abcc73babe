"""The command line: its commands, and what becomes of their errors; nothing else.

A command is in `pipeline.commands`, in the file of its name. Each imports what it needs when it
runs: `pipeline --help` and `pipeline status` must answer at once on a busy login node.
"""

import os
import stat
import sys
from io import TextIOWrapper

import click

from pipeline.commands.advance import advance
from pipeline.commands.cancel import cancel
from pipeline.commands.common import INTERRUPTED
from pipeline.commands.doctor import doctor
from pipeline.commands.init import init
from pipeline.commands.logs import logs
from pipeline.commands.plan import plan
from pipeline.commands.report import report
from pipeline.commands.retry import retry
from pipeline.commands.status import status
from pipeline.commands.why import why
from pipeline.errors import PipelineError
from pipeline.words import harmless


@click.group(
    commands=[advance, cancel, doctor, init, logs, plan, report, retry, status, why],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: pipeline init my-study && cd my-study && pipeline advance --watch",
)
@click.version_option(package_name="study-pipeline")
def app() -> None:
    """Carry a declared study, phase by phase, to a defensible answer on a Slurm cluster.

    Exit codes: 0 fine; 1 a bug of ours; 2 your input is wrong; 3 the study needs a person;
    4 the scheduler cannot be reached, nothing was changed.
    """


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
        sys.exit(INTERRUPTED)
