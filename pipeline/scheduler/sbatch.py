"""From a submission to a Slurm job: one bounded sbatch, its script and pickles made by submitit.

submitit alone would wait for sbatch without end, and would name the pickles after the job only
when sbatch has answered: a job whose answer was lost could then never start. Here the pickles
are numbered before sbatch, and the job's own script gives them the names submitit looks for.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit
from submitit.core import utils

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.files import write_error
from pipeline.private import own_folder, owner_writes
from pipeline.scheduler.base import HeldError, Submission, Submitted
from pipeline.scheduler.commands import TIMEOUT_S, no_slurm
from pipeline.scheduler.environment import outside_any_job
from pipeline.scheduler.refusals import Kind, recognise
from pipeline.state import is_job_id
from pipeline.words import one_line
from pipeline.worker import run_task

if TYPE_CHECKING:
    from pipeline.profiles import SlurmProfile

_SLICE_S = 0.25
"""sbatch says once that the controller takes no jobs now, sleeps a second, and tries again."""
_MADE = re.compile(r"^(?:Submitted batch job )?(\d+)(?:;\S*)?(?: on cluster \S+)?\s*$", re.M | re.A)
_RETRYING = b"sleeping and retrying"
_SHOWN = (
    "partition", "account", "qos", "gres", "constraint", "time", "mem", "cpus_per_task",
)  # fmt: skip
MAY_EXIST = (
    "the job may exist all the same: "
    "the next `pipeline advance` looks for it before it submits anything"
)


def submit_array(submission: Submission, profile: "SlurmProfile") -> Submitted:
    """Submit the tasks as one array job, or as one plain job when there is only one.

    Raises:
        HeldError: a limit is reached; nothing was submitted.
        SchedulerUnreachableError: no answer; the job may exist, look for its token.
        PipelineError: Slurm refuses the request as it is; nothing was submitted.
    """
    arguments = [(str(submission.workspace), str(file)) for file in submission.task_files]
    return submit_calls(run_task, arguments, submission, profile)


def submit_calls(
    function: Callable[..., object],
    arguments: Sequence[tuple[Any, ...]],
    submission: Submission,
    profile: "SlurmProfile",
) -> Submitted:
    """Submit calls of a function as the elements of one job; raises as `submit_array` does."""
    _refuse_odd_path(submission.folder)
    own_folder(submission.folder, submission.workspace)
    parameters = sbatch_parameters(submission, profile)
    # -P: what lies in the working directory must not come before the snapshot on PYTHONPATH.
    python = f"{shlex.quote(sys.executable)} -P"
    executor = _Executor(submission.folder, python=python)
    executor.update_parameters(**parameters)
    try:
        jobs = executor.map_array(function, *zip(*arguments, strict=True))
    except RefusedError as error:
        raise _meaning(str(error), parameters, submission, profile, len(arguments)) from None
    return Submitted(str(jobs[0].job_id).partition("_")[0])


def _refuse_odd_path(folder: Path) -> None:
    """A path stands in #SBATCH lines, where Slurm replaces %j and has quoting rules of its own.

    Raises:
        PipelineError: it could not stand there as it is.
    """
    odd = sorted(set(str(folder)) & set("%\"'\\"))
    if odd:
        raise PipelineError(
            f"{folder}: Slurm gives {' '.join(odd)} in a path a meaning of its own; "
            "rename the folder, or move the workspace"
        )


def sbatch_parameters(submission: Submission, profile: "SlurmProfile") -> dict[str, Any]:
    """What submitit is told, so that a job has what its profile says."""
    wanted = {
        "job_name": submission.name,
        "comment": submission.comment,
        "time": profile.walltime_min,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "gres": profile.gres,
        "constraint": profile.constraint,
        "cpus_per_task": profile.cpus_per_task,
        "mem": f"{profile.mem_gb}GB",
        "array_parallelism": profile.array_parallelism,
        "signal_delay_s": profile.signal_lead_s,
        "setup": [*profile.setup, *_own_setup(submission)],
        "additional_parameters": {**profile.sbatch, "chdir": str(submission.workspace)},
        "stderr_to_stdout": True,
    }
    # submitit sets a wckey of its own, which clusters that track wckeys refuse.
    return {key: value for key, value in wanted.items() if value is not None} | {"wckey": None}


def _own_setup(submission: Submission) -> list[str]:
    """Shell lines: import from the snapshot first; name the pickle as submitit will look for it."""
    code = shlex.quote(os.pathsep.join(map(str, submission.python_path)))
    job = "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
    pickle = _pickle_name("${SLURM_ARRAY_TASK_ID:-0}")
    folder = shlex.quote(str(submission.folder))
    return [
        f'export PYTHONPATH={code}"${{PYTHONPATH:+:$PYTHONPATH}}"',
        f'ln -sf "{pickle}" {folder}/"{job}_submitted.pkl"',
    ]


def _pickle_name(index: int | str) -> str:
    return f"task-{index}.pkl"


class RefusedError(Exception):
    """sbatch failed, with these words."""


class _Executor(submitit.SlurmExecutor):
    """submitit's executor with numbered pickles and an sbatch that cannot hang."""

    def _internal_process_submissions(
        self, delayed_submissions: list[utils.DelayedSubmission]
    ) -> list[submitit.Job[Any]]:
        if len(delayed_submissions) > 1:
            self.parameters["map_count"] = len(delayed_submissions)
        script = self.folder / "submission.sh"
        try:
            with owner_writes():
                for index, delayed in enumerate(delayed_submissions):
                    delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
                    delayed.dump(self.folder / _pickle_name(index))
                text = self._make_submission_file_text(self._submitit_command_str, "")
                script.write_text(text)
        except OSError as error:
            raise write_error(self.folder, error) from error
        return [submitit.SlurmJob(folder=self.folder, job_id=job_id_in(sbatch([str(script)])))]


