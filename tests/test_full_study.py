"""One GPU, a study in pieces: `benchmarks.full_study`, at a size that a CPU trains in seconds."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import example
from benchmarks.example import ExampleError, collect, described
from benchmarks.full_study import make_workspace
from pipeline.advance import advance
from pipeline.pause import pause
from pipeline.plan import pack, plan_phase
from pipeline.site import open_site
from pipeline.state import RunRecord, RunStatus, State
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.pipeline.conftest import wait_for

ROOT = Path(__file__).parents[1]
MINIATURE = ROOT / "templates" / "studies" / "miniature.toml"
SMALLER = {
    "matrix_size = 6": "matrix_size = 3",
    "hidden_width = 128": "hidden_width = 16",
    "batch_size = 256": "batch_size = 16",
    "learning_rate = 2e-3": (
        'learning_rate = 2e-3\nschedule = { shape = "cosine", warmup_steps = 500 }'
    ),
    "steps = 600": "steps = 2500",
    "held_out_size = 2048": "held_out_size = 64",
    "curve_every = 100": "curve_every = 500",
    "curve_size = 256": "curve_size = 64",
    'seeds = "0-9"\nconditions = ["baseline", "random", "adversarial"]': (
        'seeds = "0-7"\nconditions = ["baseline", "random"]'
    ),
}
PROFILES = """
[profiles.local]
backend = "local"
max_running = 2
stack_size = 30
signal_lead_s = 20
poll_interval_s = 0.2
"""


def smaller(folder: Path) -> Workspace:
    """A workspace with two conditions of the miniature's multiseed phase, made smaller."""
    text = MINIATURE.read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        assert old in text
        text = text.replace(old, new, 1)
    text = re.sub(r"\[hypotheses\.adversarial[^\[]*", "", text)
    before, _, phases = text.partition("[phases.pilot]")
    multiseed = phases[phases.index("[phases.multiseed]") : phases.index("# What may explain")]
    (folder / "slurm").mkdir(parents=True)
    (folder / "study.toml").write_text(before + multiseed, encoding="utf-8")
    (folder / "slurm" / "profiles.toml").write_text(PROFILES, encoding="utf-8")
    return Workspace(folder)


def results_of(folder: Path) -> dict[str, dict[str, Any]]:
    """All results by run."""
    paths = sorted(folder.glob("runs/*/*/result.json"))
    return {path.parent.name: json.loads(path.read_bytes()) for path in paths}


def furthest(workspace: Workspace) -> int:
    """The last step that any run has reported."""
    lines = [
        p.read_text().splitlines() for p in workspace.runs_dir.glob("*/*/attempts/*/metrics.jsonl")
    ]
    return max((int(json.loads(found[-1])["step"]) for found in lines if found), default=0)


