"""A whole study on this machine, used as a researcher would, and broken on purpose."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.state import RunStatus
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.pipeline.conftest import WAIT_S, Cli, edit, state_of, wait_for


def snapshot(workspace: Workspace) -> dict[str, bytes]:
    """Every file of the workspace but those that running tasks and Python write."""
    return {
        str(path.relative_to(workspace.root)): path.read_bytes()
        for path in workspace.root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "lock"
    }


def test_a_study_walks_through_all_phases_and_then_nothing_changes(
    workspace: Workspace, cli: Cli
) -> None:
    """--watch ends with exit 0, results in place, a report; one more advance writes no byte."""
    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the study is complete" in done.stdout
    state = state_of(workspace)
    assert {run.status for run in state.runs.values()} == {RunStatus.DONE}
    assert len(list(workspace.runs_dir.glob("*/*/result.json"))) == 14
    assert workspace.report_file.exists()
    # A task may have left its results and not yet its process when the watch ended.
    wait_for(lambda: cli("advance").returncode == 0 and not state_of(workspace).live_jobs())
    before = snapshot(workspace)
    again = cli("advance")
    assert again.returncode == 0
    assert "nothing new" in again.stdout
    assert snapshot(workspace) == before


SWEEP = """
[phases.sweep]
condition = "worse"
seeds = "100-101"
grid = { handicap = [0.2, 0.1, 0.3] }

[phases.confirm]
of = "sweep"
seeds = "200-202"
metric = "test_loss"
"""


def test_a_selected_setting_is_confirmed_and_then_nothing_changes(
    workspace: Workspace, cli: Cli
) -> None:
    """The confirmation's runs appear once the sweep is in; one more advance writes no byte."""
    with workspace.study_file.open("a", encoding="utf-8") as file:
        file.write(SWEEP)
    assert "planned once sweep has selected" in cli("plan").stdout

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "sweep: selected worse [handicap=0.1]" in done.stdout
    runs = state_of(workspace).runs_of("confirm")
    assert {run.arm for run in runs.values()} == {"baseline", "worse [handicap=0.1]"}
    assert {run.status for run in runs.values()} == {RunStatus.DONE}
    report = workspace.report_file.read_text(encoding="utf-8")
    assert "Selected: Handicapped, handicap = 0.1, by the declared rule" in report
    wait_for(lambda: cli("advance").returncode == 0 and not state_of(workspace).live_jobs())
    before = snapshot(workspace)
    assert "nothing new" in cli("advance").stdout
    assert snapshot(workspace) == before


def test_status_json_keeps_its_contract(cli: Cli) -> None:
    """The keys that scripts rely on are there before and after the first step."""
    for _ in range(2):
        view: dict[str, Any] = json.loads(cli("status", "--json").stdout)
        assert set(view) >= {"study", "workspace", "phases", "next", "attention"}
        for phase in view["phases"]:
            assert set(phase) == {"id", "status", "runs", "jobs"}
            assert set(phase["runs"]) == {"total", "done", "running", "pending", "failed"}
            for job in phase["jobs"]:
                assert set(job) == {"job_id", "state", "tasks"}
        assert [phase["id"] for phase in view["phases"]] == ["pilot", "multiseed"]
        cli("advance")
    assert view["phases"][0]["jobs"]


def test_status_and_dry_run_write_nothing(workspace: Workspace, cli: Cli) -> None:
    """Looking leaves no trace, not even a folder."""
    before = snapshot(workspace)

    assert cli("status").returncode == 0
    assert cli("plan").returncode == 0
    dry = cli("advance", "--dry-run")

    assert "would submit 2 runs of pilot in 1 task " in dry.stdout
    assert snapshot(workspace) == before
    assert not workspace.state_dir.exists()


def test_two_advances_at_once_submit_once(workspace: Workspace) -> None:
    """However many start together, every run is submitted exactly once."""
    command = [sys.executable, "-m", "pipeline", "advance"]
    started = [
        subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.DEVNULL) for _ in range(4)
    ]

    assert [process.wait(WAIT_S) for process in started] == [0, 0, 0, 0]

    state = state_of(workspace)
    assert {run.tries for run in state.runs_of("pilot").values()} == {1}
    assert len({job.job_id for job in state.jobs.values()}) == len(state.jobs)


def test_ctrl_c_leaves_the_tasks_running_and_the_next_watch_goes_on(
    workspace: Workspace, cli: Cli
) -> None:
    """Interrupting the watch loses nothing: exit 130, tasks alive, the study still completes."""
    hold = workspace.root / "hold"  # what the toy waits for
    hold.touch()
    watch = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "advance", "--watch"],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    store = StateStore(workspace.state_dir)
    wait_for(lambda: store.path.exists() and any(
        run.status is RunStatus.RUNNING for run in state_of(workspace).runs.values()
    ))  # fmt: skip
    os.killpg(watch.pid, signal.SIGINT)  # what a terminal sends to the whole foreground group
    _, errors = watch.communicate(timeout=WAIT_S)

    assert watch.returncode == 130
    assert "what runs goes on" in errors
    (job,) = state_of(workspace).live_jobs().values()
    assert psutil.pid_exists(int(job.job_id or 0))
    hold.unlink()
    assert cli("advance", "--watch").returncode == 0
    assert {run.tries for run in state_of(workspace).runs.values()} == {1}


