"""The code a job runs is the code that was submitted: a copy in the workspace that jobs run from.

`.state/code/<digest>/` holds, under the digest of all its files, what the trainer's repository
tracks at this moment and the new Python files that it does not ignore; outside git, the trainer's
own sources. The pipeline itself comes along when it runs from a checkout. Submissions of equal code
share one copy. What is no code (ignored folders, large files) is not copied but linked, so that a
trainer finds its data where it looks for them.

Beside the copy stay, for good, where it came from and how that differed from its commit:
`<digest>.json` and `<digest>.diff`.
"""

import difflib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import git
from pipeline.code_tree import CodeTree, code_trees
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.files import read_bytes, write_atomic, write_error
from pipeline.private import own_folder, owner_writes
from pipeline.provenance import now
from pipeline.results import Code
from pipeline.sources import Sources, sources_of
from pipeline.state import State
from pipeline.workspace import Workspace

_MAX_BYTES = 64 << 20
_MAX_FILES = 20_000


@dataclass(frozen=True)
class Snapshot:
    """A copy of the code, and what is needed to run from it."""

    digest: str
    python_path: tuple[Path, ...]
    """Folders that come first on sys.path in a job."""
    sources: Sources
    """The trainer's own files in the copy."""
    code: Code


def take(workspace: Workspace, trainer: str) -> Snapshot:
    """Copy the code as it is now, unless an equal copy is there; the trainer must be imported.

    Raises:
        PipelineError: there is too much of it, or it cannot be read or written.
    """
    sources = sources_of(trainer)
    trees = code_trees(workspace, sources)
    copies = _read(trees)
    digest = digest_of({path: digest_of(content) for path, content in copies.items()})
    folder = workspace.code_dir / digest
    if not folder.is_dir():
        _write(folder, copies)
    _link(folder, trees)
    own = trees[0]
    copied = Sources(folder / own.name / sources.root.relative_to(own.root), sources.names)
    code = Code(
        commit=own.commit,
        dirty=own.is_dirty(sources),
        source_digest=copied.digest(),
        snapshot=digest,
    )
    _record_origin(folder, own, code)
    path = [copied.root, *(folder / t.name / entry for t in trees for entry in t.python_path())]
    return Snapshot(digest, tuple(dict.fromkeys(path)), copied, code)


def prune(workspace: Workspace, state: State, keep: Snapshot) -> None:
    """Remove the copies that no job needs any more; the records of their origins stay."""
    used = {job.code for job in state.live_jobs().values()} | {keep.digest}
    for folder in workspace.code_dir.iterdir():
        if folder.is_dir() and folder.name not in used:
            shutil.rmtree(folder, ignore_errors=True)


def recorded_sources(workspace: Workspace, digest: str) -> str | None:
    """Digest of the trainer's files in a snapshot that was once taken here."""
    try:
        origin = json.loads(read_bytes(workspace.code_dir / f"{digest}.json"))
        return str(origin["source_digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _read(trees: Iterable[CodeTree]) -> dict[str, bytes]:
    """Contents of all that is copied, by path in the snapshot."""
    contents: dict[str, bytes] = {}
    size = 0
    for tree in trees:
        for file in tree.copies():
            try:
                content = read_bytes(tree.root / file)
            except OSError as error:
                raise PipelineError(
                    f"{tree.root / file}: cannot be read ({error.strerror}); "
                    "it is part of the code that would be submitted"
                ) from error
            contents[f"{tree.name}/{file}"] = content
            size += len(content)
            if size > _MAX_BYTES or len(contents) > _MAX_FILES:
                raise PipelineError(
                    f"{tree.root}: more than {_MAX_BYTES >> 20} MB or {_MAX_FILES:,} files of code "
                    "would be submitted; keep data out of git, or put the trainer into a "
                    "repository or an installed package of its own"
                )
    return contents


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the copies, read-only, under a name of their own first: others see all or nothing."""
    fresh = folder.with_name(f".new-{secrets.token_hex(4)}")
    try:
        own_folder(fresh, folder.parents[2])
        with owner_writes():
            for path, content in contents.items():
                place = fresh / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                place.chmod(0o444)
        fresh.replace(folder)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise write_error(folder, error) from error


def _link(folder: Path, trees: Iterable[CodeTree]) -> None:
    """Link what is not copied, as far as that was not done before."""
    try:
        for tree in trees:
            for path, target in tree.links():
                place = folder / tree.name / path
                if not os.path.lexists(place):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.symlink_to(target)
    except OSError as error:
        raise write_error(folder, error) from error


def _record_origin(folder: Path, tree: CodeTree, code: Code) -> None:
    origin = folder.with_name(f"{folder.name}.json")
    if origin.exists():
        return
    if tree.commit is not None and (tree.changed or tree.new):
        patch = git.diff(tree.root) or ""
        patch += "".join(_as_patch(tree.root, path) for path in sorted(tree.new))
        data = patch.encode("utf-8", "surrogateescape")
        write_atomic(folder.with_name(f"{folder.name}.diff"), data)
    facts = {**code.model_dump(), "taken_from": str(tree.root), "taken_at": now()}
    write_atomic(origin, (json.dumps(facts, indent=1) + "\n").encode())


def _as_patch(root: Path, path: str) -> str:
    """A file that git does not track, as the patch that would make it."""
    text = (root / path).read_text(encoding="utf-8", errors="surrogateescape")
    lines = difflib.unified_diff([], text.splitlines(keepends=True), "/dev/null", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
