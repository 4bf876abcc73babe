"""Results that were set aside: complete, but late or of a second attempt, so they do not count.

Looked for where a run may have more than one attempt, and compared with the accepted result: on a
CPU both should be the same to the last bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pipeline.claim import current_folder
from pipeline.promotion import results_aside
from pipeline.state import RunRecord, State
from pipeline.workspace import Workspace


class Likeness(Enum):
    """How a result compares with the accepted one of its run."""

    SAME = "the same numbers as the accepted result, to the last bit"
    OTHER = "other numbers than the accepted result"
    FOREIGN = "of another run"
    ALONE = "no result of the run is accepted yet"
    UNREADABLE = "it cannot be read"


@dataclass(frozen=True)
class Aside:
    """One result that does not count."""

    run: str
    """Key of its run."""
    path: Path


def set_aside_of(workspace: Workspace, keys: Iterable[str]) -> list[Aside]:
    """The results of these runs that were set aside; one listing of a folder for each run."""
    found = []
    for key in keys:
        run_dir = workspace.run_dir(key)
        found += [Aside(key, path) for path in results_aside(run_dir, current_folder(run_dir))]
    return found


def tried_again(state: State) -> list[str]:
    """Runs that were started more than once as far as anybody saw: few, even of very many."""
    keys = {key for key, run in state.runs.items() if run.tries > 1}
    for job in state.jobs.values():
        for task in job.tasks:
            if task.earlier:
                keys.update(task.runs)
    return sorted(keys & set(state.runs))


def likeness(aside: Aside, run: RunRecord) -> Likeness:
    """Compare a result that was set aside with what was accepted of its run."""
    from pipeline.collect import fingerprint_of, mismatch  # builds pydantic models
    from pipeline.results import ResultFileError, read_result

    try:
        found = read_result(aside.path)
    except ResultFileError:
        return Likeness.UNREADABLE
    if found is None:
        return Likeness.UNREADABLE
    if mismatch(found[0], aside.run, run) is not None:
        return Likeness.FOREIGN
    if run.fingerprint is None:
        return Likeness.ALONE
    return Likeness.SAME if fingerprint_of(found[0]) == run.fingerprint else Likeness.OTHER
