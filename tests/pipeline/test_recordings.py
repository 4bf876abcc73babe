"""Files of instrumented runs: read without executing anything, and refused by name when broken."""

import dataclasses
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.analysis.table import Measurement, ResultTable, RunFacts, RunFile, RunRow
from pipeline.digest import digest_of
from pipeline.recordings import RecordingError, parse_recording, read_recordings
from pipeline.workspace import Workspace
from tests.pipeline.recorded import Planted, arrays_of, file_of, index_of, labels_of, recorded
from tests.training.helpers import FakeContext, FakeRun, config
from training.trainer import IREDTrainer

PLAIN = Planted()
ARRAYS, NAMES = arrays_of(PLAIN, 1), labels_of(PLAIN)
INDEX = index_of(ARRAYS, NAMES)


class Bomb:
    """What must never be unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


def archive(**arrays: Any) -> bytes:
    """An archive of any arrays, objects included."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def changed(**arrays: Any) -> bytes:
    """The file of a run with some arrays replaced; None takes one away."""
    whole = {"index": np.array(INDEX), **ARRAYS, **arrays}
    return archive(**{name: array for name, array in whole.items() if array is not None})


def big() -> bytes:
    """A small file that unpacks to much."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("step.npy", bytes(80_000_000))
    return content.getvalue()


def test_what_training_records_is_what_is_read() -> None:
    """The file of a real instrumented run, every array and label of it."""
    setting = config(mining={"strategy": "adversarial"}, diagnostics={"every": 2, "probes": 24})
    run = FakeRun("a", 3, setting)
    (outcome,) = IREDTrainer().train([run], FakeContext())
    found = parse_recording((run.directory / outcome.artefacts["diagnostics"]).read_bytes())
    assert found.labels["procedure"] == ("probe", "own")
    assert found.take("distance", procedure="own").shape == (len(found.steps), 24)
    assert set(outcome.diagnostics) <= set(found.explained)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no archive of arrays"),
        (b"every 2 steps", "no archive of arrays"),
        (pickle.dumps(Bomb()), "no archive of arrays"),
        (archive(index=np.array([Bomb()], dtype=object)), "no archive of arrays (ValueError)"),
        (changed()[:-400], "no archive of arrays"),
        (big(), "it unpacks to 80,000,000 bytes"),
        (archive(step=np.zeros(3)), "it has no index"),
        (archive(index=np.array("{")), "its index is broken"),
        (archive(index=np.array("[" * 100_000)), "its index is broken"),
        (archive(index=np.array("[1]")), "its index is broken"),
        (file_of(ARRAYS, NAMES, schema_version=2), "its schema is 2, known is 1"),
        (file_of(ARRAYS, NAMES, labels={}), "its index is broken (KeyError"),
        (file_of(ARRAYS, {**NAMES, "fixed": ["a", "b", "c"]}), "names ['a', 'b', 'c'] along fixed"),
        (file_of(ARRAYS, {**NAMES, "layer": ["all", "all"]}), "names ['all', 'all'] along layer"),
        (changed(gram=None), "it lacks gram"),
        (changed(step=np.array(["a"] * 4)), "step is no array of numbers over record"),
        (changed(step=np.zeros((4, 1))), "step is no array of numbers over record"),
        (changed(step=np.zeros(5)), "has 4 entries along record, not 5"),
        (changed(level=np.full(48, np.nan)), "level holds values that are not finite"),
        (changed(gram=np.zeros((2, 2, 5))), "no Gram matrix"),
    ],
)
def test_a_broken_file_says_what_is_wrong(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, by an error of ours alone; nothing in the file is executed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordingError) as caught:
        parse_recording(content)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("exploded").exists()


def table_of(root: Path, contents: dict[tuple[str, int], bytes | None]) -> ResultTable:
    """Runs that left these files; None for a run without one."""
    rows = []
    for (name, seed), content in contents.items():
        run_id = f"{name}-s{seed}"
        folder = root / "runs" / "d" / run_id
        folder.mkdir(parents=True)
        artefacts = {}
        if content is not None:
            (folder / "diagnostics.npz").write_bytes(content)
            path = f"runs/d/{run_id}/diagnostics.npz"
            artefacts["diagnostics"] = RunFile(path, digest_of(content))
        loss = {"loss": Measurement(1.0, 0.1, 9)}
        facts = RunFacts(f"runs/d/{run_id}/result.json")
        rows.append(RunRow("d", name, seed, run_id, loss, {}, {}, facts, {}, artefacts))
    return ResultTable("d", tuple(contents), tuple(rows))


def test_a_run_without_a_usable_file_is_a_hole_by_name(tmp_path: Path) -> None:
    """None left, gone, changed, broken, or measured on other probes: the others are read."""
    good = recorded(PLAIN, 1)[1]
    table = table_of(
        tmp_path,
        {
            ("base", 1): good,
            ("base", 2): None,
            ("base", 3): good,
            ("base", 4): good,
            ("base", 5): b"broken",
            ("base", 6): changed(representation_step=np.array([0, 20])),
            ("arm", 1): changed(fixed_distance=ARRAYS["fixed_distance"] + 1),
            ("arm", 2): changed(step=ARRAYS["step"] * 2),
            ("arm", 3): recorded(Planted(own=True), 3)[1],
            ("arm", 4): good,
        },
    )
    (tmp_path / "runs/d/base-s3/diagnostics.npz").unlink()
    (tmp_path / "runs/d/base-s4/diagnostics.npz").write_bytes(good + b" ")

    found, left_out = read_recordings(Workspace(tmp_path), table)

    assert {name: list(of) for name, of in found.items()} == {"base": [1], "arm": [3]}
    whys = {run.run_id: run.why for run in left_out}
    assert whys == {
        "base-s2": "it left no diagnostics",
        "base-s3": "diagnostics.npz is gone",
        "base-s4": "diagnostics.npz is not the file that the run left (its digest differs)",
        "base-s5": whys["base-s5"],
        "base-s6": "its representation_step is another than that of base-s1",
        "arm-s1": "its fixed_distance is another than that of base-s1",
        "arm-s2": "its step is another than that of base-s1",
        "arm-s4": "its term is another than that of arm-s3",
    }
    assert whys["base-s5"].startswith("diagnostics.npz: it is no archive of arrays")


def test_a_file_that_cannot_be_read_is_a_hole(tmp_path: Path) -> None:
    """A folder in its place, for one."""
    table = table_of(tmp_path, {("base", 1): recorded(PLAIN, 1)[1]})
    path = tmp_path / "runs/d/base-s1/diagnostics.npz"
    path.unlink()
    path.mkdir()
    _, (hole,) = read_recordings(Workspace(tmp_path), table)
    assert "diagnostics.npz cannot be read (Is a directory)" in hole.why
    assert dataclasses.asdict(hole)["seed"] == 1
