"""The workspace as it is: its study, its state, and where the trainer's code stands in git."""

from collections.abc import Iterator

from pipeline.code_tree import code_trees
from pipeline.doctor.finding import Finding, ok, problem, warning
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.lock import Standing, standing
from pipeline.plan import plan_study
from pipeline.sources import sources_of
from pipeline.state import State
from pipeline.store import StateStore
from pipeline.study import Study, load_study
from pipeline.words import count
from pipeline.workspace import Workspace

_COMMIT_CHARS = 12


def examine_study(workspace: Workspace) -> tuple[Study | None, list[Finding]]:
    """The study, when it is valid and its trainer can be imported; and what is to be said."""
    try:
        study = load_study(workspace.study_file)
    except PipelineError as error:
        mend = "mend study.toml; `pipeline plan` shows the study once it is valid"
        return None, [problem("study", line, mend) for line in str(error).splitlines()]
    header = study.file.study
    size = f"{count(len(study.file.phases), 'phase')}, {count(len(plan_study(study)), 'run')}"
    return study, [
        ok("study", f"{header.name}: {size}"),
        ok("trainer", f"{header.trainer} can be imported"),
        _examine_code(workspace, header.trainer),
    ]


def examine_state(workspace: Workspace) -> tuple[State | None, list[Finding]]:
    """The state, when there is a valid one; and who holds its lock."""
    try:
        store = StateStore(workspace.state_dir)
        state = store.load()
    except PipelineError as error:
        return None, [
            problem("state", str(error), "see there; no other command changes a broken state")
        ]
    return state, [
        _judge_state(state, as_saved=store.is_as_saved()),
        *_judge_lock(standing(workspace.lock_file)),
    ]


def examine_repair(workspace: Workspace, profile_name: str | None) -> Iterator[Finding]:
    """What `--repair` would do, a line each; nothing when all is as it should be."""
    from pipeline.doctor.repair import plan_repair

    try:
        plan = plan_repair(workspace, profile_name)
    except SchedulerUnreachableError as error:
        yield problem("repair", str(error), "a repair asks the scheduler first", unreachable=True)
        return
    except PipelineError as error:
        yield problem("repair", str(error), "mend that first")
        return
    for act in plan.acts:
        yield warning("repair", f"to be done: {act}", "`pipeline doctor --repair` does it")
    for words in plan.unknown:
        yield warning("repair", words, "no repair brings it back")


def _examine_code(workspace: Workspace, trainer: str) -> Finding:
    sources = sources_of(trainer)
    tree = code_trees(workspace, sources)[0]
    return judge_code(tree.commit, tree.is_dirty(sources))


def judge_code(commit: str | None, dirty: bool | None) -> Finding:
    """Whether a result can be traced to a commit."""
    if commit is None:
        return warning(
            "code",
            "the trainer's code is not in git; results name a digest of its files instead",
            "commit it to a repository, so that a result can be traced and repeated",
        )
    commit = commit[:_COMMIT_CHARS]
    if dirty:
        return warning(
            "code",
            f"commit {commit} with changes that are not committed",
            "commit them, so that a result can be traced and repeated",
        )
    return ok("code", f"commit {commit}, no changes")


def _judge_state(state: State | None, *, as_saved: bool) -> Finding:
    if state is None:
        return ok("state", "nothing was submitted yet")
    jobs = state.live_jobs()
    live = f"{count(len(jobs), 'live job')}" if jobs else "no live job"
    words = f"valid: {count(len(state.runs), 'run')}, {live}"
    if not as_saved:
        return warning(
            "state",
            f"{words}; but it is not as it was saved last: edited, or by another version",
            "make sure that the edit is yours; it is taken as it stands",
        )
    return ok("state", words)


def _judge_lock(lock: Standing | None) -> Iterator[Finding]:
    if lock is None:
        return
    if lock.gone:
        yield ok("lock", f"its holder is gone ({lock.words}); the next command takes it over")
        return
    yield warning(
        "lock",
        f"an advance is at work ({lock.words})",
        "let it finish; if its machine died, the next command takes over after a while",
    )
