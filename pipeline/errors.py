"""Errors a user can act on, each with the exit code of the public contract.

Every message says what is wrong, where, and what to do next. Anything else that is raised is a
bug of ours and keeps its traceback (exit code 1).
"""

from typing import ClassVar


class PipelineError(Exception):
    """The user's input is wrong: a study, a profile, a state file, an option (exit code 2)."""

    exit_code: ClassVar[int] = 2


class NeedsPersonError(PipelineError):
    """The study cannot go on without a person: failed runs, a closed gate, an alarm."""

    exit_code: ClassVar[int] = 3


class SchedulerUnreachableError(PipelineError):
    """The scheduler does not answer; nothing was changed."""

    exit_code: ClassVar[int] = 4