def run(*command: str) -> str:
    """Run a module of ours, which has to succeed; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_study_in_pieces_has_the_same_bits_and_becomes_an_example(tmp_path: Path) -> None:
    """Stopped in the middle of training and gone on with, every metric is that of one piece.

    What is collected is a few files that say the same, and none of the machine's folders.
    """
    whole, parts, made = smaller(tmp_path / "whole"), smaller(tmp_path / "parts"), tmp_path / "e"
    site = open_site(parts, None)
    advance(site)
    wait_for(lambda: furthest(parts) > 0)
    stopped = pause(site)
    assert {r.status for r in stopped.state.runs.values()} == {RunStatus.PLANNED}
    assert 0 < furthest(parts) < 2500
    options = ["--for-min", "5", "--profile", "local", "--example", str(made)]
    printed = run("benchmarks.full_study", "--workspace", str(parts.root), *options)
    assert "all phases are complete" in printed
    run("pipeline", "advance", "--watch", "--workspace", str(whole.root))

    ours, theirs = results_of(parts.root), results_of(whole.root)
    assert len(ours) == 16
    assert max(result["details"]["resumed_from_step"] for result in ours.values()) > 0
    for name, result in theirs.items():
        assert ours[name]["metrics"] == result["metrics"], name
    check_example(made, parts, ours)


def check_example(made: Path, parts: Workspace, results: dict[str, dict[str, Any]]) -> None:
    """It holds all results, a report that agrees with them, and nothing else."""
    assert results_of(made) == results
    assert not list(made.rglob("checkpoint*"))
    readme = (made / "README.md").read_text(encoding="utf-8")
    assert "| baseline | 8 |" in readme
    assert "| affine | |" in readme
    took = re.search(r"- multiseed: 16 runs in 4 attempts of (.*) together, of which (.*);", readme)
    assert took is not None
    assert re.fullmatch(r"\d.* s training and \d.* s final scores", took[2])
    assert "--profile local" in readme
    assert "None" not in readme
    said = run("pipeline", "report", "--check", "--workspace", str(made))
    assert "are what the results give" in said
    for path in (path for path in made.rglob("*") if path.is_file()):
        assert str(parts.root).encode() not in path.read_bytes(), path
    curve = next(made.glob("runs/*/*/attempts/*/metrics.jsonl")).read_text().splitlines()
    assert [json.loads(line)["step"] for line in curve] == [*range(0, 2501, 500)]


def test_the_workspace_of_the_day_is_the_published_study_in_tf32(tmp_path: Path) -> None:
    """One stack of ten seeds for each condition on one GPU, a task at a time."""
    make_workspace(tmp_path / "study", "ired", "tf32")

    site = open_site(Workspace(tmp_path / "study"), "gpu")
    assert (site.profile.backend, site.profile.gpus) == ("local", 1)
    runs = plan_phase(site.study, "multiseed")
    assert {run.config["precision"] for run in runs} == {"tf32"}
    tasks = pack(site.study, runs, site.profile.stack_size)
    assert [len(task.runs) for task in tasks] == [10, 10, 10]
    written = tomllib.loads((tmp_path / "study" / "study.toml").read_text(encoding="utf-8"))
    published = tomllib.loads((ROOT / "study.toml").read_text(encoding="utf-8"))
    assert written["config"].pop("precision") == "tf32"
    assert written == published


def test_the_published_values_stand_beside_ours() -> None:
    """In the README of the full study's example, and in no other study's."""
    runs = {
        f"multiseed/{name}-s{seed}": RunRecord(
            phase="multiseed", condition=name, seed=seed, config_digest="0", status=RunStatus.DONE
        )
        for name in ("baseline", "adversarial")
        for seed in (0, 1)
    }
    state = State(study="ired-negative-mining", study_digest="0", profile="gpu", runs=runs)
    results = {
        key: {
            "condition": run.condition,
            "metrics": {"validation_mse": {"value": 0.0095 + 0.0002 * run.seed}},
            "references": {"validation_mse": {"affine": {"value": 0.00956}}},
            "attempt": {"token": run.condition, "task": 0},
            "details": {
                "device": "NVIDIA H100",
                "precision": "tf32",
                "torch": "2.13.0+cu130",
                "train_seconds": 200.0,
                "evaluation_seconds": 40.0,
            },
            "versions": {"torch": "2.13.0"},
            "code": {"commit": "abc", "dirty": True},
        }
        for key, run in runs.items()
    }

    text = described(state, results, ["make gpu-study"])

    assert "| baseline | 2 | 0.009600 | 0.00014 | 0.00969245 |" in text
    assert "| adversarial | 2 | 0.009600 | 0.00014 | 0.00977702 |" in text
    assert "| affine | | 0.009560 | | |" in text
    assert "- device: NVIDIA H100" in text
    assert "- torch: 2.13.0+cu130\n" in text
    assert "- commit: abc, changed\n" in text
    other = described(replace(state, study="other"), results, [])
    assert "0.00969245" not in other


def example_of(folder: Path, study: str) -> None:
    """A folder that looks like an example of a study."""
    (folder / ".state").mkdir(parents=True)
    StateStore(folder / ".state").save(State(study=study, study_digest="0", profile="gpu"))
    (folder / "README.md").write_text("of before")


def test_an_example_replaces_one_of_the_same_study_and_nothing_else(tmp_path: Path) -> None:
    """Somebody's folder, or another study's example, is not what --example may remove."""
    for study in ("ours", "other"):
        example_of(tmp_path / study, study)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("all there is")

    assert collect(tmp_path / "ours", tmp_path / "new" / "example", []) > 0
    assert collect(tmp_path / "ours", tmp_path / "new" / "example", []) > 0
    for name in ("other", "thesis"):
        with pytest.raises(ExampleError, match="no example of ours; name another folder"):
            collect(tmp_path / "ours", tmp_path / name, [])
    with pytest.raises(ExampleError, match="nothing was run there"):
        collect(tmp_path / "thesis", tmp_path / "e", [])

    assert "# ours: what was run" in (tmp_path / "new" / "example" / "README.md").read_text()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["example"]
    assert (tmp_path / "other" / "README.md").read_text() == "of before"
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_an_example_that_cannot_be_written_leaves_the_one_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in the middle costs nothing."""
    example_of(tmp_path / "ours", "ours")
    example_of(tmp_path / "e", "ours")

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(example, "described", full)
    with pytest.raises(OSError, match="No space left"):
        collect(tmp_path / "ours", tmp_path / "e", [])

    assert (tmp_path / "e" / "README.md").read_text() == "of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "ours"]


def test_what_the_command_is_told_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    """A template or profile that does not exist: exit code 2, no traceback, nothing promised."""
    place = ["--workspace", str(tmp_path / "w"), "--example", str(tmp_path / "e")]
    for wrong in (["--template", "no-such"], ["--profile", "no-such"]):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.full_study", *place, *wrong],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert 'no-such"' in done.stderr
        assert "Traceback" not in done.stderr
        assert "run it again" not in done.stdout
    assert not (tmp_path / "e").exists()
