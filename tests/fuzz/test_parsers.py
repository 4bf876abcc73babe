"""Whatever a file holds, its reader gives a valid value or the error that it documents."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
import training
from tests.fuzz.conftest import TRIED
from tests.fuzz.damage import ALL_HOSTILE, MOST_TOKENS, TOKEN, damaged
from tests.fuzz.parsers import NOT_HOSTILE, PARSERS, READERS, assert_read_or_refused
from tests.fuzz.specimens import Specimens
from tests.profiles import NIGHTLY, share

_READS = {
    "read_bytes", "read_text", "open_regular", "readlines", "model_validate_json", "validate_json",
    "loads", "load", "decoded", "Popen", "run",
}  # fmt: skip
_OF_MODULES = {"loads": {"json", "tomllib", "pickle"}, "load": {"np", "torch", "json", "pickle"},
               "run": {"subprocess"}, "Popen": {"subprocess"}}  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_a_damaged_file_is_refused_by_name_or_read(name: str, specimens: Specimens) -> None:
    """No traceback of ours, no hang, no warning, whatever the bytes are."""
    parser = PARSERS[name]
    content = parser.content(specimens)

    @share(parser.cost)
    @given(st.data())
    def every(data: st.DataObject) -> None:
        TRIED[name] += 1
        assert_read_or_refused(parser, specimens, data.draw(damaged(content)))

    every()


@pytest.mark.parametrize("name", PARSERS)
def test_an_undamaged_file_is_read(name: str, specimens: Specimens, tmp_path: Path) -> None:
    """What the damage starts from is valid: otherwise nothing was tried."""
    parser = PARSERS[name]
    try:
        parser.call(specimens, tmp_path, parser.content(specimens))
    except parser.errors:
        assert name in ("attempt.json", "the shipped study.toml")  # of another token, trainer


def test_every_reader_of_the_package_is_fuzzed() -> None:
    """A module that begins to read something must be entered here, with the parser that it has."""
    found = set()
    for package in (pipeline, training):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            if _reads(ast.parse(path.read_text(encoding="utf-8"))):
                found.add(".".join(path.relative_to(root.parent).with_suffix("").parts))
    assert found == set(READERS) | set(NOT_HOSTILE)
    assert set(READERS.values()) <= {*PARSERS, "checkpoint.pt"}


def _reads(tree: ast.Module) -> bool:
    """Whether a module calls something that reads a file, a program or a serialised value."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in _OF_MODULES and isinstance(called, ast.Attribute):
            owner = getattr(called.value, "id", "")
            if owner in _OF_MODULES[name]:
                return True
        elif (name in _READS and name not in _OF_MODULES) or (
            name == "open" and _opens_to_read(node)
        ):
            return True
    return False


def _opens_to_read(call: ast.Call) -> bool:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if getattr(owner, "id", "") == "os":
        return False  # folders, to see a rename to the disk
    modes = [a.value for a in [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
             if isinstance(a, ast.Constant) and isinstance(a.value, str)]  # fmt: skip
    return not modes or "r" in modes[0]


@pytest.mark.parametrize(
    "name",
    ["study.toml", "profiles.toml", "result.json", "failure.json", "task file", "pipeline.json",
     "metrics.jsonl", "squeue", "sacct", "scontrol show job", "nodes", "attempt.json"],
)  # fmt: skip
def test_every_value_is_replaced_by_every_hostile_one(name: str, specimens: Specimens) -> None:
    """Each token of a file in turn; in `make test` a share of them."""
    parser = PARSERS[name]
    content = parser.content(specimens)
    tokens, values = list(TOKEN.finditer(content))[:MOST_TOKENS], ALL_HOSTILE
    pairs = [(token, value) for token in tokens for value in values]
    for token, value in pairs if NIGHTLY else pairs[:: len(pairs) // 25]:
        TRIED[f"{name}, value by value"] += 1
        bad = content[: token.start()] + value + content[token.end() :]
        try:
            assert_read_or_refused(parser, specimens, bad)
        except Exception as error:
            error.add_note(f"{token[0]!r} was replaced by {value[:60]!r}")
            raise
