"""A report comes of the results that were accepted and the plan that was frozen, or says so."""

from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from tests.pipeline.conftest import Cli, edit, kill_the_task, snapshot, state_of, toy_result


def test_a_result_of_another_config_is_refused_by_name(workspace: Workspace, cli: Cli) -> None:
    """A result.json copied from another run fails the run and says whose it is."""
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.1")
    cli("advance")
    state = state_of(workspace)
    baseline, worse = sorted(state.runs_of("pilot"))
    kill_the_task(workspace)
    result = toy_result(workspace, baseline, state.runs[worse].job or "")
    (workspace.run_dir(worse) / "result.json").write_text(result)

    assert cli("advance").returncode == 3

    failed = state_of(workspace).runs[worse]
    assert failed.status is RunStatus.FAILED
    assert failed.reason == f"result.json is of another run: {baseline} instead of {worse}"


def test_results_on_different_held_out_data_stop_the_study(workspace: Workspace, cli: Cli) -> None:
    """Runs scored on other data are not compared: exit 3, both runs named, no report."""
    toy = workspace.root / "toy.py"
    own_data = "run.run_id.partition('-')[0].encode()"
    toy.write_text(toy.read_text().replace('b"toy"', own_data))

    done = cli("advance", "--watch")

    assert done.returncode == 3
    assert "baseline" in done.stderr
    assert "worse" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_result_changed_by_hand_is_noticed(workspace: Workspace, cli: Cli) -> None:
    """A report is made from the very files that were accepted, or not at all."""
    assert cli("advance", "--watch").returncode == 0
    path = next(workspace.runs_dir.glob("multiseed/*/result.json"))
    path.write_text(path.read_text().replace('"value":', '"value": '))

    done = cli("report")

    assert done.returncode == 2
    assert "was changed after it was accepted" in done.stderr


def test_report_check_compares_and_never_writes(workspace: Workspace, cli: Cli) -> None:
    """Exit 0 while report and figures are what the results give, else 3 and where they differ."""
    assert cli("advance", "--watch").returncode == 0
    figure = next(workspace.figures_dir.glob("*.svg"))
    drawn, told = figure.read_bytes(), workspace.report_file.read_text(encoding="utf-8")
    assert cli("report", "--check").returncode == 0

    edited = told.replace("complete | 12 of 12", "complete | 11 of 12")
    workspace.report_file.write_text(edited, encoding="utf-8")
    before = snapshot(workspace)
    differs = cli("report", "--check")
    assert differs.returncode == 3
    number = 1 + next(n for n, line in enumerate(edited.splitlines()) if "11 of 12" in line)
    assert f"RESULTS.md:{number}: holds" in differs.stderr
    assert "11 of 12" in differs.stderr
    assert "the results give" in differs.stderr
    assert len(differs.stderr.splitlines()) == 1
    assert snapshot(workspace) == before

    workspace.report_file.write_text(told, encoding="utf-8")
    figure.write_bytes(drawn.replace(b"</svg>", b"</svg >"))
    assert f"figures/{figure.name}:" in cli("report", "--check").stderr
    figure.unlink()
    gone = cli("report", "--check")
    assert gone.returncode == 3
    assert f"figures/{figure.name}: cannot be read" in gone.stderr
    assert not figure.exists()


def test_a_plan_changed_after_the_freeze_marks_the_verdicts(workspace: Workspace, cli: Cli) -> None:
    """Editing the margin once results are in renders anew, every verdict marked POST-HOC."""
    assert cli("advance", "--watch").returncode == 0
    assert "POST-HOC" not in verdicts(workspace)
    edit(workspace, "min_pairs = 3", "min_pairs = 3\nmargin_percent = 60.0")

    changed = cli("advance")

    assert changed.returncode == 0
    assert "every verdict will be marked POST-HOC" in changed.stdout
    assert "POST-HOC" in verdicts(workspace)
    assert cli("report").returncode == 0
    assert "POST-HOC" in verdicts(workspace)


def verdicts(workspace: Workspace) -> str:
    """The verdict lines of the report."""
    lines = workspace.report_file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("Verdict:"))
