"""One line of the doctor's answer, and what all of them together come to. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.words import count


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """Tasks run, but slower, later or with less certainty than they could."""
    PROBLEM = "problem"
    """Tasks will be refused, wait for ever or fail."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, and what to do about it."""

    level: Level
    check: str
    text: str
    remedy: str | None = None
    unreachable: bool = False
    """The scheduler gave no answer."""


def ok(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, check, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Worth mending; the study runs all the same."""
    return Finding(Level.WARNING, check, text, remedy)


def problem(check: str, text: str, remedy: str, *, unreachable: bool = False) -> Finding:
    """To be mended before anything is submitted."""
    return Finding(Level.PROBLEM, check, text, remedy, unreachable)


def tally(findings: Iterable[Finding]) -> dict[Level, int]:
    """How many there are of each level."""
    levels = [finding.level for finding in findings]
    return {level: levels.count(level) for level in Level}


def failure(findings: Iterable[Finding]) -> PipelineError | None:
    """The error that the command ends with: none when there is no problem."""
    found = list(findings)
    problems = tally(found)[Level.PROBLEM]
    if any(finding.unreachable for finding in found):
        return SchedulerUnreachableError("the scheduler does not answer; nothing was changed")
    if problems:
        return PipelineError(f"{count(problems, 'problem')} to mend first, see above")
    return None