def test_a_failed_run_stops_the_phase_with_exit_3_and_can_be_retried(
    workspace: Workspace, cli: Cli
) -> None:
    """A crash is told with its own words, later phases wait, and retry takes the run up again."""
    edit(workspace, "config.handicap = 0.5", "config.crash = true")

    stopped = cli("advance", "--watch")

    assert stopped.returncode == 3
    assert "toy crash of worse-s1000" in stopped.stdout
    assert "failed run needs a person, see above" in stopped.stderr
    status = json.loads(cli("status", "--json").stdout)
    assert [phase["status"] for phase in status["phases"]] == ["attention", "not_started"]
    failed = next(k for k, r in state_of(workspace).runs.items() if r.status is RunStatus.FAILED)
    logs = cli("logs", failed)
    assert "RuntimeError: toy crash" in logs.stdout

    assert cli("retry", failed).returncode == 0
    assert state_of(workspace).runs[failed].status is RunStatus.PLANNED
    assert cli("retry", failed).returncode == 2
    assert cli("advance", "--watch").returncode == 3
    assert state_of(workspace).runs[failed].tries == 2


def test_a_run_that_diverged_does_not_take_its_neighbour_along(
    workspace: Workspace, cli: Cli
) -> None:
    """In one stack, one run with a nan fails and the other one is done."""
    edit(workspace, "config.handicap = 0.5", "config.fail_at = 2")

    assert cli("advance", "--watch").returncode == 3

    runs = state_of(workspace).runs_of("pilot").values()
    assert {run.condition: run.status for run in runs} == {
        "baseline": RunStatus.DONE,
        "worse": RunStatus.FAILED,
    }
    assert {run.reason for run in runs} == {None, "loss is nan at step 2"}


def test_a_killed_task_is_tried_once_more_and_then_needs_a_person(
    workspace: Workspace, cli: Cli
) -> None:
    """kill -9 of everything may be an accident once; the second time a person is asked."""
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.2")
    cli("advance")
    kill_the_task(workspace)

    again = cli("advance")

    assert again.returncode == 0
    assert "killed without a trace: 2 runs tried again" in again.stdout
    kill_the_task(workspace)
    stopped = cli("advance")
    assert stopped.returncode == 3
    assert "killed without a trace: ended without a result" in stopped.stdout
    edit(workspace, "steps = 1000\nstep_s = 0.2", "steps = 3")
    assert cli("advance").returncode == 0  # other configs are other runs; the old ones are kept
    assert sum(not run.in_plan for run in state_of(workspace).runs.values()) == 2


def kill_the_task(workspace: Workspace) -> None:
    """End every process of the only live task with SIGKILL, once it has begun to work."""
    (job,) = state_of(workspace).live_jobs().values()
    controller = psutil.Process(int(job.job_id or 0))
    wait_for(controller.children)
    for process in [*controller.children(recursive=True), controller]:
        process.kill()
    wait_for(lambda: not psutil.pid_exists(controller.pid))


def test_cancel_ends_the_processes_and_says_so(workspace: Workspace, cli: Cli) -> None:
    """After cancel no process is left, the runs are failed, and retry plans them anew."""
    edit(workspace, "steps = 3", "steps = 100\nstep_s = 0.2")
    cli("advance")
    (job,) = state_of(workspace).live_jobs().values()

    assert cli("cancel", "--yes").returncode == 0

    wait_for(lambda: not psutil.pid_exists(int(job.job_id or 0)))
    reasons = {run.reason for run in state_of(workspace).runs_of("pilot").values()}
    assert reasons == {"cancelled with `pipeline cancel`"}
    assert cli("retry").returncode == 0


def test_no_more_tasks_run_than_the_profile_allows(workspace: Workspace, cli: Cli) -> None:
    """max_running bounds what is in flight, whatever submitit would start."""
    profiles = workspace.root / "slurm" / "profiles.toml"
    profiles.parent.mkdir()
    profiles.write_text('[profiles.local]\nbackend = "local"\nmax_running = 2\nstack_size = 1\n')
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1003"')
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.2")  # none ends while we look

    assert "submitted 2 runs in 2 tasks" in cli("advance").stdout
    assert "submitted" not in cli("advance").stdout
    assert len(state_of(workspace).live_jobs()) == 2
    assert sum(run.tries for run in state_of(workspace).runs.values()) == 2


@pytest.mark.parametrize(
    "command", [["status"], ["advance"], ["plan"], ["report"], ["cancel", "-y"]]
)
def test_a_broken_state_file_stops_every_command_with_exit_2(
    workspace: Workspace, cli: Cli, command: list[str]
) -> None:
    """One line names file, line and column and the way back; the file is left as it is."""
    cli("advance")
    path: Path = workspace.state_dir / "pipeline.json"
    broken = path.read_text().replace('"phases": {', '"phases": {,')
    path.write_text(broken)

    done = cli(*command)

    assert done.returncode == 2
    assert "pipeline.json:" in done.stderr
    assert "`pipeline doctor --repair`" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == broken


