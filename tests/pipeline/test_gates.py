"""Gates and alarms: what closes them, what they say, how a person goes on all the same."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.alarms import alarms_of
from pipeline.analysis.table import (
    AnalysisPlan,
    Direction,
    Hole,
    HoleReason,
    Measurement,
    ResultTable,
)
from pipeline.errors import PipelineError
from pipeline.gates import closed_gates, evaluate, overridden
from pipeline.state import GateRecord, PhaseRecord, RunRecord, RunStatus, State
from pipeline.store import StateStore, decode, encode
from pipeline.study_file import StudyFile
from pipeline.workspace import Workspace
from tests.inprocess import Study, study_in
from tests.pipeline.analysis.arms import run
from tests.pipeline.conftest import Cli, edit

PLAN = AnalysisPlan(metric="loss", direction="minimize", reference_condition="base")
DIGESTS = {"base": "b" * 64, "arm": "a" * 64, "other": "0" * 64}


def table(values: dict[str, list[float]], missing: int = 0) -> ResultTable:
    """A phase whose conditions have these losses at seeds 0, 1, ...; holes come after them."""
    rows = [run(name, seed, v) for name, of in values.items() for seed, v in enumerate(of)]
    reference = {"loss": {"zero": Measurement(1.0, 0.01, 100)}}
    rows = [replace(row, references=reference) for row in rows]
    holes = [Hole("arm", 100 + n, HoleReason.FAILED) for n in range(missing)]
    planned = [(row.condition, row.seed) for row in rows] + [(h.condition, h.seed) for h in holes]
    return ResultTable("pilot", tuple(planned), tuple(rows), tuple(holes))


def outcome(gate: str, of: ResultTable, direction: Direction = "minimize") -> GateRecord:
    """What one gate comes to."""
    (record,) = evaluate([gate], of, replace(PLAN, direction=direction))
    assert record.name == gate
    return record


def test_all_runs_complete_counts_accepted_failures_as_missing() -> None:
    """It names how many of how many, and the first that is not there."""
    assert outcome("all-runs-complete", table({"base": [1.0, 2.0]})).passed
    closed = outcome("all-runs-complete", table({"base": [1.0, 2.0]}, missing=2))
    assert not closed.passed
    assert closed.words == (
        "2 of 4 planned runs have a result; without: arm at seed 100 and 1 more run"
    )


def test_finite_metrics_wants_every_metric_of_every_run() -> None:
    """A run that did not measure what others did closes it, and so does no run at all."""
    good = table({"base": [1.0], "arm": [2.0]})
    assert outcome("finite-metrics", good).passed
    bare = replace(good.rows[1], metrics={})
    closed = outcome("finite-metrics", replace(good, rows=(good.rows[0], bare)))
    assert not closed.passed
    assert closed.words == f"not measured or not finite: loss of {bare.run_id}"
    assert not outcome("finite-metrics", table({}, missing=1)).passed


@pytest.mark.parametrize(
    ("values", "direction", "passed"),
    [
        ({"base": [0.5, 0.7], "arm": [0.9]}, "minimize", True),
        ({"base": [0.5, 0.7], "arm": [1.1]}, "minimize", False),
        ({"base": [0.5], "arm": [1.0]}, "minimize", False),
        ({"base": [1.5], "arm": [1.1]}, "maximize", True),
        ({"base": [1.5], "arm": [0.9]}, "maximize", False),
    ],
)
def test_a_reference_has_to_be_passed_by_every_condition(
    values: dict[str, list[float]], direction: Direction, passed: bool
) -> None:
    """The mean of each condition counts, in the metric's direction; a tie does not pass."""
    record = outcome("clears-reference:zero", table(values), direction)

    assert record.passed is passed
    assert "loss of zero 1, mean of base" in record.words
    assert passed or record.words.endswith("; not past it: arm")


