"""Plain cases of hostile input, each once a traceback, a hang or a wrong number."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from pipeline import strict_json
from pipeline.canary import _is_bad
from pipeline.doctor.torch_probe import ask_torch
from pipeline.errors import PipelineError
from pipeline.files import append_line, read_bytes
from pipeline.progress import last_report
from pipeline.results import ResultFileError, read_result
from pipeline.scheduler.commands import ClientError, call
from pipeline.scheduler.local import LocalScheduler
from pipeline.scheduler.slurm_query import indices, parse_sacct, parse_squeue, seconds
from pipeline.state import State
from pipeline.store import StateStore
from pipeline.study import load_study
from pipeline.words import duration
from pipeline.workspace import Workspace
from tests.faults import faulty
from tests.inprocess import Cluster, Stage, installed, make_workspace, pipeline
from tests.pipeline.conftest import TOY_STUDY, Cli, state_of

DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("steps = 3", "steps = 1979-05-27", "a config holds no dates; put it in quotes"),
        ("steps = 3", "steps = 1e400", "finite numbers only"),
        ("steps = 3", f"steps = {10**30}", "64 bits at most"),
        ("steps = 3", f"steps = {DIGITS}", "not valid TOML"),
        ("steps = 3", f"steps = {'[' * 5000}", "nested too deeply"),
        ("steps = 3", f"{'a.' * 500}a = 3", "nested too deeply"),
        ('seeds = "0-5"', 'seeds = "\N{ARABIC-INDIC DIGIT ZERO}"', "neither a seed nor a range"),
        ('trainer = "toy:ToyTrainer"', 'trainer = "toy:HOLD"', "toy:HOLD"),
    ],
)
def test_a_study_with_an_odd_value_is_refused_in_one_line(
    workspace: Workspace, old: str, new: str, words: str
) -> None:
    """The file and the key, or what is wrong with the file as a whole."""
    workspace.study_file.write_text(TOY_STUDY.replace(old, new), encoding="utf-8")
    with pytest.raises(PipelineError, match=words) as caught:
        load_study(workspace.study_file)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("study.toml")


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_what_windows_editors_add_is_no_fuss(
    workspace: Workspace, content: bytes, ends: str
) -> None:
    """A byte-order mark and its line ends."""
    workspace.study_file.write_bytes(content + TOY_STUDY.replace("\n", ends).encode())
    assert load_study(workspace.study_file).file.study.name == "toy"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sys; sys.exit(3)", "cannot import odd"),
        ("class Odd:\n  def __init__(self): raise KeyError('x')", "lacks config_type"),
        (
            "from toy import ToyTrainer as T\nclass Odd(T):\n def __init__(s): raise KeyError(1)",
            r"Odd\(\) fails \(KeyError",
        ),
    ],
)
def test_a_trainer_that_cannot_be_made_is_named(
    workspace: Workspace, source: str, words: str
) -> None:
    """Whatever its module does when it is imported."""
    (workspace.root / "odd.py").write_text(source)
    workspace.study_file.write_text(TOY_STUDY.replace("toy:ToyTrainer", "odd:Odd"))
    sys.modules.pop("odd", None)
    with pytest.raises(PipelineError, match=words):
        load_study(workspace.study_file)
    sys.modules.pop("odd", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', 'the key "a" stands twice'),
        ('{"a": NaN}', "NaN is no number"),
        (f'{{"a": {DIGITS}}}', "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1', r"1:8: not valid JSON"),
    ],
)
def test_json_that_two_readers_would_read_differently_is_refused(text: str, words: str) -> None:
    """With the place, where there is one."""
    with pytest.raises(strict_json.JsonError, match=words):
        strict_json.parsed(text)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe has no writer, a device no end, a large file no place in memory."""
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "pipe", "not a regular"), (Path("/dev/zero"), "not a regular")):
        with pytest.raises(OSError, match=words):
            read_bytes(path)
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path)
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_bytes(tmp_path / "large", 10)


def test_reading_takes_as_much_memory_as_there_is_to_read(tmp_path: Path) -> None:
    """On a login node that limits it (`ulimit -v`), not as much as a file might at most hold."""
    path = tmp_path / "small"
    path.write_bytes(bytes(1000))
    tracemalloc.start()
    read_bytes(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    """What a full disk or a crash left of a line does not spoil the next."""
    path = tmp_path / "a" / "journal.jsonl"
    append_line(path, '{"n": 1}')
    with faulty(tmp_path, matching="write a/journal"), pytest.raises(PipelineError):
        append_line(path, '{"n": 2}')
    assert path.read_text() == '{"n": 1}\n'
    path.write_text('{"n": 1}\n{"n": ')  # a crash in the middle of a line
    append_line(path, '{"n": 3}')
    assert path.read_text().splitlines() == ['{"n": 1}', '{"n": ', '{"n": 3}']


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"value": ', '"value": 1e101, "x": '),
        ('"count": 100', f'"count": {10**400}'),
        ('"train_seconds": 0.01', f'"train_seconds": {10**400}'),
        ('"wall_s": ', '"wall_s": 1e300, "x": '),
        ('"task": 0', '"task": 0, "task": 1'),
        ("{", "{" * 20_000),
    ],
)
def test_a_result_beyond_all_bounds_is_refused(done: Stage, old: str, new: str) -> None:
    """Sums of such numbers are not finite; of two equal keys nobody knows which one counts."""
    path = sorted(done.copy.glob("runs/pilot/*/result.json"))[0]
    text = path.read_text().replace(": ", ":").replace(":", ": ")
    assert old in text
    damaged = done.workspace.root / "result.json"
    damaged.write_text(text.replace(old, new, 1))
    with pytest.raises(ResultFileError, match=r"result\.json"):
        read_result(damaged)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A study whose pilot has ended."""
    folder = tmp_path_factory.mktemp("done")
    place = make_workspace(folder / "ws")
    with installed(Cluster()) as cluster:
        pipeline("advance", "-w", str(place.root))
        cluster.run()
        pipeline("advance", "-w", str(place.root))
        return Stage.of(place, cluster, folder / "kept")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"job_id": "100"', '"job_id": "²"'),
        ('"tries": 1', f'"tries": {10**400}'),
        ('"tries": 1', '"tries": 1, "tries": 2'),
        ('"submitted_at": "2', '"submitted_at": "0001-01-01T00:00:00+23:59", "x": "2'),
        ('"device_seconds": ', '"device_seconds": 1e200, "x": '),
    ],
)
def test_a_state_that_could_not_be_computed_with_is_refused(
    done: Stage, tmp_path: Path, old: str, new: str
) -> None:
    """With line and column, before anything is concluded from it."""
    text = (done.copy / ".state" / "pipeline.json").read_text()
    assert old in text
    (tmp_path / "pipeline.json").write_text(text.replace(old, new, 1))
    with pytest.raises(PipelineError, match=r"pipeline\.json:\d+:\d+"):
        StateStore(tmp_path).load()


def test_progress_beyond_all_numbers_is_not_finite(tmp_path: Path) -> None:
    """A loss of 400 digits is as bad as an infinite one."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 10**400}) + "\n")
    assert last_report(path)["loss"] == math.inf
    assert _is_bad(last_report(path))


