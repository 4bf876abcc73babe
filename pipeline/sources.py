"""Which Python files a trainer is made of: its package, and what it imports from beside it.

The digest over these files is what "the same code" means in a comparison: a README or a test may
change between two runs, the trainer may not.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.digest import digest_of

_IMPORT = re.compile(rb"^[ \t]*(from|import)[ \t]+([^#;\n]+)", re.MULTILINE)
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class Sources:
    """Top-level packages and modules that lie in one folder."""

    root: Path
    """The folder that they are imported from."""
    names: tuple[str, ...]

    def files(self) -> list[Path]:
        """Their Python files, in a fixed order."""
        return [path for name in self.names for path in _python_files(self.root, name)]

    def digest(self) -> str:
        """SHA-256 over names and contents of the files."""
        return digest_of(
            {
                path.relative_to(self.root).as_posix(): digest_of(path.read_bytes())
                for path in self.files()
            }
        )


def sources_of(reference: str) -> Sources:
    """What the trainer "package.module:Class" is made of, as far as imports tell.

    Of an installed package only the package itself counts: what lies beside it is the environment,
    whose versions every result records.
    """
    name = reference.partition(":")[0]
    root, top = import_root(name), name.partition(".")[0]
    return Sources(root, (top,) if is_installed(root) else _imported_from(root, top))


def import_root(name: str) -> Path:
    """The folder of sys.path that an imported module came from."""
    file = Path(str(sys.modules[name].__file__)).absolute()
    place = file.parent if file.name == "__init__.py" else file
    return place.parents[name.count(".")].resolve()


def is_installed(root: Path) -> bool:
    """True for a folder that pip fills."""
    return not _INSTALLED.isdisjoint(root.parts)


def _imported_from(root: Path, top: str) -> tuple[str, ...]:
    """`top` and every package or module in `root` that it imports, directly or not.

    The pipeline itself is left out: it decides nothing that a trainer computes.
    """
    found, left = {top}, [top]
    while left:
        files = _python_files(root, left.pop())
        names = {name for path in files for name in _imports(path.read_bytes())} - {"pipeline"}
        fresh = {name for name in names - found if next(_python_files(root, name), None)}
        found |= fresh
        left += fresh
    return tuple(sorted(found))


def _imports(source: bytes) -> Iterator[str]:
    """Top-level names that a file imports; a word of a docstring more does no harm."""
    for word, rest in _IMPORT.findall(source):
        parts: Sequence[bytes] = rest.split(b",") if word == b"import" else [rest]
        for part in parts:
            name = part.strip().split(None, 1)[0] if part.strip() else b""
            top = name.partition(b".")[0].decode("utf-8", "replace")
            if top.isidentifier():  # a relative import has no name before its first dot
                yield top


def _python_files(root: Path, name: str) -> Iterator[Path]:
    if (root / f"{name}.py").is_file():
        yield root / f"{name}.py"
    for folder, folders, files in os.walk(root / name):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not f.startswith("."))
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))
