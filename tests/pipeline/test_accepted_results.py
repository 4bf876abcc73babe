"""A report comes of the results that were accepted and the plan that was frozen, or says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.state import RunStatus, TaskState
from pipeline.workspace import Workspace
from tests.inprocess import Cluster, Ended, installed, make_workspace, pipeline
from tests.pipeline.conftest import Cli, edit, snapshot, state_of, toy_result


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Runs what is submitted in this process."""
    with installed(Cluster()) as cluster:
        yield cluster


@pytest.fixture
def study(tmp_path: Path) -> Workspace:
    """The toy study on that cluster."""
    return make_workspace(tmp_path / "ws")


def advance(study: Workspace) -> Ended:
    """One step."""
    return pipeline("advance", "-w", str(study.root))


def walk(study: Workspace, cluster: Cluster) -> Ended:
    """Pilot, multi-seed phase, and the step that analyses it."""
    for _ in range(2):
        assert advance(study).code == 0
        cluster.run()
    return advance(study)


def test_a_result_of_another_config_is_refused_by_name(study: Workspace, cluster: Cluster) -> None:
    """A result.json copied from another run fails the run and says whose it is."""
    advance(study)
    state = state_of(study)
    baseline, worse = sorted(state.runs_of("pilot"))
    (job,) = cluster.jobs.values()
    job.states[:] = [TaskState.ENDED]
    study.run_dir(worse).mkdir(parents=True, exist_ok=True)
    result = toy_result(study, baseline, state.runs[worse].job or "")
    (study.run_dir(worse) / "result.json").write_text(result)

    assert advance(study).code == 3

    failed = state_of(study).runs[worse]
    assert failed.status is RunStatus.FAILED
    assert failed.reason == f"result.json is of another run: {baseline} instead of {worse}"


def test_results_on_different_held_out_data_stop_the_study(
    study: Workspace, cluster: Cluster
) -> None:
    """Runs scored on other data are not compared: exit 3, both runs named, no verdict."""
    toy = study.root / "toy.py"
    own_data = "run.run_id.partition('-')[0].encode()"
    toy.write_text(toy.read_text().replace('b"toy"', own_data))

    done = walk(study, cluster)

    assert done.code == 3
    assert "baseline" in done.err
    assert "worse" in done.err
    assert not verdicts(study)


def test_a_result_changed_by_hand_is_noticed(study: Workspace, cluster: Cluster) -> None:
    """A report is made from the very files that were accepted, or not at all."""
    assert walk(study, cluster).code == 0
    path = next(study.runs_dir.glob("multiseed/*/result.json"))
    path.write_text(path.read_text().replace('"value":', '"value": '))

    done = pipeline("report", "-w", str(study.root))

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


def test_a_plan_changed_after_the_freeze_marks_the_verdicts(
    study: Workspace, cluster: Cluster
) -> None:
    """Editing the margin once results are in renders anew, every verdict marked POST-HOC."""
    assert walk(study, cluster).code == 0
    assert verdicts(study)
    assert "POST-HOC" not in verdicts(study)
    edit(study, "min_pairs = 3", "min_pairs = 3\nmargin_percent = 60.0")

    changed = advance(study)

    assert changed.code == 0
    assert "every verdict will be marked POST-HOC" in changed.out
    assert "POST-HOC" in verdicts(study)
    assert pipeline("report", "-w", str(study.root)).code == 0
    assert "POST-HOC" in verdicts(study)


def verdicts(workspace: Workspace) -> str:
    """The verdict lines of the report."""
    lines = workspace.report_file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("Verdict:"))
