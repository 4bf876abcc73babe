"""From evidence to a class of failure, by a table: the first row that matches decides. Pure.

The order is by how much a source can be trusted: what we did ourselves, what the run itself said
of a known kind, the scheduler's unambiguous words, known texts in the log, then the guesses.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.failures.evidence import Evidence, Failure
from pipeline.failures.kinds import FailureClass
from pipeline.words import one_line

Look = Callable[[Evidence], str | None]
"""Returns the line that shows the failure, or None."""

STOPPED = "stopped before its last step"
_LIMIT_SLACK_S = 60.0  # Slurm checks time limits about every 30 s, with a grain of a minute
_F = FailureClass

_DIVERGED = r"(?:\b(?:is|are|was|became) |= ?)[+-]?(?:nan|inf(?:inity)?)\b|non-finite|not finite"
_CUDA_MEMORY = (
    r"(?:CUDA|HIP)(?: error:)? out of memory|CUDA_ERROR_OUT_OF_MEMORY|"
    r"CU(?:BLAS|DNN)_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation"
)
_BAD_GPU = (
    r"uncorrectable ECC error|NVRM: Xid|CUDA driver initialization failed|CUDA unknown error|"
    r"no CUDA-capable device is detected|CUDA-capable device\(s\) is/are busy|"
    r"GPU is lost|fallen off the bus|Driver/library version mismatch|"
    r"Found no NVIDIA driver|hardware stack error|Unable to determine the device handle|"
    r"CUDA error: unknown error|cudaErrorDevicesUnavailable"
)
_HOST_MEMORY = (
    r"oom[-_]kill|OOM Killed|task \d+: Out Of Memory|[Ee]xceeded (?:job|step)? ?memory limit|"
    r"\bMemoryError\b|(?:can't|[Cc]annot) allocate memory|std::bad_alloc|"
    r"Out of memory: Killed process|Unable to allocate [\d.]+ [KMGTP]iB|"
    r"killed by signal: Killed"
)
_DISK = (
    r"Disk quota exceeded|No space left on device|\bEDQUOT\b|\bENOSPC\b|"
    r"PytorchStreamWriter failed"
)
_IMPORT = (
    r"\bModuleNotFoundError\b|\bImportError\b|error while loading shared libraries|"
    r"undefined symbol:|cannot import \S+ \(|: command not found|bad interpreter|"
    r"execve\(\): .*No such file"
)
_EXCEPTION = r"^[\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b|^the trainer |^result refused"


@dataclass(frozen=True)
class Rule:
    """One row: a class, what shows it, and where the fact is from."""

    kind: FailureClass
    look: Look
    source: str


def _said(pattern: str) -> Look:
    """The run's own message."""
    return lambda e: e.message if re.search(pattern, e.message or "", re.IGNORECASE) else None


def _logged(pattern: str) -> Look:
    """The last line of the log that matches."""

    def look(evidence: Evidence) -> str | None:
        lines = reversed(evidence.traces.log.splitlines())
        found = next((line for line in lines if re.search(pattern, line)), None)
        return None if found is None else f"log: {found.strip()}"

    return look


def _told(pattern: str) -> Look:
    """The message or else the log."""
    said, logged = _said(pattern), _logged(pattern)
    return lambda e: said(e) or logged(e)


def _state(*words: str) -> Look:
    return lambda e: _scheduler_line(e) if e.state in words else None


def _code(*codes: str) -> Look:
    return lambda e: _scheduler_line(e) if e.exit_code in codes else None


def _ended_by(whom: str, line: str) -> Look:
    return lambda e: line if e.ended_by == whom else None


def _step_out_of_memory(e: Evidence) -> str | None:
    return "accounting: a step of the job was OUT_OF_MEMORY" if _is_oom(e.step_state) else None


def _is_oom(word: str | None) -> bool:
    return word == "OUT_OF_MEMORY"


def _dropped_by_slurm(e: Evidence) -> str | None:
    """Ended before it began, and by nobody."""
    never = "DependencyNeverSatisfied" in (e.reason or "")
    return _scheduler_line(e) if e.state == "CANCELLED" and never else None


def _deadline(e: Evidence) -> str | None:
    return _scheduler_line(e) if e.state == "DEADLINE" and e.elapsed_s else None


def _was_stopped(e: Evidence) -> bool:
    return (e.message or "").startswith(STOPPED)


