"""Stopped anywhere, by a signal or by kill -9, and resumed: the bits of a run never stopped."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.helpers import (
    MININGS,
    SCHEDULES,
    FakeContext,
    FakeRun,
    config,
    poison_first_model,
    scratch,
)
from training import checkpoint
from training.config import IREDConfig
from training.outcome import Outcome
from training.trainer import IREDTrainer

# One of each kind of stream, loop and loss that a stopped run has to take up again.
STRATEGIES = ["none", "random", "adversarial", "part random", "steps ramp", "weight ramp", "ohem"]


def runs_of(settings: list[IREDConfig], seeds: list[int]) -> list[FakeRun]:
    """Return runs with folders of their own."""
    return [
        FakeRun(f"run{index}", seed, setting)
        for index, (setting, seed) in enumerate(zip(settings, seeds, strict=True))
    ]


def again(runs: list[FakeRun]) -> list[FakeRun]:
    """Return the same runs with new folders."""
    return [FakeRun(run.run_id, run.seed, run.config) for run in runs]


def train(runs: list[FakeRun], stop_after: int | None = None) -> tuple[list[Outcome], FakeContext]:
    """Train until the end, or until the trainer has asked `stop_after` times."""
    context = FakeContext(stop_after)
    return list(IREDTrainer().train(runs, context)), context


def saved(run: FakeRun) -> dict[str, Any]:
    """Return the tensors of a run's checkpoint, through the loader that executes nothing."""
    content = torch.load(run.directory / "checkpoint.pt", weights_only=True)
    tensors: dict[str, Any] = content["tensors"]
    return tensors


def curve(context: FakeContext, run: FakeRun) -> dict[int, dict[str, float]]:
    """Return the points of a run's curve as the last attempt reported them."""
    return {
        step: {name: value for name, value in values.items() if name != "restored"}
        for step, _, values in context.reports[run.run_id]
        if "validation_mse" in values
    }


def assert_same_end(
    ours: tuple[list[Outcome], FakeContext, list[FakeRun]],
    theirs: tuple[list[Outcome], FakeContext, list[FakeRun]],
) -> None:
    """Final metrics, curves, and every tensor of the last checkpoint are equal bit for bit."""
    for a, b in zip(ours[0], theirs[0], strict=True):
        assert (a.failure, a.metrics, a.references, a.data_digests) == (
            b.failure,
            b.metrics,
            b.references,
            b.data_digests,
        )
    for run, twin in zip(ours[2], theirs[2], strict=True):
        assert curve(ours[1], run) == curve(theirs[1], twin)
        mine, other = saved(run), saved(twin)
        assert set(mine) == set(other)
        for name, tensor in mine.items():
            assert torch.equal(tensor, other[name]), name


SEEDS = [4, 9, 4]
_unstopped: dict[str, tuple[list[Outcome], FakeContext, list[FakeRun]]] = {}


def unstopped(strategy: str) -> tuple[list[Outcome], FakeContext, list[FakeRun]]:
    """Train a stack without a stop, once per strategy."""
    if strategy not in _unstopped:
        settings = [
            config(
                mining=MININGS[strategy],
                steps=9,
                curve_every=4,
                learning_rate=rate,
                schedule=SCHEDULES[schedule],
            )
            for rate, schedule in ((1e-2, "constant"), (1e-2, "cosine"), (1e-3, "linear"))
        ]
        runs = runs_of(settings, SEEDS)
        _unstopped[strategy] = (*train(runs), runs)
    return _unstopped[strategy]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    strategy=st.sampled_from(STRATEGIES),
    stops=st.lists(st.integers(min_value=0, max_value=14), min_size=1, max_size=3),
)
def test_a_run_stopped_anywhere_ends_with_the_bits_of_one_that_was_not(
    strategy: str, stops: list[int]
) -> None:
    """However often, in training or in the final evaluation, and with seeds that share streams."""
    expected = unstopped(strategy)
    runs = again(expected[2])
    for stop in stops:
        outcomes, context = train(runs, stop)
        if outcomes:
            break
    else:
        outcomes, context = train(runs)
    assert_same_end((outcomes, context, runs), expected)


def test_a_resumed_run_says_so_and_does_not_repeat_itself() -> None:
    """Points from before the stop are marked; steps are not trained again."""
    runs = runs_of([config(steps=9, curve_every=4)], [1])
    train(runs, stop_after=6)
    outcomes, context = train(runs)
    assert outcomes[0].details["resumed_from_step"] == 6
    reports = context.reports["run0"]
    assert [step for step, _, values in reports if "restored" in values] == [0, 4]
    assert [step for step, _, _ in reports] == [0, 4, 6, 8, 9]


