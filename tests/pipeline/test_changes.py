"""The log of changes: what it says leads from any state to the next, and to the last."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.changes import ChangeLog, applied, difference, replayed
from pipeline.digest import digest_of

values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 1) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power cut is tried here."""
    monkeypatch.setattr("pipeline.files.os.fsync", lambda _: None)


def log_of(path: Path, states: list[Any]) -> list[bytes]:
    """Log these states one after the other, as saves do; the log's lines."""
    log, base = ChangeLog(path), None
    for state in states:
        log.append(base, state, digest_of(state))
        base = state, digest_of(state)
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values, values)
def test_the_difference_leads_from_one_value_to_the_other(old: Any, new: Any) -> None:
    """Types and the order of keys included, whatever the values."""
    changes = json.loads(json.dumps(list(difference(old, new))))

    assert json.dumps(applied(copy.deepcopy(old), changes)) == json.dumps(new)


def test_a_small_change_of_a_large_state_is_a_short_line(tmp_path: Path) -> None:
    """A thousand tasks do not come along when one of them ends."""
    before = {"tasks": [{"runs": [f"a/{i}"], "state": "running"} for i in range(1000)]}
    after = copy.deepcopy(before)
    after["tasks"][500]["state"] = "ended"

    lines = log_of(tmp_path / "log", [before, after])

    assert len(lines[0]) > 30_000
    assert len(lines[1]) < 300


states = st.lists(st.dictionaries(st.sampled_from("abc"), values), min_size=2, max_size=6)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states)
def test_a_log_is_followed_to_its_end(tmp_path_factory: Any, history: list[Any]) -> None:
    """What was saved last is what the log comes to."""
    lines = log_of(tmp_path_factory.mktemp("log") / "log", history)

    found = replayed(lines)

    assert found is not None
    assert found.whole
    assert json.dumps(found.data) == json.dumps(history[-1])


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states, st.data())
def test_a_log_cut_off_anywhere_comes_to_an_earlier_state(
    tmp_path_factory: Any, history: list[Any], data: st.DataObject
) -> None:
    """A part of a line is not taken for a whole one, and no state is made up."""
    content = b"".join(log_of(tmp_path_factory.mktemp("log") / "log", history))
    cut = content[: data.draw(st.integers(0, len(content)))]

    found = replayed(cut.splitlines(keepends=True))

    assert found is None or json.dumps(found.data) in map(json.dumps, history)
    assert found is not None or b"\n" not in cut


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states, st.data())
def test_a_damaged_log_never_makes_up_a_state(
    tmp_path_factory: Any, history: list[Any], data: st.DataObject
) -> None:
    """Lines that are lost or turned to garbage: what is followed is a state that once was."""
    lines = log_of(tmp_path_factory.mktemp("log") / "log", history)
    broken = data.draw(st.sets(st.integers(0, len(lines) - 1), min_size=1))
    garbage = data.draw(st.sampled_from([b"", b"\0\xff\n", b"{}\n", b'{"from": 3}\n', b"[[[\n"]))

    found = replayed([garbage if i in broken else line for i, line in enumerate(lines)])

    assert found is None or json.dumps(found.data) in map(json.dumps, history)


def test_a_save_that_never_came_to_pass_is_passed_over(tmp_path: Path) -> None:
    """The log is ahead of the file by a line when a command dies; the next one starts before it."""
    path = tmp_path / "log"
    old, never, new = {"a": 1}, {"a": 2}, {"a": 3, "b": 4}
    log_of(path, [old, never])

    ChangeLog(path).append((old, digest_of(old)), new, digest_of(new))

    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"state"' not in lines[-1]
    found = replayed(lines)
    assert found is not None
    assert found.whole
    assert found.data == new


def test_after_a_line_cut_short_the_log_begins_anew(tmp_path: Path) -> None:
    """A crash while a line was written costs nothing but that line."""
    path = tmp_path / "log"
    old, new = {"a": 1}, {"a": 2}
    log_of(path, [old])
    with path.open("ab") as file:
        file.write(b'{"from": "')

    ChangeLog(path).append((old, digest_of(old)), new, digest_of(new))

    found = replayed(path.read_bytes().splitlines(keepends=True))
    assert found is not None
    assert found.whole
    assert found.data == new


def test_a_line_of_a_command_that_had_lost_the_lock_is_passed_over(tmp_path: Path) -> None:
    """It starts from a state that others had left behind by then."""
    path = tmp_path / "log"
    history = [{"a": 1}, {"a": 2}, {"a": 3}]
    lines = log_of(path, history)
    stray = json.dumps({"from": digest_of(history[0]), "to": "x", "changes": [[["a"], 9]]}) + "\n"

    found = replayed([lines[0], lines[1], stray.encode(), lines[2]])

    assert found is not None
    assert found.whole
    assert found.data == history[-1]


def test_a_line_without_its_beginning_leads_nowhere(tmp_path: Path) -> None:
    """A line that does not say which file it starts from cannot be followed, and ends nothing."""
    path = tmp_path / "changes.jsonl"
    path.write_text('{"to": "a", "state": {}}\n', encoding="utf-8")
    assert ChangeLog(path).replayed() is None
