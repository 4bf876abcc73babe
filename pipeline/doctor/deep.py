"""`--deep`: sends a short job that looks around on a compute node, and waits for its answer."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.doctor.finding import Finding, ok, problem, warning
from pipeline.doctor.node_report import QUESTION, NodeReport, read_report, report_node
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.failures.traces import tail_of
from pipeline.files import write_atomic
from pipeline.private import own_folder
from pipeline.profiles import SlurmProfile
from pipeline.provenance import new_token, versions
from pipeline.scheduler import HeldError
from pipeline.scheduler.probe import InQueue, cancel_probe, look_at_probe, submit_probe
from pipeline.words import one_line
from pipeline.workspace import Workspace

Tell = Callable[[str], None]

_POLL_S = 1.0
_ANSWER_LAG_S = 60.0
"""How long a network file system may hide a file that another machine has written."""
_TAIL_LINES = 3
_MAX_SKEW_S = 5.0


@dataclass(frozen=True)
class Question:
    """A probe job: what it is asked, and where its answer is expected."""

    nonce: str
    folder: Path
    asked_at: float
    """Our clock, seconds since the epoch."""


def go_deep(
    workspace: Workspace,
    profile_name: str,
    profile: SlurmProfile,
    trainer: str | None,
    wait_s: float,
    tell: Tell,
) -> list[Finding]:
    """Send the job and judge what it answers within `wait_s` seconds.

    The job is cancelled when the wait is over or is interrupted. Its folder is removed when it
    answered, and kept, with its log, when it did not.
    """
    nonce = new_token()
    question = Question(nonce, workspace.job_dir("doctor", nonce), time.time())
    try:
        own_folder(question.folder, workspace.root)
        write_atomic(question.folder / QUESTION, nonce.encode())
        arguments = (str(workspace.root), str(question.folder), trainer)
        name = f"doctor-{nonce}"
        job_id = submit_probe(report_node, arguments, question.folder, name, profile, profile_name)
    except SchedulerUnreachableError as error:
        return [problem("deep", str(error), "try again later", unreachable=True)]
    except HeldError as error:
        return [warning("deep", f"not submitted: {error}", "try again when fewer jobs wait")]
    except PipelineError as error:
        return [problem("deep", f"not submitted: {error}", "see the problems above")]
    tell(f"submitted job {job_id}")
    try:
        findings = list(_answer(question, job_id, profile, wait_s, tell))
    except BaseException:
        _give_up(question.folder, job_id, tell)
        raise
    return findings


def _answer(
    question: Question, job_id: str, profile: SlurmProfile, wait_s: float, tell: Tell
) -> Iterator[Finding]:
    deadline = time.monotonic() + wait_s
    seen: InQueue | None = InQueue("PENDING", "None")
    gone_at: float | None = None
    while (report := _read(question.folder)) is None:
        seen = _look(job_id, seen, tell)
        if seen is None:
            gone_at = gone_at or time.monotonic()
            if time.monotonic() - gone_at > _ANSWER_LAG_S:
                yield _no_answer(question.folder, job_id)
                return
        if time.monotonic() > deadline:
            _give_up(question.folder, job_id, tell)
            yield _too_long(job_id, seen, wait_s)
            return
        time.sleep(_POLL_S)
    if isinstance(report, str):
        yield problem("deep", report, f"look into {question.folder}")
        return
    lag_s = None if gone_at is None else time.monotonic() - gone_at
    yield from judge_report(report, question, profile, time.time(), lag_s)
    _tidy(question.folder, job_id, deadline)


def _read(folder: Path) -> NodeReport | str | None:
    try:
        return read_report(folder)
    except PipelineError as error:
        return one_line(str(error))


def _look(job_id: str, before: InQueue | None, tell: Tell) -> InQueue | None:
    """Where the job stands; as before when the scheduler does not answer this once."""
    try:
        now = look_at_probe(job_id)
    except SchedulerUnreachableError as error:
        tell(f"{error}; trying again")
        return before
    if now != before:
        reason = f" ({now.reason})" if now and now.reason not in {"None", ""} else ""
        tell(f"job {job_id} {now.state.lower()}{reason}" if now else f"job {job_id} ended")
    return now


def _give_up(folder: Path, job_id: str, tell: Tell) -> None:
    """Cancel the job, and remove its folder when it never started to write a log."""
    try:
        cancel_probe(job_id)
        tell(f"cancelled job {job_id}")
    except SchedulerUnreachableError as error:
        tell(f"job {job_id} could not be cancelled ({error}); run: scancel {job_id}")
    if not _logs(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_log.out"))


def _tidy(folder: Path, job_id: str, deadline: float) -> None:
    """Remove the folder, once the job that still writes its log there has ended."""
    while time.monotonic() < deadline:
        try:
            if look_at_probe(job_id) is None:
                shutil.rmtree(folder, ignore_errors=True)
                return
        except SchedulerUnreachableError:
            return
        time.sleep(_POLL_S)


def _no_answer(folder: Path, job_id: str) -> Finding:
    logs = _logs(folder)
    words = "left no log: its node may not see the workspace, or could not make the log file"
    if logs:
        lines = (tail_of(logs[-1]) or "").splitlines()
        said = one_line(" / ".join(line for line in lines[-_TAIL_LINES:] if line.strip()))
        words = f"its log ends: {said or '(empty)'}"
    return problem(
        "deep",
        f"job {job_id} ended without an answer; {words}",
        f"look into {folder} and `sacct -j {job_id}`",
    )


def _too_long(job_id: str, seen: InQueue | None, wait_s: float) -> Finding:
    state = f"{seen.state.lower()} ({seen.reason})" if seen else "ended, its answer not seen yet"
    return warning(
        "deep",
        f"no answer in {wait_s / 60:.0f} min: job {job_id} was {state}; it was cancelled",
        "try again when the queue is shorter, or with a longer --wait",
    )


def judge_report(
    report: NodeReport, question: Question, profile: SlurmProfile, now: float, lag_s: float | None
) -> Iterator[Finding]:
    """What a node's answer means; pure.

    Args:
        report: the answer.
        question: what was asked.
        profile: what the job had asked for.
        now: our clock when the answer was seen.
        lag_s: seconds from the job's end to that moment; None when it was still running.
    """
    if report.nonce == question.nonce:
        late = f", seen {lag_s:.0f} s after its job ended" if lag_s else ""
        yield ok("shared", f"{report.host} read and wrote the workspace{late}")
    else:
        yield problem(
            "shared",
            f"{report.host} read another content in {question.folder} than was written here",
            "put the workspace on a file system that all nodes see alike",
        )
    yield _judge_clock(report, question, now)
    yield _judge_python(report)
    if report.trainer_error:
        yield problem(
            "node trainer", report.trainer_error, "mend the environment, or `setup`, of the profile"
        )
    yield _judge_torch(report, profile)
    yield ok("node memory", f"{report.free_memory_gb:.1f} GB free, {report.cores} cores usable")


def _judge_clock(report: NodeReport, question: Question, now: float) -> Finding:
    """The node answered between the question and now, by its own clock as well as by ours."""
    early, late = question.asked_at - report.time, report.time - now
    skew = max(early, late)
    if skew > _MAX_SKEW_S:
        word = "behind" if early > late else "ahead"
        return warning(
            "node clock",
            f"{report.host} is at least {skew:.0f} s {word}",
            "tell the administrators (NTP); progress and ages are off by as much",
        )
    return ok("node clock", "agrees with this machine's")


def _judge_python(report: NodeReport) -> Finding:
    here = versions()["python"]
    text = f"{report.python} at {report.executable}"
    if report.python != here:
        return warning("node python", f"{text}; here {here}", "use one environment on both")
    return ok("node python", text)


def _judge_torch(report: NodeReport, profile: SlurmProfile) -> Finding:
    torch, check = report.torch, "node torch"
    mend = "mend torch, the driver, or the modules in `setup` of the profile"
    if torch.version is None:
        return problem(check, torch.error or "torch cannot be imported", mend)
    if len(torch.devices) < profile.gpus:
        reason = f" ({torch.error})" if torch.error else ""
        built = f"built for CUDA {torch.cuda}" if torch.cuda else "built without CUDA"
        text = (
            f"torch {torch.version}, {built}, can use {len(torch.devices)} of {profile.gpus} GPUs"
        )
        return problem(check, f"{text}{reason}", mend)
    here = versions().get("torch")
    devices = ", ".join(torch.devices) or "no GPU asked for"
    text = f"torch {torch.version}, {devices}"
    if here is not None and here.partition("+")[0] != torch.version.partition("+")[0]:
        return warning(check, f"{text}; here torch {here}", "use one environment on both")
    return ok(check, text)