def test_a_finished_run_is_only_evaluated_again() -> None:
    """The checkpoint of the last step has weights and average, and no optimiser state."""
    runs = runs_of([config()], [1])
    first, _ = train(runs)
    assert {"weights", "average"} <= set(saved(runs[0]))
    assert not {"first", "second"} & set(saved(runs[0]))
    second, _ = train(runs)
    assert second[0].details["resumed_from_step"] == 6
    assert second[0].metrics == first[0].metrics


def test_each_run_has_one_file() -> None:
    """Older checkpoints and unfinished writes do not pile up."""
    runs = runs_of([config(steps=9)] * 2, [1, 2])
    for stop in (2, 3, 4):
        train(runs, stop)
    train(runs)
    for run in runs:
        assert [path.name for path in run.directory.iterdir()] == ["checkpoint.pt"]


def test_a_failed_run_keeps_no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is to be tried from the beginning, while its neighbour keeps its weights."""
    poison_first_model(monkeypatch)
    runs = runs_of([config()] * 2, [1, 2])
    train(runs, stop_after=3)
    outcomes, _ = train(runs)
    assert outcomes[0].failure == "loss is nan at step 1"
    assert list(runs[0].directory.iterdir()) == []
    assert (runs[1].directory / "checkpoint.pt").exists()


def resumed_step(runs: list[FakeRun]) -> int:
    """Train on and return the step that training went on from."""
    outcomes, _ = train(runs)
    step = outcomes[0].details["resumed_from_step"]
    assert isinstance(step, int)
    return step


@pytest.mark.parametrize(
    ("changes", "seed", "complaint"),
    [
        ({"learning_rate": 2e-2}, 1, "config.learning_rate is 0.01, here 0.02"),
        ({"steps": 10}, 1, "config.steps is 9, here 10"),
        ({"schedule": {"shape": "linear"}}, 1, "config.schedule is None, here "),
        ({"mining": {"strategy": "random"}}, 1, "config.mining.strategy is none, here random"),
        ({}, 2, "seed is 1, here 2"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    changes: dict[str, Any], seed: int, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Training starts afresh and the log names the difference."""
    runs = runs_of([config(steps=9)], [1])
    train(runs, stop_after=4)
    other = FakeRun("run0", seed, config(**{"steps": 9, **changes}), runs[0].directory)
    assert resumed_step([other]) == 0
    assert complaint in caplog.text


def test_a_checkpoint_of_another_stack_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """In other company the arithmetic rounds otherwise, so the run would depend on its stops."""
    runs = runs_of([config(steps=9)] * 2, [1, 2])
    train(runs, stop_after=4)
    assert resumed_step(runs[:1]) == 0
    assert "it was trained in another stack" in caplog.text


def test_runs_without_a_step_in_common_start_afresh(caplog: pytest.LogCaptureFixture) -> None:
    """One run's checkpoint alone is no place to go on from."""
    runs = runs_of([config(steps=9)] * 2, [1, 2])
    train(runs, stop_after=4)
    (runs[1].directory / "checkpoint.pt").unlink()
    assert resumed_step(runs) == 0
    assert "no step in common" in caplog.text


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_crash_between_renames_loses_nothing(renamed: int) -> None:
    """With every next file written, the new step counts, however many have their final name."""
    runs = runs_of([config(steps=9)] * 2, [1, 2])
    train(runs, stop_after=3)
    old = [(run.directory / "checkpoint.pt").read_bytes() for run in runs]
    train(runs, stop_after=2)
    for index, run in enumerate(runs):
        if index >= renamed:
            (run.directory / "checkpoint.pt").replace(run.directory / "checkpoint.next.pt")
            (run.directory / "checkpoint.pt").write_bytes(old[index])
    assert resumed_step(runs) == 5