def _at_its_limit(e: Evidence) -> str | None:
    """Ran out its time, stopped by the warning signal or killed at the end.

    The same signal tells of a preemption with grace: then it comes long before the limit.
    """
    if e.message and not _was_stopped(e):
        return None
    warned = _was_stopped(e) and "signal 12: asked to stop" in e.traces.log
    if e.elapsed_s is None or e.limit_s is None:
        signal = "log: signal 12 (SIGUSR2), which the scheduler sends ahead of the time limit"
        return signal if warned else None
    lead_s = e.lead_s if _was_stopped(e) else 0.0
    late = e.elapsed_s >= e.limit_s - lead_s - _LIMIT_SLACK_S
    if late and (warned or e.elapsed_s > _LIMIT_SLACK_S / 2):
        return f"ran {e.elapsed_s / 60:.0f} of the {e.limit_s / 60:.0f} min it may"
    return None


def _asked_to_end(backend: str) -> Look:
    return lambda e: e.message if _was_stopped(e) and e.backend == backend else None


def _crashed_before_it_could_say(e: Evidence) -> str | None:
    """A traceback in the log of a task that left no failure.json."""
    if e.message or "Traceback (most recent call last)" not in e.traces.log:
        return None
    lines = [line.strip() for line in e.traces.log.splitlines()]
    errors = [line for line in lines if re.match(r"[\w.]+(?:Error|Exception)\b", line)]
    return f"log: {errors[-1] if errors else 'Traceback (most recent call last)'}"


def _no_sign_of_life(e: Evidence) -> str | None:
    if e.message or e.elapsed_s or e.node or e.traces.log_exists or e.traces.progress:
        return None
    return "it left no log, and the scheduler names no node that it ran on"


def _killed(e: Evidence) -> str | None:
    if e.message or e.state == "COMPLETED":
        return None
    signal = _signal_of(e.exit_code)
    how = f"ended by signal {signal}" if signal else "ended"
    return f"{how} without a result, a reason or a word in its log"


def _signal_of(exit_code: str | None) -> int:
    """Signal that ended a job: "0:9", or as a shell tells it, "137:0" (sacct makes it "9:0")."""
    numbers = re.fullmatch(r"(\d{1,4}):(\d{1,4})", exit_code or "")
    if numbers is None:
        return 0
    code, signal = int(numbers[1]), int(numbers[2])
    return signal or (code - 128 if code > 128 else code if code in (9, 15) else 0)


