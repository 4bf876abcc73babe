"""Compiled or not: the decision, the fallback, and equal results."""

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.utils import counters

from tests.training.helpers import FakeContext, FakeRun, config, relative_error
from tests.training.test_checkpoint import assert_same_end, train
from training import checkpoint, compiling, stack
from training.compiling import Compiler, worth_compiling
from training.config import IREDConfig
from training.evaluate import BLOCK
from training.loop import train_stack
from training.stack import Stack
from training.strategies import MOST_RAMPED_STEPS
from training.trainer import IREDTrainer

CPU = torch.device("cpu")


@pytest.fixture
def always_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile however short the training is."""
    monkeypatch.setitem(compiling.WORTH_FLOP, "cpu", 0.0)


@pytest.fixture
def never_recompile() -> Iterator[None]:
    """Fail where a compiled function is compiled again."""
    # Not by monkeypatch: what that puts back, torch takes for deleted, and compiles no more.
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield


def test_only_long_trainings_are_compiled() -> None:
    """The published study is, the miniature is not; what is left of a run plays no part."""
    assert worth_compiling(IREDConfig(), 1, CPU)
    assert worth_compiling(IREDConfig(), 1, torch.device("cuda"))
    miniature = config(matrix_size=6, hidden_width=64, batch_size=256, steps=1000)
    assert not worth_compiling(miniature, 10, CPU)


@pytest.mark.usefixtures("always_compile")
def test_without_a_compiler_training_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The results are those of an uncompiled run, and the record says why."""

    def no_compiler(function: object, **options: object) -> object:
        del function, options

        def fail(*args: object) -> object:
            del args
            raise RuntimeError("no C++ compiler\nlong explanation")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    run = FakeRun("a", 0, config())
    (outcome,) = IREDTrainer().train([run], FakeContext())
    assert outcome.details["compiled"] == "no: no C++ compiler"
    assert caplog.text.count("no C++ compiler") == 1
    monkeypatch.undo()
    (plain,) = IREDTrainer().train([FakeRun("a", 0, run.config)], FakeContext())
    assert plain.details["compiled"] == "no: too short to pay"
    assert plain.metrics == outcome.metrics


def test_functions_are_compiled_once() -> None:
    """Curves and final scores share what was compiled for the sampler."""

    def double(x: int) -> int:
        return 2 * x

    compiler = Compiler(CPU, pays=True)
    assert compiler(double) is compiler(double)
    assert Compiler(CPU, pays=False)(double) is double


@pytest.mark.slow
@pytest.mark.usefixtures("always_compile", "never_recompile")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_run_is_exact_and_resumes_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It equals the uncompiled one up to rounding; stopped and resumed it equals itself exactly.

    Models that take turns, curves and scores all use what was compiled first.
    """
    monkeypatch.setattr(stack, "LARGE_LAYER", 0)
    setting = config(
        steps=12,
        precision="fp64",
        held_out_size=BLOCK,
        curve_size=BLOCK,
        sampler_inner_steps=1,
        schedule={"shape": "cosine", "warmup_steps": 4},
    )
    runs = [FakeRun(name, seed, setting) for name, seed in (("a", 0), ("b", 1))]
    whole = (*train(runs), runs)
    assert whole[0][0].details["compiled"] == "yes"
    parts = [FakeRun(run.run_id, run.seed, run.config) for run in runs]
    torch.compiler.reset()
    train(parts, stop_after=7)
    torch.compiler.reset()
    assert_same_end((*train(parts), parts), whole)
    compiling.WORTH_FLOP["cpu"] = 1e30
    plain = [FakeRun(run.run_id, run.seed, run.config) for run in runs]
    outcomes, _ = train(plain)
    for outcome, twin_outcome in zip(whole[0], outcomes, strict=True):
        for name, measurement in outcome.metrics.items():
            assert measurement.value == pytest.approx(twin_outcome.metrics[name].value, rel=1e-9)
    for run, twin in zip(runs, plain, strict=True):
        ours, theirs = (
            torch.load(r.directory / checkpoint.NAME, weights_only=True)["tensors"]["weights"]
            for r in (run, twin)
        )
        assert relative_error(ours, theirs) < 1e-10


@pytest.mark.slow
@pytest.mark.usefixtures("always_compile")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_curriculum_has_one_graph_for_each_number_of_inner_steps() -> None:
    """Two of them here, and the run equals the uncompiled one; records compile nothing more."""
    ramp = {"strategy": "curriculum", "start": 0, "opt_steps": 1}
    setting = config(steps=8, precision="fp64", mining=ramp, diagnostics={"every": 4, "probes": 10})
    torch.compiler.reset()
    counters.clear()
    compiled = Stack([setting], [0], CPU)
    with torch.inference_mode():
        weights = train_stack(compiled, lambda *_: None, lambda: False).weights
    assert compiled.compiler.summary() == "yes"
    # The sampler's two functions are not called on as few matrices as these.
    assert counters["stats"]["unique_graphs"] == 2
    assert torch._dynamo.config.recompile_limit > MOST_RAMPED_STEPS
    compiling.WORTH_FLOP["cpu"] = 1e30
    with torch.inference_mode():
        plain = train_stack(Stack([setting], [0], CPU), lambda *_: None, lambda: False).weights
    assert relative_error(weights, plain) < 1e-10
