"""A report comes of the results that were accepted and the plan that was frozen, or says so."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.state import RunStatus, TaskState
from pipeline.workspace import Workspace
from tests.inprocess import Ended, Study, pipeline, study_in
from tests.pipeline.conftest import Cli, edit, snapshot, state_of, toy_result


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """The toy study, in this process."""
    with study_in(tmp_path / "ws") as study:
        yield study


def test_a_result_of_another_config_is_refused_by_name(study: Study) -> None:
    """A result.json copied from another run fails the run and says whose it is."""
    study.call("advance")
    state = state_of(study.workspace)
    baseline, worse = sorted(state.runs_of("pilot"))
    (job,) = study.cluster.jobs.values()
    job.states[:] = [TaskState.ENDED]
    study.workspace.run_dir(worse).mkdir(parents=True, exist_ok=True)
    result = toy_result(study.workspace, baseline, state.runs[worse].job or "")
    (study.workspace.run_dir(worse) / "result.json").write_text(result)

    assert study.call("advance").code == 3

    failed = state_of(study.workspace).runs[worse]
    assert failed.status is RunStatus.FAILED
    assert failed.reason == f"result.json is of another run: {baseline} instead of {worse}"


def test_results_on_different_held_out_data_stop_the_study(study: Study) -> None:
    """Runs scored on other data are not compared: exit 3, both runs named, no verdict."""
    toy = study.workspace.root / "toy.py"
    own_data = "run.run_id.partition('-')[0].encode()"
    toy.write_text(toy.read_text().replace('b"toy"', own_data))

    done = study.walk()

    assert done.code == 3
    assert "baseline" in done.err
    assert "worse" in done.err
    assert not verdicts(study.workspace)


def test_a_phase_can_go_on_without_its_failed_runs_by_a_recorded_decision(study: Study) -> None:
    """A seed that diverges for good does not block the study: accepted, journalled, reported."""
    toy = study.workspace.root / "toy.py"
    unlucky = "if run.config.fail_at is not None or (run.seed, run.config.handicap) == (3, 0.5):"
    toy.write_text(toy.read_text().replace("if run.config.fail_at is not None:", unlucky))
    assert study.call("advance", "--accept-failed").code == 2
    assert study.walk().code == 3

    accepted = study.call("advance", "--accept-failed")

    assert accepted.code == 0, accepted.err
    assert "goes on without 1 failed run, as decided" in accepted.out
    status = json.loads(study.call("status", "--json").out)
    assert [phase["status"] for phase in status["phases"]] == ["complete", "complete"]
    assert "accepted failed" in (study.workspace.state_dir / "journal.jsonl").read_text()
    assert "5 pairs" in study.workspace.report_file.read_text(encoding="utf-8")


def test_a_result_changed_by_hand_is_noticed(study: Study) -> None:
    """A report is made from the very files that were accepted, or not at all."""
    assert study.walk().code == 0
    path = next(study.workspace.runs_dir.glob("multiseed/*/result.json"))
    path.write_text(path.read_text().replace('"value":', '"value": '))

    done = study.call("report")

    assert done.code == 2
    assert "was changed after it was accepted" in done.err


def test_report_check_compares_and_never_writes(workspace: Workspace, cli: Cli) -> None:
    """Exit 0 while report and figures are what the results give, else 3 and where they differ."""
    assert cli("advance", "--watch").returncode == 0
    figure = next(workspace.figures_dir.glob("*.svg"))
    drawn, told = figure.read_bytes(), workspace.report_file.read_text(encoding="utf-8")
    assert cli("report", "--check").returncode == 0  # another process draws the same

    edited = told.replace("complete | 12 of 12", "complete | 11 of 12")
    workspace.report_file.write_text(edited, encoding="utf-8")
    before = snapshot(workspace)
    differs = checked(workspace)
    assert differs.code == 3
    number = 1 + next(n for n, line in enumerate(edited.splitlines()) if "11 of 12" in line)
    assert f"RESULTS.md:{number}: holds" in differs.err
    assert "11 of 12" in differs.err
    assert "the results give" in differs.err
    assert len(differs.err.splitlines()) == 1
    assert snapshot(workspace) == before

    workspace.report_file.write_text(told, encoding="utf-8")
    figure.write_bytes(drawn.replace(b"</svg>", b"</svg >"))
    assert f"figures/{figure.name}:" in checked(workspace).err
    figure.unlink()
    gone = checked(workspace)
    assert gone.code == 3
    assert f"figures/{figure.name}: cannot be read" in gone.err
    assert not figure.exists()


def checked(workspace: Workspace) -> Ended:
    """`pipeline report --check`, in this process."""
    return pipeline("report", "--check", "-w", str(workspace.root))


def test_a_plan_changed_after_the_freeze_marks_the_verdicts(study: Study) -> None:
    """Editing the margin once results are in renders anew, every verdict marked POST-HOC."""
    assert study.walk().code == 0
    assert verdicts(study.workspace)
    assert "POST-HOC" not in verdicts(study.workspace)
    edit(study.workspace, "min_pairs = 3", "min_pairs = 3\nmargin_percent = 60.0")

    changed = study.call("advance")

    assert changed.code == 0
    assert "every verdict will be marked POST-HOC" in changed.out
    assert "POST-HOC" in verdicts(study.workspace)
    assert study.call("report").code == 0
    assert "POST-HOC" in verdicts(study.workspace)


def verdicts(workspace: Workspace) -> str:
    """The verdict lines of the report."""
    lines = workspace.report_file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("Verdict:"))
