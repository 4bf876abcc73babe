"""How the runs of a report can be repeated: from which commit, and why not from one."""

from collections.abc import Sequence

from pipeline.analysis.table import RunRow


def commands(rows: Sequence[RunRow], profile: str) -> tuple[str, ...]:
    """Shell commands that run the study again."""
    commits = _commits(rows)
    checkout = [] if obstacle(rows) or not commits else [f"git checkout {commits[0]}"]
    return (*checkout, f"pipeline advance --watch --profile {profile}")


def obstacle(rows: Sequence[RunRow]) -> str:
    """Why no one commit holds all the code that ran; empty when one does."""
    commits = _commits(rows)
    dirty = sum(row.facts.dirty is True for row in rows)
    bare = sum(row.facts.commit is None for row in rows)
    if dirty:
        known = f" ({', '.join(commits)})" if commits else ""
        return (
            f"{dirty} of {len(rows)} runs come from a working tree with uncommitted changes, "
            f"which cannot be reproduced from the commit alone{known}."
        )
    if bare:
        return f"{bare} of {len(rows)} runs record no commit, so the code has to be told otherwise."
    if len(commits) > 1:
        return f"The runs come from {len(commits)} commits: {', '.join(commits)}."
    return ""


def _commits(rows: Sequence[RunRow]) -> list[str]:
    return sorted({row.facts.commit for row in rows if row.facts.commit})
