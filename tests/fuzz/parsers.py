"""Every reader of the package by name: what it is given, and the errors that it may raise."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

from pipeline import canary, claim, strict_json
from pipeline.changes import ChangeLog
from pipeline.collect import fingerprint_of, outcome_of, row_of
from pipeline.curves import read_curve
from pipeline.doctor.files import file_system_of
from pipeline.doctor.node_report import ANSWER, NodeReport, read_report
from pipeline.doctor.repair import _parsed
from pipeline.doctor.strays import _claimant
from pipeline.doctor.torch_probe import TorchFacts, torch_facts
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.failures.classify import classify
from pipeline.failures.evidence import Evidence, Traces
from pipeline.failures.traces import tail_of
from pipeline.files import read_bytes
from pipeline.lease import read as read_lease
from pipeline.logs import end_of
from pipeline.plan import plan_study
from pipeline.profiles import load_profile
from pipeline.progress import first_and_last, last_report
from pipeline.publish import outputs_exist
from pipeline.recordings import RecordingError, parse_recording
from pipeline.remains import remains_in
from pipeline.report import render_report
from pipeline.results import ResultFileError, read_failure, read_result, read_task
from pipeline.salvage import salvaged
from pipeline.scheduler import cluster_text, probe, slurm, slurm_query
from pipeline.scheduler.local import LocalScheduler
from pipeline.scheduler.refusals import recognise
from pipeline.scheduler.sbatch import job_id_in
from pipeline.seeds import parse_seeds
from pipeline.snapshot import recorded_sources
from pipeline.state import RunRecord, State
from pipeline.store import StateStore, encode
from pipeline.study import load_study
from pipeline.view import view_of
from pipeline.words import harmless, one_line
from pipeline.workspace import Workspace, shared_file
from tests.fuzz import specimens as given
from tests.fuzz.specimens import Specimens
from tests.pipeline.published import report_input

Content = Callable[[Specimens], bytes]
Call = Callable[[Specimens, Path, bytes], object]
"""Gets a folder of its own to put the content into."""


@dataclass(frozen=True)
class Parser:
    """One reader."""

    content: Content
    """What it reads when all is well."""
    call: Call
    errors: tuple[type[Exception], ...] = ()
    cost: int = 1
    """How many times fewer examples it gets."""


def _file(pattern: str) -> Content:
    return lambda specimens: specimens.file(pattern).read_bytes()


def _of_run(name: str) -> Content:
    return lambda specimens: (specimens.run_dir / name).read_bytes()


def _text(text: str) -> Content:
    return lambda _: text.encode()


def _written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def _in(name: str, read: Callable[[Path], object]) -> Call:
    """A reader of a file of that name."""
    return lambda _, folder, content: read(_written(folder, name, content))


def _study(specimens: Specimens, folder: Path, content: bytes) -> None:
    shutil.copy(specimens.workspace.root / "toy.py", folder)
    study = load_study(_written(folder, "study.toml", content))
    if sum(len(phase.seeds) for phase in study.file.phases.values()) < 2000:
        plan_study(study)
    study.plan_digest()


def _state(specimens: Specimens, folder: Path, content: bytes) -> None:
    _written(folder, "pipeline.json", content)
    state = StateStore(folder).load()
    if state is not None:
        _usable(specimens.workspace, state)


def _usable(workspace: Workspace, state: State) -> None:
    json.dumps(view_of(workspace, state).as_json(), allow_nan=False)
    encode(state)


def _old_state(specimens: Specimens) -> bytes:
    del specimens
    return (Path(__file__).parents[1] / "data" / "state_v1.json").read_bytes()


def _seal(specimens: Specimens, folder: Path, content: bytes) -> None:
    state = specimens.workspace.state_dir / "pipeline.json"
    _written(folder, "pipeline.json", state.read_bytes())
    _written(folder, "pipeline.json.sha256", content)
    assert StateStore(folder).load() == StateStore(specimens.workspace.state_dir).load()


def _result(specimens: Specimens, folder: Path, content: bytes) -> None:
    path = _written(folder, "result.json", content)
    state = StateStore(specimens.workspace.state_dir).load()
    assert state is not None
    run: RunRecord = state.runs[specimens.run]
    outcome = outcome_of(folder, specimens.run, run)
    if outcome is not None and outcome.result_digest is not None:
        _usable(
            specimens.workspace,
            replace(state, runs={**state.runs, specimens.run: replace(run, device_seconds=1.0)}),
        )
    found = read_result(path)
    if found is not None:
        row_of(found[0], "runs/a/b/result.json")
        fingerprint_of(found[0])


def _claimed(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    _claimant(_written(folder, "attempt.json", content))
    claim.claim(folder, "t0k3n").check()


def _salvage(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    _written(folder, "changes.jsonl", content)
    _written(folder, "pipeline.json.bak", content)
    salvaged(StateStore(folder))


def _lost(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    _written(folder, "task-0000.json", content)
    _written(folder, "process.json", content)
    remains_in(folder)


def _process(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    _written(folder, "process.json", content)
    with patch("psutil.process_iter", lambda _: []):
        found = LocalScheduler().find("no-such-token", folder)
    assert found is None or int(found.job_id) >= 0


def _origin(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    (folder / ".state" / "code").mkdir(parents=True)
    _written(folder, ".state/code/abc.json", content)
    recorded_sources(Workspace(folder), "abc")


def _metrics(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    path = _written(folder, "metrics.jsonl", content)
    first_and_last(path)
    report = last_report(path)
    canary.standing([], 1)
    canary._is_bad(report)
    for step, value in read_curve(path, "loss").items():
        assert step >= 0
        assert abs(value) < 1e18


def _log(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    path = _written(folder, "log.out", content)
    text = tail_of(path) or ""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", harmless(text))
    for line in classify(Evidence(traces=Traces(log=text, log_exists=True))).evidence:
        assert line == one_line(line)
    end_of(path, 40)


def _answer(specimens: Specimens) -> bytes:
    del specimens
    return (
        NodeReport(
            nonce="n", host="h", time=1.0, python="3.11", executable="/p", cores=2,
            free_memory_gb=1.0, trainer_error=None, torch=TorchFacts(),
        )
        .model_dump_json()
        .encode()
    )  # fmt: skip


def _report_of_node(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    _written(folder, ANSWER, content)
    read_report(folder)


def _template(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    _written(folder, "RESULTS.md.j2", content)
    render_report(report_input(), [folder, shared_file("templates")])


def _published(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens
    _written(folder, "RESULTS.md", content)
    outputs_exist(Workspace(folder))


def _told(call: Callable[[str], object]) -> Call:
    """A reader of what a program printed."""

    def read(specimens: Specimens, folder: Path, content: bytes) -> None:
        del specimens, folder
        call(content.decode("utf-8", "replace"))

    return read


def _scontrol(text: str) -> None:
    with patch.object(slurm_query, "_MOST_ELEMENTS", 1000):
        slurm_query.parse_scontrol(text)


def _most(text: str) -> None:
    with patch.object(slurm, "run", lambda *_: text):
        assert slurm._most_tasks.__wrapped__("scontrol", None) >= 1


def _found(text: str) -> None:
    with (
        patch.object(slurm, "run", lambda *_: text),
        patch.object(slurm, "attempt", lambda *_: text),
    ):
        found = slurm.SlurmScheduler().find("t0k3n", Path("unused"))
        assert found is None or found.job_id.isdecimal()


def _looked_at(text: str) -> None:
    with patch.object(probe, "call", lambda *_: text):
        probe.look_at_probe("100")


def _torch(text: str) -> None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return
    torch_facts(data)


def _json(specimens: Specimens, folder: Path, content: bytes) -> None:
    del specimens, folder
    strict_json.parsed(strict_json.decoded(content))


OURS: tuple[type[Exception], ...] = (PipelineError,)
PARSERS: dict[str, Parser] = {
    "study.toml": Parser(_file("study.toml"), _study, OURS, 2),
    "the shipped study.toml": Parser(
        lambda _: shared_file("study.toml").read_bytes(), _study, OURS, 8
    ),
    "profiles.toml": Parser(
        _file("slurm/profiles.toml"),
        _in("profiles.toml", lambda path: load_profile(path, "cluster")),
        OURS,
    ),
    "pipeline.json": Parser(_file(".state/pipeline.json"), _state, OURS),
    "pipeline.json of schema 1": Parser(_old_state, _state, OURS),
    "the state's seal": Parser(_file(".state/pipeline.json.sha256"), _seal),
    "any JSON": Parser(_file(".state/pipeline.json"), _json, (strict_json.JsonError,)),
    "log of changes": Parser(
        _file(".state/changes.jsonl"),
        _in("changes.jsonl", lambda path: ChangeLog(path).replayed()),
    ),
    "salvage": Parser(_file(".state/changes.jsonl"), _salvage),
    "journal": Parser(
        _file(".state/journal.jsonl"), _in("journal.jsonl", lambda path: list(_parsed(path)))
    ),
    "task files of a lost job": Parser(_file("slurm/logs/*/task-0000.json"), _lost, OURS),
    "result.json": Parser(_of_run("result.json"), _result, (ResultFileError,)),
    "failure.json": Parser(_file("failure.json"), _in("failure.json", read_failure)),
    "task file": Parser(
        _file("slurm/logs/*/task-0000.json"),
        _in("task-0000.json", read_task),
        (ResultFileError,),
    ),
    "attempt.json": Parser(_of_run("attempt.json"), _claimed, (claim.SupersededError,)),
    "process.json": Parser(_file("process.json"), _process),
    "metrics.jsonl": Parser(_file("runs/multiseed/**/metrics.jsonl"), _metrics),
    "diagnostics.npz": Parser(
        _file("diagnostics.npz"), lambda *given: parse_recording(given[2]), (RecordingError,)
    ),
    "origin of a code copy": Parser(_file(".state/code/*.json"), _origin),
    "lock": Parser(
        _text(
            '{"host": "a", "boot": "b", "started": "1", "pid": 1, "since": "2026-01-01T00:00:00Z"}'
        ),
        _in("lock", read_lease),
    ),
    "log": Parser(_text(given.LOG), _log),
    "answer.json": Parser(_answer, _report_of_node, OURS),
    "a user's template": Parser(
        lambda _: shared_file(given.TEMPLATE).read_bytes(), _template, OURS, 10
    ),
    "RESULTS.md": Parser(_file("RESULTS.md"), _published),
    "any file": Parser(_text("x"), _in("x", read_bytes)),
    "seeds": Parser(_text("0-9, 12"), _told(parse_seeds), (ValueError,)),
    "squeue": Parser(_text(given.SQUEUE), _told(slurm_query.parse_squeue)),
    "sacct": Parser(
        _text(given.SACCT), _told(lambda text: slurm_query.parse_sacct(text, ["t0k3n"]))
    ),
    "scontrol show job": Parser(_text(given.SCONTROL), _told(_scontrol)),
    "scontrol show config": Parser(
        _text(given.CONFIG),
        _told(lambda text: (cluster_text.parse_settings(text), cluster_text.controller_time(text))),
    ),
    "largest array": Parser(_text(given.CONFIG), _told(_most)),
    "job by token": Parser(_text("100|toy-pilot-t0k3n\n"), _told(_found)),
    "probe in squeue": Parser(_text("100|PENDING|Priority\n"), _told(_looked_at)),
    "partitions": Parser(_text(given.PARTITIONS), _told(cluster_text.parse_partitions)),
    "nodes": Parser(_text(given.NODES), _told(cluster_text.parse_nodes)),
    "QOS": Parser(_text(given.QOS), _told(cluster_text.parse_qos)),
    "associations": Parser(_text(given.ASSOCIATIONS), _told(cluster_text.parse_associations)),
    "sbatch": Parser(_text(given.SBATCH), _told(job_id_in), (SchedulerUnreachableError,)),
    "refusals of sbatch": Parser(_text("sbatch: error: QOSMaxSubmit"), _told(recognise)),
    "mountinfo": Parser(
        _text(given.MOUNTS), _told(lambda text: file_system_of(Path("/mnt2/a"), text))
    ),
    "torch's facts": Parser(_text(given.TORCH), _told(_torch)),
}


def assert_plain(error: Exception) -> None:
    """An error says what it has to say, and none of ours stands in it."""
    words = str(error)
    assert words
    assert "Traceback" not in words


def assert_read_or_refused(parser: Parser, specimens: Specimens, content: bytes) -> None:
    """A reader takes the content without a warning, or refuses it in plain words."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            parser.call(specimens, Path(folder), content)
        except parser.errors as error:
            assert_plain(error)