def job_id_in(printed: str) -> str:
    """The job that sbatch says it made, in its own words or in those of --parsable.

    Raises:
        SchedulerUnreachableError: it says nothing of the kind; the job may exist.
    """
    found = _MADE.findall(printed)
    if not found or not is_job_id(found[-1]):
        words = one_line(printed) or "nothing"
        raise SchedulerUnreachableError(f"sbatch printed no job id but: {words}; {MAY_EXIST}")
    return str(found[-1])


def sbatch(arguments: Sequence[str]) -> str:
    """What sbatch printed.

    Raises:
        RefusedError: it failed, or was stopped while it waited for a controller that takes no
            jobs now.
        SchedulerUnreachableError: it is missing, or gave no answer in time; the job may exist.
    """
    try:
        process = subprocess.Popen(
            ["sbatch", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=outside_any_job(),
        )
    except FileNotFoundError:
        raise no_slurm() from None
    with process:
        try:
            out, err = _communicate(process)
        finally:
            process.kill()
    if process.returncode:
        raise RefusedError(err.decode(errors="replace") or f"exit code {process.returncode}")
    return out.decode(errors="replace")


def _communicate(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return process.communicate(timeout=_SLICE_S)
        except subprocess.TimeoutExpired as waiting:
            words = waiting.stderr or b""
        if _RETRYING in words:  # asleep, its request turned down: nothing is under way
            raise RefusedError(words.decode(errors="replace"))
        if time.monotonic() > deadline:
            raise SchedulerUnreachableError(f"sbatch gave no answer in {TIMEOUT_S} s; {MAY_EXIST}")


def _meaning(
    text: str,
    parameters: Mapping[str, Any],
    submission: Submission,
    profile: "SlurmProfile",
    tasks: int,
) -> Exception:
    """What a failed sbatch is to the caller."""
    words, refusal = " ".join(text.split()), recognise(text)
    if refusal.kind is Kind.UNREACHABLE:
        return SchedulerUnreachableError(f"sbatch: {words}; {MAY_EXIST}")
    if refusal.kind in (Kind.LIMIT, Kind.BUSY):
        return HeldError(words, fewer_may_fit=refusal.kind is Kind.LIMIT)
    keys = ", ".join(f"{key} ({_shown(getattr(profile, key))})" for key in refusal.keys)
    change = f"change {keys} of profile {submission.profile_name} in slurm/profiles.toml"
    remedy = "; ".join(part for part in (change if keys else "", refusal.remedy) if part)
    return PipelineError(
        f"sbatch refuses the job: {words}; {remedy}; it was: {_command_line(parameters, tasks)}"
    )


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)


def _command_line(parameters: Mapping[str, Any], tasks: int) -> str:
    """The request as one would type it, without what cannot be the reason of a refusal."""
    options = [
        f"--{name.replace('_', '-')}={shlex.quote(str(parameters[name]))}"
        for name in _SHOWN
        if name in parameters
    ]
    array = [f"--array=0-{tasks - 1}"] if tasks > 1 else []
    return " ".join(["sbatch", *options, *array])
