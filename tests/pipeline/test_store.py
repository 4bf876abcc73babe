"""The state file: what is written is read back, and what is broken is named and left alone."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.failures.kinds import FailureClass
from pipeline.state import ALLOWED, RunStatus
from pipeline.state_check import position, validate
from pipeline.store import StateStore, decode, encode
from tests.pipeline.states import a_state

DATA = Path(__file__).parents[1] / "data"


def stored(tmp_path: Path) -> StateStore:
    """A store that holds `a_state()` and its predecessor as the last good copy."""
    store = StateStore(tmp_path / ".state")
    store.save(replace(a_state(), profile="local"))
    store.save(a_state())
    return store


names = st.text(st.characters(codec="utf-8"), max_size=12)


@given(
    profile=names,
    reason=st.none() | names,
    status=st.sampled_from(RunStatus),
    seconds=st.none() | st.floats(0, 1e9),
)
def test_what_is_encoded_is_read_back_checked_or_not(
    profile: str, reason: str | None, status: RunStatus, seconds: float | None
) -> None:
    """The quick reader and the validating reader agree with what was written."""
    runs = a_state().runs
    index = list(RunStatus).index(status)
    key = f"multiseed/a-s{index}"
    runs[key] = replace(runs[key], reason=reason, gpu_seconds=seconds)
    state = replace(a_state(), profile=profile, runs=runs)

    content = encode(state)

    assert decode(json.loads(content)) == validate(content) == state


def test_the_file_holds_one_record_a_line(tmp_path: Path) -> None:
    """grep finds a run with all that is known of it, in a file sorted by run."""
    lines = stored(tmp_path).path.read_text(encoding="utf-8").splitlines()

    runs = [line.strip() for line in lines if line.startswith('    "multiseed/')]
    assert len(runs) == 5
    assert runs == sorted(runs)
    assert all('"seed"' in line for line in runs)


@pytest.mark.parametrize("tokens", [("aa", "bb"), ("bb", "aa")])
def test_submissions_of_one_second_stay_in_the_order_they_were_made(
    tmp_path: Path, tokens: tuple[str, str]
) -> None:
    """Tokens are random and moments whole seconds: the file's order says which try came last."""
    store = StateStore(tmp_path / ".state")
    job = a_state().jobs["t0k3n"]
    runs = {"multiseed/a-s1": replace(a_state().runs["multiseed/a-s1"], job=tokens[1])}
    store.save(replace(a_state(), runs=runs, jobs=dict.fromkeys(tokens, job)))

    read = store.load()

    assert read is not None
    assert read.attempts()["multiseed/a-s1"] == [(token, 0) for token in tokens]


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('"status": "done"', '"status": "finished"', "status", 'unknown status "finished"'),
        ('"status": "done"', '"state": "done"', "state", "unknown key"),
        ('"seed": 3', '"seed": "3"', "seed", '"3"'),
        ('"kind": "multiseed"', '"kind": 7', "kind", "7"),
        ('"task": 0', '"task": 7', "task", "has no task 7"),
        ('"task": 0', '"task": null', "job", "job and task belong together"),
        ('"task": 0}', '"task": 0,}', None, "not valid JSON"),
        ('"backend": "slurm"', '"backend": "slrm"', "backend", "slrm"),
        ('"job_id": "56602458"', '"job_id": "abc"', "job_id", "no job id"),
        ("2026-01-23T10:00:00+00:00", "yesterday", "submitted_at", "yesterday"),
        ('"schema_version": 2', '"schema_version": 0', "schema_version", "unknown schema 0"),
        ('"kind": "bad_gpu"', '"kind": "sad_gpu"', "kind", "sad_gpu"),
        ('"until": "2026-01-24', '"until": "never', "until", "is no time"),
        ('"job": "t0k3n"', '"job": "other"', "job", 'unknown job "other"'),
    ],
)
def test_a_hand_edited_file_is_refused_with_line_column_and_the_way_back(
    tmp_path: Path, old: str, new: str, where: str | None, what: str
) -> None:
    """The error points at the edit, names the repair, and nothing is overwritten."""
    store = stored(tmp_path)
    text = store.path.read_text(encoding="utf-8")
    assert old in text
    broken = text.replace(old, new, 1)
    store.path.write_text(broken, encoding="utf-8")
    line = broken[: broken.index(new)].count("\n") + 1

    with pytest.raises(PipelineError) as caught:
        store.load()

    message = str(caught.value)
    assert message.startswith(f"{store.path}:{line}:")
    assert what in message
    assert where is None or where in message
    assert "`pipeline doctor --repair`" in message
    assert store.path.read_text(encoding="utf-8") == broken
    assert StateStore(tmp_path / ".state").backup.read_bytes() == encode(
        replace(a_state(), profile="local")
    )


