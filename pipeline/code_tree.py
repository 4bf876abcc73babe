"""Which files are the code of a study: what a snapshot copies and what it links; only looks."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pipeline
from pipeline import git
from pipeline.sources import Sources, import_root, is_installed
from pipeline.workspace import Workspace

_LARGE_BYTES = 1 << 20
"""A file beyond this, Python files apart, is data: linked, not copied."""
_NOT_LINKED = {".git", ".state", "__pycache__"}


@dataclass(frozen=True)
class CodeTree:
    """Files of one folder that are copied together."""

    name: str
    """Of the folder in the snapshot that stands for `root`."""
    root: Path
    files: frozenset[str]
    """Paths below the root."""
    with_neighbours: bool
    """Whether what lies beside the files is linked."""
    commit: str | None = None
    changed: frozenset[str] = frozenset()
    """Tracked files that differ from the commit, deleted ones included."""
    new: frozenset[str] = frozenset()
    """Python files that are neither tracked nor ignored."""

    @cached_property
    def folders(self) -> frozenset[str]:
        """Folders that hold files, at any depth; the root is "."."""
        found = {"."}
        for file in self.files:
            while (file := os.path.dirname(file)) and file not in found:  # noqa: PTH120
                found.add(file)
        return frozenset(found)

    def copies(self) -> Iterator[str]:
        """Files that are copied."""
        for file in sorted(self.files):
            place = self.root / file
            if place.is_file() and not _is_linked(place):  # a tracked file may have been deleted
                yield file

    def links(self) -> Iterator[tuple[str, Path]]:
        """What is linked instead, and where to."""
        for file in sorted(self.files):
            if _is_linked(self.root / file):
                yield file, (self.root / file).resolve()
        if self.with_neighbours:
            for folder in sorted(self.folders):
                yield from self._neighbours(folder)

    def _neighbours(self, folder: str) -> Iterator[tuple[str, Path]]:
        place = self.root / folder
        for entry in place.iterdir() if place.is_dir() else ():
            path = entry.name if folder == "." else f"{folder}/{entry.name}"
            if entry.name not in _NOT_LINKED and path not in self.files | self.folders:
                yield path, entry

    def python_path(self) -> Iterator[str]:
        """Folders below the root that modules are imported from, in the order of sys.path."""
        for entry in sys.path:
            place = Path(entry).resolve()
            if place.is_relative_to(self.root):
                folder = place.relative_to(self.root).as_posix()
                if folder in self.folders:
                    yield folder

    def is_dirty(self, sources: Sources) -> bool | None:
        """True when a file of the trainer is not as the commit has it; None outside git."""
        if self.commit is None:
            return None
        below = sources.root.relative_to(self.root)
        places = [(below / name).as_posix() for name in sources.names]
        return any(
            path == f"{place}.py" or path.startswith(f"{place}/")
            for path in self.changed | self.new
            for place in places
        )


def code_trees(workspace: Workspace, sources: Sources) -> list[CodeTree]:
    """The trainer's tree, and the pipeline's own where that is neither installed nor in it."""
    trainer = _repository(workspace, sources) or _packages(sources)
    root = import_root(pipeline.__name__)
    own = Sources(root, (pipeline.__name__,))
    inside = root.is_relative_to(trainer.root) and not trainer.files.isdisjoint(
        _below(trainer.root, own)
    )
    if inside or is_installed(root):
        return [trainer]
    return [trainer, CodeTree("pipeline", root, _below(root, own), with_neighbours=False)]


def _repository(workspace: Workspace, sources: Sources) -> CodeTree | None:
    """What git tracks in the trainer's repository; None when it knows no file of the trainer."""
    top = git.toplevel(sources.root)
    tracked, untracked = (git.tracked(top), git.untracked(top)) if top else (None, None)
    if top is None or tracked is None or untracked is None or not sources.root.is_relative_to(top):
        return None
    own = _below(top, sources)
    if own.isdisjoint(tracked) and own.isdisjoint(untracked):
        return None
    new = {path for path in untracked if path.endswith(".py")}
    outputs = _outputs(workspace, top)
    return CodeTree(
        name="code",
        root=top,
        files=frozenset(p for p in {*tracked, *new, *own} if not p.startswith(outputs)),
        with_neighbours=True,
        commit=git.commit(top),
        changed=frozenset(git.changed(top) or ()),
        new=frozenset(new),
    )


def _packages(sources: Sources) -> CodeTree:
    """The trainer's modules and all files of its packages."""
    files = set(_below(sources.root, sources))
    for name in sources.names:
        for folder, folders, inside in os.walk(sources.root / name):
            folders[:] = [f for f in folders if f != "__pycache__" and not f.startswith(".")]
            below = Path(folder).relative_to(sources.root)
            files |= {(below / file).as_posix() for file in inside}
    beside = not is_installed(sources.root)
    return CodeTree("code", sources.root, frozenset(files), with_neighbours=beside)


def _outputs(workspace: Workspace, top: Path) -> tuple[str, ...]:
    """What a study writes, as path prefixes: it changes with every phase and is no code."""
    places = (
        workspace.state_dir, workspace.runs_dir, workspace.logs_dir, workspace.figures_dir,
        workspace.report_file, workspace.page_file,
    )  # fmt: skip
    root = workspace.root.resolve()
    if not root.is_relative_to(top):
        return ()
    below = root.relative_to(top)
    return tuple((below / place.relative_to(workspace.root)).as_posix() for place in places)


def _below(root: Path, sources: Sources) -> frozenset[str]:
    return frozenset(path.relative_to(root).as_posix() for path in sources.files())


def _is_linked(place: Path) -> bool:
    """True for links, and for large files that hold no Python."""
    if place.is_symlink():
        return True
    return place.suffix != ".py" and place.is_file() and place.stat().st_size > _LARGE_BYTES