def test_a_reference_that_was_not_measured_closes_the_gate() -> None:
    """A typo in the predictor's name is told with those that were measured."""
    record = outcome("clears-reference:zer0", table({"base": [0.5]}))

    assert not record.passed
    assert record.words == 'no reference predictor "zer0" on loss; measured: zero'


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ('["al-runs-complete"]', 'did you mean "all-runs-complete"?'),
        ('["clears-reference"]', 'such as "clears-reference:zero"'),
        ('["finite-metrics:loss"]', 'write "finite-metrics"'),
        ('["finite-metrics", "finite-metrics"]', "stands there twice"),
        ('"finite-metrics"', "list"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_at_once(
    workspace: Workspace, cli: Cli, gates: str, words: str
) -> None:
    """Names are checked when the study is read, with the nearest valid one."""
    edit(workspace, "seeds = [1000]", f"seeds = [1000]\ngates = {gates}")

    done = cli("plan")

    assert done.returncode == 2
    assert "phases.pilot.gates" in done.stderr
    assert words in done.stderr


def test_without_a_word_a_phase_wants_finite_metrics() -> None:
    """The default is a gate that every sound study passes."""
    phase = {"kind": "pilot", "seeds": [1]}
    study = {"name": "s", "question": "q", "trainer": "t:T"}
    metric = {"name": "loss", "direction": "minimize"}
    file = StudyFile.model_validate({
        "study": {**study, "metric": metric}, "config": {},
        "conditions": {"a": {"label": "A"}}, "phases": {"pilot": phase},
    })  # fmt: skip
    assert file.phases["pilot"].gates == ["finite-metrics"]


def state(*runs: RunRecord, **phase: object) -> State:
    """A state of one phase with these runs."""
    record = replace(PhaseRecord(kind="pilot"), **phase)  # type: ignore[arg-type]
    keyed = {f"pilot/{run.condition}-s{run.seed}": run for run in runs}
    return State(study="s", study_digest="", profile="local", phases={"pilot": record}, runs=keyed)


def done(condition: str, seed: int, fingerprint: str, *unread: str) -> RunRecord:
    """A run with a result."""
    return RunRecord(
        phase="pilot",
        condition=condition,
        seed=seed,
        config_digest=DIGESTS[condition],
        status=RunStatus.DONE,
        fingerprint=fingerprint,
        unread=unread,
    )


def test_identical_results_of_different_configs_raise_an_alarm_for_each_pair() -> None:
    """Same seed, other config, same bits: named by the two conditions, with the runs."""
    found = alarms_of(
        state(
            done("base", 0, "x"), done("arm", 0, "x"), done("other", 0, "y"),
            done("base", 1, "z"), done("arm", 1, "z"), done("other", 1, "x"),
        ),
        "pilot",
    )  # fmt: skip

    assert [alarm.name for alarm in found] == ["identical-results:base=arm"]
    assert found[0].words == (
        "pilot/base-s0 and pilot/arm-s0 have different configs and bit-identical results "
        "(and at 1 more seed)"
    )


def test_cells_of_a_sweep_are_told_apart_by_their_names() -> None:
    """An axis without effect: both cells of one condition stand in the alarm's name."""
    one = replace(done("arm", 0, "x"), cell="rate=1")
    other = replace(done("arm", 0, "x"), cell="rate=2", config_digest=DIGESTS["other"])
    runs = {"sweep/a": one, "sweep/b": other}
    (alarm,) = alarms_of(replace(state(), runs=runs), "pilot")

    assert alarm.name == f"identical-results:{one.arm}={other.arm}"
    assert one.arm != other.arm


def test_results_of_two_seeds_or_of_one_config_may_agree() -> None:
    """Only a setting that changes nothing is suspicious."""
    twin = replace(done("arm", 0, "x"), config_digest=DIGESTS["base"])
    assert alarms_of(state(done("base", 0, "x"), done("base", 1, "x")), "pilot") == ()
    assert alarms_of(state(done("base", 0, "x"), twin), "pilot") == ()
    failed = replace(done("arm", 0, "x"), status=RunStatus.FAILED)
    assert alarms_of(state(done("base", 0, "x"), failed), "pilot") == ()


def test_an_unread_key_raises_an_alarm_of_its_own() -> None:
    """Named by the key, with the runs that did not read it."""
    found = alarms_of(
        state(done("base", 0, "x", "mining.power"), done("arm", 0, "y", "mining.power", "rate")),
        "pilot",
    )

    assert [alarm.name for alarm in found] == ["unread-config:mining.power", "unread-config:rate"]
    assert "the config key mining.power in pilot/base-s0 and 1 more run" in found[0].words


SHUT = GateRecord(name="finite-metrics", passed=False, words="w")


def test_a_gate_counts_only_for_the_runs_it_was_evaluated_on() -> None:
    """Once runs are planned again the old evaluation closes nothing; an alarm still does."""
    closed = state(done("base", 0, "x"), gates=(SHUT,))
    assert closed_gates(closed, "pilot") == (SHUT,)
    again = replace(done("arm", 0, "y"), status=RunStatus.PLANNED)
    assert closed_gates(state(done("base", 0, "x"), again, gates=(SHUT,)), "pilot") == ()
    alarmed = state(done("base", 0, "x", "rate"), again, gates=(SHUT,))
    assert [gate.name for gate in closed_gates(alarmed, "pilot")] == ["unread-config:rate"]


def test_an_override_opens_one_gate_by_its_name_and_is_kept() -> None:
    """The decision survives the state file; another name, or no closed gate, is refused."""
    closed = state(done("base", 0, "x", "rate"), gates=(SHUT,))
    opened, phase, decided = overridden(closed, ["finite-metrics"], "known", "2026-01-01")

    assert phase == "pilot"
    assert decided[0].reason == "known"
    assert [gate.name for gate in closed_gates(opened, "pilot")] == ["unread-config:rate"]
    assert decode(json.loads(encode(opened))) == opened
    with pytest.raises(PipelineError, match="closed: unread-config:rate"):
        overridden(opened, ["finite-metrics"], "known", "2026-01-01")
    with pytest.raises(PipelineError, match="nothing to override"):
        overridden(state(done("base", 0, "x")), ["finite-metrics"], "known", "2026-01-01")


CLOSED = "clears-reference:zero"


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """The toy study, in this process."""
    with study_in(tmp_path / "ws") as study:
        yield study


@pytest.fixture
def gated(study: Study) -> Study:
    """The toy study whose pilot has a gate that the handicap keeps closed."""
    gates = f'seeds = [1000]\ngates = ["finite-metrics", "{CLOSED}"]'
    edit(study.workspace, "seeds = [1000]", gates)
    edit(study.workspace, "config.handicap = 0.5", "config.handicap = 0.9")
    return study


def test_a_closed_gate_stops_the_study_until_a_person_overrides_it(gated: Study) -> None:
    """Exit 3 with gate, numbers and command; the decision stands in state, journal and report."""
    stopped = gated.walk()

    assert stopped.code == 3
    assert f"pilot: gate {CLOSED} is closed: loss of zero 1.5, mean of baseline" in stopped.out
    assert f"pipeline advance --override {CLOSED} --reason" in stopped.out
    assert "the study needs a person" in stopped.err
    status = json.loads(gated.call("status", "--json").out)
    assert [phase["status"] for phase in status["phases"]] == ["attention", "not_started"]
    assert gated.call("advance").code == 3
    assert f"| `{CLOSED}` | closed | loss of zero 1.5" in gated.workspace.report_file.read_text()

    assert gated.call("advance", "--override", CLOSED).code == 2
    other = gated.call("advance", "--override", "finite-metrics", "--reason", "x")
    assert other.code == 2
    assert f"closed: {CLOSED}" in other.err
    went_on = gated.call("advance", "--override", CLOSED, "--reason", "the handicap is\nthe point")

    assert went_on.code == 0, went_on.err
    assert "goes on in spite of clears-reference:zero, as decided" in went_on.out
    assert "multiseed: submitted" in went_on.out
    stored = StateStore(gated.workspace.state_dir).load()
    assert stored is not None
    (decision,) = stored.phases["pilot"].overrides
    assert (decision.gate, decision.reason) == (CLOSED, "the handicap is the point")
    journal = (gated.workspace.state_dir / "journal.jsonl").read_text()
    assert '"gate closed"' in journal
    assert '"gate overridden"' in journal
    assert gated.walk().code == 0
    report = gated.workspace.report_file.read_text()
    assert f"| `{CLOSED}` | closed, overridden |" in report
    deviations = report.split("## Deviations")[1]
    assert f'the gate "{CLOSED}" was closed (loss of zero 1.5' in deviations
    assert "the handicap is the point" in deviations


def test_a_key_that_training_never_reads_stops_the_phase(study: Study) -> None:
    """The trainer's inert key is named after the first results, and nothing more is submitted."""
    toy = study.workspace.root / "toy.py"
    inert = "steps: int = 5\n    patience: int = 3"
    toy.write_text(toy.read_text().replace("steps: int = 5", inert))

    stopped = study.walk()

    assert stopped.code == 3
    assert "unread-config:patience" in stopped.out
    assert "never read the config key patience in pilot/baseline" in stopped.out
    stored = StateStore(study.workspace.state_dir).load()
    assert stored is not None
    assert {run.status for run in stored.runs_of("multiseed").values()} == {RunStatus.PLANNED}
    assert "unread-config:patience" in (study.workspace.state_dir / "journal.jsonl").read_text()
    named = ("--override", "unread-config:patience")
    went_on = study.call("advance", *named, "--reason", "comes later")
    assert went_on.code == 0
    assert study.walk().code == 3  # the next phase is another decision


def test_conditions_that_measure_the_same_bits_stop_the_phase(study: Study) -> None:
    """A setting that is read and then lost is found by its results."""
    toy = study.workspace.root / "toy.py"
    text = toy.read_text().replace("floor + shared + own", "shared")
    text = text.replace(
        "config = run.config", "config = run.config\n            _ = config.handicap"
    )
    toy.write_text(text)

    stopped = study.walk()

    assert stopped.code == 3
    assert "identical-results:baseline=worse" in stopped.out
    assert "pilot/baseline-s1000" in stopped.out
    name = "identical-results:baseline=worse"
    assert study.call("advance", "--override", name, "--reason", "expected").code == 0
