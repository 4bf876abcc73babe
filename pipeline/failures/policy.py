"""What is done about a failure: the policy of a profile, and the decision for one run. Pure."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from pipeline.failures.kinds import NEVER_RETRIED, NODE_TO_BLAME, PHASE_STOPPING, FailureClass
from pipeline.validation import StrictModel

_PROGRESS_SHARE = 0.01  # of all steps; less than this is the same place again
_START_UP_MIN = 5  # interpreter, imports, compilation, evaluation at the end
_F = FailureClass

Gigabytes = Annotated[int, Field(ge=1, le=1_000_000)]
Minutes = Annotated[int, Field(ge=1, le=1_000_000)]


class FailurePolicy(StrictModel):
    """Table [profiles.NAME.failures]; works as it is, without any setting."""

    max_tries: Annotated[int, Field(ge=1, le=100)] = 3
    """Attempts at a run that count; being preempted or paused does not, nor a time limit that was
    reached further on than before."""
    memory_factor: Annotated[float, Field(gt=1, le=10)] = 1.5
    memory_max_gb: Gigabytes | None = None
    walltime_factor: Annotated[float, Field(ge=1, le=10)] = 1.3
    """Times the time that the steps left should take by the measured speed."""
    walltime_max_min: Minutes | None = None
    """By default what the profile asks for, as longer may be refused."""
    exclude_node_hours: Annotated[float, Field(ge=0, le=8760)] = 24.0
    """How long a node that failed is left out; 0: never."""
    stalled_after_min: Annotated[int, Field(ge=1, le=100_000)] = 60
    """Silence after which a running task is named to a person."""
    cancel_stalled: bool = False
    """End such a task and try again."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the attempt that failed had, and what came before it."""

    counted_tries: int
    """Attempts that count, this one included."""
    earlier: tuple[FailureClass, ...] = ()
    """How the earlier ones among the last `counted_tries` ended."""
    stack: int = 1
    """Runs that trained together."""
    mem_gb: int | None = None
    """None where memory cannot be asked for."""
    walltime_min: int = 1440
    profile_walltime_min: int = 1440
    step: int = 0
    total_steps: int = 0
    best_step_before: int = 0
    """Furthest step of all earlier attempts."""
    stack_gained: bool = False
    """Did a run that trained with it end well, or come further than in all earlier attempts?"""
    steps_per_s: float | None = None
    checkpoint: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of one failed run."""

    retry: bool
    words: str
    """What is done, or why nothing is; stands after "host out of memory: 3 runs "."""
    counts: bool = True
    """False when this attempt does not use up a try."""
    mem_gb: int | None = None
    walltime_min: int | None = None
    stack_limit: int | None = None
    resume: bool = False
    """Train the same runs together again, so that their checkpoints fit."""
    blame_node: bool = False
    stop_phase: bool = False


def decide(kind: FailureClass, past: Past, policy: FailurePolicy) -> Decision:
    """What the policy says about a run that ended as `kind`."""
    blame = kind in NODE_TO_BLAME
    if kind in NEVER_RETRIED:
        stop = kind in PHASE_STOPPING
        words = "stopped the phase: mend the cause, then retry" if stop else "not tried again"
        return Decision(retry=False, words=words, stop_phase=stop)
    if kind in (_F.PREEMPTED, _F.PAUSED) or (kind is _F.TIME_LIMIT and _came_further(past)):
        return _again(kind, past, policy, counts=False)
    allowed = min(policy.max_tries, 2) if kind is _F.KILLED_WITHOUT_TRACE else policy.max_tries
    same = past.earlier.count(kind) + 1
    tries = same if kind is _F.KILLED_WITHOUT_TRACE else past.counted_tries
    if tries >= allowed or past.counted_tries >= policy.max_tries:
        words = f"not tried again after {past.counted_tries} of {policy.max_tries} tries"
        return Decision(retry=False, words=words, blame_node=blame)
    return _again(kind, past, policy, counts=True)


def _again(kind: FailureClass, past: Past, policy: FailurePolicy, *, counts: bool) -> Decision:
    """Try again with what would have helped; not at all where nothing can be changed."""
    if kind is _F.HOST_OUT_OF_MEMORY and past.mem_gb is not None:
        return _with_more_memory(past.mem_gb, policy)
    if kind in (_F.HOST_OUT_OF_MEMORY, _F.CUDA_OUT_OF_MEMORY):
        return _in_smaller_stacks(kind, past)
    walltime = _walltime(past, policy) if kind is _F.TIME_LIMIT else None
    words = {
        _F.TIME_LIMIT: f"resumed with {walltime} min",
        _F.PREEMPTED: "resumed; this does not count as a try",
        _F.PAUSED: "planned again; this does not count as a try",
        _F.NODE_FAILURE: "tried again on another node",
        _F.BAD_GPU: "tried again on another node",
    }.get(kind, "tried again")
    return Decision(
        retry=True,
        words=words,
        counts=counts,
        walltime_min=walltime,
        resume=True,
        blame_node=kind in NODE_TO_BLAME,
    )


def _with_more_memory(had_gb: int, policy: FailurePolicy) -> Decision:
    most = policy.memory_max_gb
    wanted = math.ceil(had_gb * policy.memory_factor)
    given = wanted if most is None else min(wanted, most)
    if given <= had_gb:
        return Decision(
            retry=False, words=f"not tried again: {had_gb} GB is all that memory_max_gb allows"
        )
    words = f"tried again with {given} GB"
    return Decision(retry=True, words=words, mem_gb=given, resume=True)


def _in_smaller_stacks(kind: FailureClass, past: Past) -> Decision:
    if past.stack < 2:
        on_gpu = kind is _F.CUDA_OUT_OF_MEMORY
        why = (
            "more host memory does not help" if on_gpu else "this profile has no memory to ask for"
        )
        return Decision(retry=False, words=f"not tried again: trained alone already, and {why}")
    limit = past.stack // 2
    words = f"tried again in stacks of {limit}"
    return Decision(retry=True, words=words, stack_limit=limit)


def _came_further(past: Past) -> bool:
    """Progress beyond every earlier attempt, by more than chance: such attempts end some day."""
    own = gained(past.step, past.best_step_before, past.total_steps)
    return own or past.stack_gained


def gained(step: int, before: int, total_steps: int) -> bool:
    """Is a step further than the furthest before, by more than chance?"""
    return total_steps > 0 and step - before >= max(1.0, _PROGRESS_SHARE * total_steps)


def _walltime(past: Past, policy: FailurePolicy) -> int:
    """Minutes for the steps that are left, never less than before, as far as is allowed."""
    most = max(policy.walltime_max_min or past.profile_walltime_min, past.walltime_min)
    needed = past.walltime_min
    if past.steps_per_s:
        left = past.total_steps - (past.step if past.checkpoint else 0)
        seconds = max(0, left) / past.steps_per_s * policy.walltime_factor
        needed = math.ceil(min(seconds, most * 60) / 60) + _START_UP_MIN
    return min(most, max(needed, past.walltime_min))