def test_slurm_s_digits_are_bounded() -> None:
    """What no cluster counts to is no number; a range does not run for ever."""
    assert list(parse_squeue(f"1|{DIGITS}|RUNNING|n|1:00|a|b\n2|²|RUNNING|n|1:00|a|b")) == [
        ("1", None),
        ("2", None),
    ]
    (row,) = parse_sacct(f"1|COMPLETED|0:0|{DIGITS}|n|gres/gpu={DIGITS}|t", ["t"]).values()
    assert (row.status.elapsed_s, row.status.gpus) == (None, None)
    assert sum(1 for _ in indices("0-999999999")) == 4_000_001
    assert list(indices(f"0-{DIGITS}")) == []
    assert seconds(f"{DIGITS}-01:00:00") is None


@pytest.mark.parametrize("node", ["n1 --wrap=id", "a\x1b[31m", "(null)", "None assigned", "n1\n"])
def test_a_node_that_could_be_an_option_is_none(node: str) -> None:
    """A node may come to stand behind --exclude."""
    for row in parse_sacct(f"1|COMPLETED|0:0|1|{node}|c|t", ["t"]).values():
        assert row.status.node is None or "\n" in node


def test_a_broken_word_of_the_launch_counts_as_none(tmp_path: Path) -> None:
    """The task's processes are looked for instead."""
    for content in (b"", b"{", b"[]", '{"pid": "²"}'.encode(), b'{"pid": -1}', b"[" * 100_000):
        (tmp_path / "process.json").write_bytes(content)
        assert LocalScheduler().find("no-such-token", tmp_path) is None


def test_a_program_that_cannot_run_or_prints_no_text_is_told(tmp_path: Path) -> None:
    """Not executable for this machine, or bytes that are no text."""
    program = tmp_path / "squeue"
    program.write_bytes(b"\x7fELF no program")
    program.chmod(0o755)
    with pytest.raises(ClientError, match="Exec format error"):
        call(str(program))
    facts = ask_torch(10, ["printf", "\\377\\n"])
    assert facts.error == "importing torch printed nothing that can be read"


def test_a_terminal_without_our_letters_gets_them_escaped(
    workspace: Workspace, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label is no reason for a traceback where the encoding is ASCII."""
    workspace.study_file.write_text(TOY_STUDY.replace("Handicapped", "Gêné 漢"), encoding="utf-8")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ended = cli("plan")
    assert ended.returncode == 0
    assert "G\\xean\\xe9" in ended.stdout


def test_profiles_of_the_workspace_are_never_passed_over(workspace: Workspace) -> None:
    """A folder or a dangling link in their place does not send tasks to another profile."""
    path = workspace.root / "slurm" / "profiles.toml"
    path.parent.mkdir()
    path.symlink_to("gone")
    assert workspace.profiles_file() == path
    assert pipeline("plan", "-w", str(workspace.root)).code == 2


def test_durations_beyond_all_clocks_have_words() -> None:
    """Steps by a speed of almost nothing."""
    assert duration(math.inf) == duration(math.nan) == duration(1e30) == "more than 10,000 years"


def test_numbers_of_the_state_are_those_of_the_accepted_results(done: Stage) -> None:
    """A cost that was edited in the state does not reach the report."""
    done.put_back()
    path = done.workspace.state_dir / "pipeline.json"
    state = state_of(done.workspace)
    assert isinstance(state, State)
    took = next(r.device_seconds for r in state.runs.values() if r.device_seconds)
    path.write_text(path.read_text().replace(f'"device_seconds": {took}', '"device_seconds": 7e9'))
    ended = pipeline("report", "-w", str(done.workspace.root))
    assert ended.code == 2
    assert "result.json" in ended.err


def test_errors_without_a_file_name_say_what_happened(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails names no file of its own accord."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.outline.outline", fail)
    ended = pipeline("plan", "-w", str(workspace.root))
    assert ended.err == "error: No space left on device; nothing was lost\n"
    assert isinstance(sys.stdout, io.TextIOBase)