def test_a_result_of_another_config_is_refused_by_name(workspace: Workspace, cli: Cli) -> None:
    """A result.json copied from another run fails the run and says whose it is."""
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.1")
    cli("advance")
    state = state_of(workspace)
    baseline, worse = sorted(state.runs_of("pilot"))
    (job,) = state.live_jobs().values()
    controller = psutil.Process(int(job.job_id or 0))
    wait_for(controller.children)
    for process in [*controller.children(recursive=True), controller]:
        process.kill()
    result = make_result(workspace, baseline, state.runs[worse].job or "")
    (workspace.run_dir(worse) / "result.json").write_text(result)

    assert cli("advance").returncode == 3

    failed = state_of(workspace).runs[worse]
    assert failed.status is RunStatus.FAILED
    assert failed.reason == f"result.json is of another run: {baseline} instead of {worse}"


def make_result(workspace: Workspace, key: str, token: str) -> str:
    """A valid result.json of a run."""
    run = state_of(workspace).runs[key]
    return json.dumps({
        "study": "toy", "phase": run.phase, "run_id": key.partition("/")[2],
        "condition": run.condition, "seed": run.seed, "config_digest": run.config_digest,
        "attempt": {"token": token, "task": 0, "job_id": "1", "array_index": None, "node": "n"},
        "metrics": {"loss": {"value": 1.0, "standard_error": 0.1, "count": 10}},
        "references": {}, "data_digests": {}, "details": {}, "versions": {},
        "code": {"commit": None, "dirty": None, "source_digest": "0" * 64},
        "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:01Z",
        "wall_s": 1.0, "device_s": 1.0, "gpu_s": 0.0,
    })  # fmt: skip


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


def test_a_phase_can_go_on_without_its_failed_runs_by_a_recorded_decision(
    workspace: Workspace, cli: Cli
) -> None:
    """A seed that diverges for good does not block the study: accepted, journalled, reported."""
    toy = workspace.root / "toy.py"
    unlucky = "if run.config.fail_at is not None or (run.seed, run.config.handicap) == (3, 0.5):"
    toy.write_text(toy.read_text().replace("if run.config.fail_at is not None:", unlucky))
    assert cli("advance", "--accept-failed").returncode == 2
    assert cli("advance", "--watch").returncode == 3

    accepted = cli("advance", "--accept-failed")

    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert "goes on without 1 failed run, as decided" in accepted.stdout
    status = json.loads(cli("status", "--json").stdout)
    assert [phase["status"] for phase in status["phases"]] == ["complete", "complete"]
    assert "accepted failed" in (workspace.state_dir / "journal.jsonl").read_text()
    assert "5 pairs" in workspace.report_file.read_text(encoding="utf-8")


def test_a_watch_follows_an_edit_of_the_study(workspace: Workspace, cli: Cli) -> None:
    """Editing study.toml under a running watch changes what it submits next, not later."""
    hold = workspace.root / "hold"  # what the toy waits for
    hold.touch()
    watch = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "advance", "--watch"],
        cwd=workspace.root,
        stdout=subprocess.DEVNULL,
    )
    store = StateStore(workspace.state_dir)
    wait_for(lambda: store.path.exists() and state_of(workspace).jobs)
    edit(workspace, 'seeds = "0-5"', 'seeds = "10-15"')
    hold.unlink()

    assert watch.wait(WAIT_S) == 0
    assert {run.seed for run in state_of(workspace).runs_of("multiseed").values()} == set(
        range(10, 16)
    )
    assert cli("advance").stdout.startswith("- nothing new")


def test_a_task_lives_as_long_as_any_of_its_processes(workspace: Workspace, cli: Cli) -> None:
    """Killing the controller alone ends nothing: the task still runs, and cancel reaches it."""
    edit(workspace, "steps = 3", "steps = 100\nstep_s = 0.2")
    cli("advance")
    (job,) = state_of(workspace).live_jobs().values()
    controller = psutil.Process(int(job.job_id or 0))
    wait_for(controller.children)
    (worker,) = controller.children()
    controller.kill()
    wait_for(lambda: not psutil.pid_exists(controller.pid))

    assert cli("advance").returncode == 0
    assert {run.tries for run in state_of(workspace).runs_of("pilot").values()} == {1}
    assert cli("cancel", "--yes").returncode == 0
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_cancel_works_with_a_broken_study(workspace: Workspace, cli: Cli) -> None:
    """A typo in study.toml does not keep jobs alive."""
    edit(workspace, "steps = 3", "steps = 100\nstep_s = 0.2")
    cli("advance")
    edit(workspace, "[config]", "[confg]")

    assert cli("cancel", "--yes").returncode == 0
    assert not [job for job in json.loads(cli("status", "--json").stdout)["phases"][0]["jobs"]
                if job["state"] == "RUNNING"]  # fmt: skip


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