def test_a_trailing_comma_is_shown_by_line_and_column(tmp_path: Path) -> None:
    """The mistake that broke the original's state file 13 times is found to the character."""
    store = stored(tmp_path)
    text = store.path.read_text(encoding="utf-8").replace("\n  }\n}", ",\n  }\n}")
    store.path.write_text(text, encoding="utf-8")

    with pytest.raises(PipelineError, match=r"pipeline\.json:\d+:\d+: not valid JSON"):
        store.load()


@given(st.binary(max_size=300))
def test_garbage_is_refused_by_name_and_never_by_a_traceback(content: bytes) -> None:
    """Whatever bytes stand in the file, the reader answers with a place and a reason."""
    from pipeline.state_check import StateFileError

    with pytest.raises(StateFileError, match=r"^\d+:\d+: "):
        validate(content)


@given(st.integers(0, 2000))
def test_a_truncated_file_is_refused(length: int) -> None:
    """A file cut off anywhere never passes for a state."""
    from pipeline.state_check import StateFileError

    content = encode(a_state())
    with pytest.raises(StateFileError):
        validate(content[: min(length, len(content) - 3)])


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A state of a later version is not guessed at."""
    store = stored(tmp_path)
    text = store.path.read_text(encoding="utf-8")
    store.path.write_text(text.replace('"schema_version": 2', '"schema_version": 99'))

    with pytest.raises(PipelineError, match="newer version"):
        store.load()


def test_a_vanished_file_is_not_taken_for_a_fresh_start(tmp_path: Path) -> None:
    """Without the state but with its copy nothing is submitted anew."""
    store = stored(tmp_path)
    store.path.unlink()

    with pytest.raises(PipelineError, match="is gone"):
        store.load()


def test_a_state_of_schema_1_loads_for_ever() -> None:
    """A file of that schema is read by every later version; a failed run waits for a person."""
    assert validate((DATA / "state_v1.json").read_bytes()) == replace(a_state(), bad_nodes={})


def test_a_state_of_schema_2_loads_for_ever(tmp_path: Path) -> None:
    """So is a file of the schema with failures, attempts and bad nodes; saving keeps it."""
    state = validate((DATA / "state_v2.json").read_bytes())

    assert state.jobs["t0k3n"].tasks[0].failures[0].kind is FailureClass.HOST_OUT_OF_MEMORY
    assert state.runs["multiseed/a-s4"].failure is FailureClass.HOST_OUT_OF_MEMORY
    store = StateStore(tmp_path / ".state")
    store.save(state)
    assert store.load() == state


def test_reading_an_untouched_state_needs_no_pydantic(tmp_path: Path) -> None:
    """The seal stands for the validation that was done when the file was written."""
    stored(tmp_path)
    code = (
        "import sys; from pathlib import Path; from pipeline.store import StateStore; "
        f"StateStore(Path({str(tmp_path / '.state')!r})).load(); "
        "print('pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_a_full_disk_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way is reported, and the file is what it was."""
    store = stored(tmp_path)
    before = store.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.files.os.fsync", full)
    with pytest.raises(PipelineError, match="No space left on device"):
        store.save(replace(a_state(), profile="other"))
    monkeypatch.undo()

    assert store.path.read_bytes() == before
    assert not list(store.path.parent.glob(".pipeline.json.*"))


@pytest.mark.parametrize("start", RunStatus)
@pytest.mark.parametrize("end", RunStatus)
def test_only_allowed_transitions_pass(start: RunStatus, end: RunStatus) -> None:
    """A run moves as the table of transitions says; anything else is a bug that shows at once."""
    run = replace(a_state().runs["multiseed/a-s0"], status=start)
    if end is start or end in ALLOWED[start]:
        assert run.moved(end).status is end
    else:
        with pytest.raises(AssertionError):
            run.moved(end)


def test_position_counts_lines_and_columns_from_one() -> None:
    """A key path is found in nested JSON, or its nearest parent."""
    text = '{\n  "a": [1,\n    {"b": 2}]\n}'

    assert position(text, ["a", 1, "b"]) == "3:11"
    assert position(text, ["a", 5]) == "2:8"