def test_a_crash_before_the_last_file_goes_on_from_the_old_step() -> None:
    """Next files of some runs only, one of them cut off, are left alone."""
    runs = runs_of([config(steps=9)] * 2, [1, 2])
    train(runs, stop_after=3)
    old = [(run.directory / "checkpoint.pt").read_bytes() for run in runs]
    train(runs, stop_after=2)
    new = (runs[0].directory / "checkpoint.pt").read_bytes()
    for run, content in zip(runs, old, strict=True):
        (run.directory / "checkpoint.pt").write_bytes(content)
    (runs[0].directory / "checkpoint.next.pt").write_bytes(new)
    (runs[1].directory / "checkpoint.next.pt").write_bytes(new[: len(new) // 2])
    assert resumed_step(runs) == 3


def test_an_interrupted_rename_is_completed_before_the_next_save() -> None:
    """Another crash, while the next checkpoint is being written, still goes on from the last."""
    runs = runs_of([config(steps=9)] * 2, [1, 2])
    train(runs, stop_after=3)
    old = (runs[0].directory / "checkpoint.pt").read_bytes()
    train(runs, stop_after=2)
    (runs[0].directory / "checkpoint.pt").replace(runs[0].directory / "checkpoint.next.pt")
    (runs[0].directory / "checkpoint.pt").write_bytes(old)
    train(runs, stop_after=0)

    (runs[0].directory / "checkpoint.next.pt").write_bytes(b"cut off")

    assert resumed_step(runs) == 5


def test_what_was_handed_on_is_not_changed_by_whoever_had_it_before(tmp_path: Path) -> None:
    """Two attempts, one of them given up, save on from names of the same files."""
    runs = runs_of([config(steps=9)] * 2, [1, 2])
    train(runs, stop_after=3)
    heirs = again(runs)
    for run, heir in zip(runs, heirs, strict=True):
        (run.directory / "checkpoint.next.pt").write_bytes(b"half of the next one")
        for path in run.directory.iterdir():
            os.link(path, heir.directory / path.name)
            os.link(path, tmp_path / f"{run.run_id}-{path.name}")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    for heir in heirs:
        assert (heir.directory / "checkpoint.pt").stat().st_nlink == 3
    train(runs, stop_after=2)
    assert resumed_step(heirs) == 3

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_damage_is_noticed_wherever_it_is() -> None:
    """A cut-off or changed file is refused, or the change is in bytes that carry nothing."""
    runs = runs_of([config(steps=9)], [1])
    train(runs, stop_after=4)
    path = runs[0].directory / "checkpoint.pt"
    whole, intact = path.read_bytes(), saved(runs[0])
    identity = json.loads(torch.load(path, weights_only=True)["facts"])["identity"]
    rng = random.Random(0)
    refused = 0
    for trial in range(300):
        damaged = bytearray(whole)
        if trial % 3 == 0:
            del damaged[rng.randrange(len(whole)) :]
        else:
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = checkpoint._load(path, identity)
        except checkpoint.UnusableError:
            refused += 1
            continue
        assert loaded.step == 4
        assert all(torch.equal(loaded.tensors[name], intact[name]) for name in intact)
    assert refused > 200


def test_a_pickle_that_executes_code_is_refused(tmp_path: Path) -> None:
    """A file that wants to call anything on loading is damaged, and calls nothing."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "called"),))

    path = tmp_path / "checkpoint.pt"
    torch.save(Evil(), path)
    with pytest.raises(checkpoint.UnusableError, match="damaged"):
        checkpoint._load(path, {})
    assert not (tmp_path / "called").exists()


def test_a_checkpoint_is_written_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between stops, every so many seconds."""
    written: list[int] = []
    save = checkpoint.Checkpoints.save

    def spy(self: checkpoint.Checkpoints, state: Any, source: Any) -> None:
        written.append(state.step)
        save(self, state, source)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", spy)
    train(runs_of([config(steps=4)], [1]))
    assert written == [4]
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    written.clear()
    train(runs_of([config(steps=4)], [1]))
    assert written == [1, 2, 3, 4, 4]


SCRIPT = """
import sys
from pathlib import Path
import torch
from tests.training.helpers import FakeRun, FakeContext, config
from training import checkpoint
from training.trainer import IREDTrainer
torch.set_num_threads(1)
checkpoint.SECONDS_BETWEEN = 0.02
root = Path(sys.argv[1])
setting = config(mining={"strategy": "adversarial"}, steps=400, curve_every=50)
runs = [FakeRun(name, seed, setting, root / name) for name, seed in (("a", 4), ("b", 9))]
print("started", flush=True)
list(IREDTrainer().train(runs, FakeContext()))
"""


def test_killed_without_warning_it_goes_on_with_the_same_bits() -> None:
    """kill -9 at random moments, some of them within a write; the end is as if never killed."""
    setting = config(mining={"strategy": "adversarial"}, steps=400, curve_every=50)
    expected = [FakeRun("a", 4, setting), FakeRun("b", 9, setting)]
    expected_end = (*train(expected), expected)

    root, rng = scratch(), random.Random(1)
    runs = [FakeRun(run.run_id, run.seed, setting, root / run.run_id) for run in expected]
    for run in runs:
        run.directory.mkdir()
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(root)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not (runs[0].directory / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    outcomes, context = train(runs)
    step = outcomes[0].details["resumed_from_step"]
    assert isinstance(step, int)
    assert step > 0
    assert_same_end((outcomes, context, runs), expected_end)