_SLURM = "Slurm 22.05, seen"
_TORCH = "PyTorch and CUDA error texts"
RULES: tuple[Rule, ...] = (
    Rule(_F.CANCELLED_BY_USER, _ended_by("cancel", "cancelled with `pipeline cancel`"), "our own"),
    Rule(_F.PAUSED, _ended_by("pause", "stopped by `pipeline advance --for-min`"), "our own"),
    Rule(_F.STALLED, _ended_by("stall", "ended for its silence, as the policy says"), "our own"),
    Rule(_F.DIVERGED, _said(_DIVERGED), "trainers' words; the worker's on values not finite"),
    Rule(_F.CUDA_OUT_OF_MEMORY, _said(_CUDA_MEMORY), _TORCH),
    Rule(_F.BAD_GPU, _said(_BAD_GPU), _TORCH + "; NVIDIA Xid documentation"),
    Rule(_F.HOST_OUT_OF_MEMORY, _said(_HOST_MEMORY), "Python, NumPy, PyTorch allocators"),
    Rule(_F.DISK_QUOTA, _said(_DISK), "strerror of EDQUOT and ENOSPC; torch.save"),
    Rule(_F.IMPORT_ERROR, _said(_IMPORT), "Python, the dynamic linker"),
    Rule(_F.LOG_NOT_CREATABLE, _code("0:53"), _SLURM + ": FAILED 0:53 and no log"),
    Rule(_F.HOST_OUT_OF_MEMORY, _state("OUT_OF_MEMORY"), _SLURM + ": batch process, 0:125"),
    Rule(_F.HOST_OUT_OF_MEMORY, _code("0:125"), _SLURM + ": the signal that stands for OOM"),
    Rule(_F.HOST_OUT_OF_MEMORY, _step_out_of_memory, _SLURM + ": in srun only the step says so"),
    Rule(_F.NODE_FAILURE, _state("NODE_FAIL", "BOOT_FAIL"), _SLURM + ": slurmd killed"),
    Rule(_F.PREEMPTED, _state("PREEMPTED"), _SLURM + ": PREEMPTED 0:0"),
    Rule(_F.TIME_LIMIT, _state("TIMEOUT"), _SLURM + ": TIMEOUT 0:0"),
    Rule(_F.TIME_LIMIT, _deadline, "sacct manual: DEADLINE"),
    Rule(_F.NEVER_STARTED, _state("DEADLINE", "REVOKED"), "sacct manual: job state codes"),
    Rule(_F.CUDA_OUT_OF_MEMORY, _logged(_CUDA_MEMORY), _TORCH),
    Rule(_F.BAD_GPU, _logged(_BAD_GPU), _TORCH + "; NVIDIA Xid documentation"),
    Rule(_F.HOST_OUT_OF_MEMORY, _logged(_HOST_MEMORY), _SLURM + ": slurmstepd and srun; kernel"),
    Rule(_F.DISK_QUOTA, _logged(_DISK), "strerror of EDQUOT and ENOSPC"),
    Rule(_F.TIME_LIMIT, _logged("DUE TO TIME LIMIT|Job has timed out"), "slurmstepd; submitit"),
    Rule(_F.PREEMPTED, _logged("DUE TO PREEMPTION"), "slurmstepd"),
    Rule(_F.NODE_FAILURE, _logged("DUE TO NODE FAILURE"), "slurmstepd"),
    Rule(_F.NEVER_STARTED, _dropped_by_slurm, "sbatch manual: kill_invalid_depend"),
    Rule(_F.CANCELLED_BY_USER, _state("CANCELLED"), _SLURM + ": CANCELLED by UID"),
    Rule(_F.CANCELLED_BY_USER, _logged(r"CANCELLED AT \S+ \*\*\*"), "slurmstepd"),
    Rule(_F.TIME_LIMIT, _at_its_limit, "--signal=USR2@lead; our own clock"),
    Rule(_F.PREEMPTED, _asked_to_end("slurm"), _SLURM + ": --signal, grace time, SIGTERM"),
    Rule(_F.CANCELLED_BY_USER, _asked_to_end("local"), "SIGTERM on a machine without preemption"),
    Rule(_F.CODE_ERROR, _said(_EXCEPTION), "the worker names the exception first"),
    Rule(_F.IMPORT_ERROR, _logged(_IMPORT), "Python, bash, slurmstepd"),
    Rule(_F.CODE_ERROR, _crashed_before_it_could_say, "Python tracebacks"),
    Rule(_F.NEVER_STARTED, _no_sign_of_life, "nothing at all is known of it"),
    Rule(_F.KILLED_WITHOUT_TRACE, _killed, _SLURM + ": kill -9 is FAILED 0:9; OverMemoryKill too"),
)


def classify(evidence: Evidence) -> Failure:
    """Judge an attempt that ended without a result; whatever stands in it, this returns."""
    kind, shown = FailureClass.UNKNOWN, evidence.message or "the task ended without a result"
    for rule in RULES:
        line = rule.look(evidence)
        if line is not None:
            kind, shown = rule.kind, line
            break
    lines = [shown, evidence.message, _scheduler_line(evidence), *_numbers(evidence)]
    said = [one_line(line) for line in lines if line]
    return Failure(kind, tuple(dict.fromkeys(said)))


def _scheduler_line(e: Evidence) -> str | None:
    if e.state is None:
        return None
    parts = [e.state, f"exit code {e.exit_code}" if e.exit_code else None, _plain(e.reason)]
    return "scheduler: " + ", ".join(part for part in parts if part)


def _plain(reason: str | None) -> str | None:
    return None if reason in (None, "", "None") else reason


def _numbers(e: Evidence) -> list[str]:
    """How long it ran, where, and how far it came."""
    lines = []
    if e.elapsed_s is not None:
        of = f" of {e.limit_s / 60:.0f} min" if e.limit_s else ""
        lines.append(f"ran {e.elapsed_s / 60:.1f}{of or ' min'}")
    progress = e.traces.progress
    if progress is not None:
        speed = f" at {progress.steps_per_s:.3g} steps/s" if progress.steps_per_s else ""
        lines.append(f"reached step {progress.step:,} of {progress.total_steps:,}{speed}")
    return lines
