"""Whatever a file holds, its reader gives a valid value or the error that it documents."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import TRIED
from tests.fuzz.damage import ALL_HOSTILE, MOST_TOKENS, TOKEN, damaged
from tests.fuzz.parsers import PARSERS, assert_read_or_refused
from tests.fuzz.specimens import Specimens
from tests.profiles import NIGHTLY, share


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
