"""From results in a workspace to RESULTS.md: what counts as complete, what it owns up to."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.gather import gather
from pipeline.publish import outputs_exist, publish
from pipeline.replan import replanned
from pipeline.report_input import PhaseStatus, ReportInput
from pipeline.site import Site, open_site
from pipeline.state import JobRecord, RunRecord, RunStatus, State, TaskRecord
from pipeline.workspace import Workspace
from tests.pipeline.conftest import edit
from tests.pipeline.result_file import result_for

TOKEN = "0123456789"
STATUSES = {"failed": RunStatus.FAILED, "running": RunStatus.RUNNING, "queued": RunStatus.QUEUED}


def filled(
    site: Site,
    fates: Mapping[str, str] | None = None,
    state: State | None = None,
    gpu_s: float = 0,
    code: Mapping[str, object] | None = None,
) -> State:
    """A state in which every run has a result, but those whose key starts as `fates` says."""
    planned, _ = replanned(site.study, site.profile_name, state)
    runs = dict(planned.runs)
    jobs = dict(planned.jobs)
    for key, run in planned.runs.items():
        fate = next((f for start, f in (fates or {}).items() if key.startswith(start)), "done")
        if not run.in_plan or run.status is RunStatus.DONE or fate == "planned":
            continue
        runs[key] = replace(run, job=TOKEN + run.phase, task=0, tries=1)
        if fate == "done":
            content = result_of(key, run, gpu_s, code or {})
            folder = site.workspace.run_dir(key)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_bytes(content)
            runs[key] = replace(
                runs[key],
                status=RunStatus.DONE,
                result_digest=digest_of(content),
                device_seconds=7200.0,
                gpu_seconds=gpu_s,
            )
        else:
            runs[key] = replace(runs[key], status=STATUSES[fate], reason="loss is nan")
    for phase in {run.phase for run in runs.values() if run.job and run.in_plan}:
        keys = tuple(key for key, run in runs.items() if run.phase == phase and run.job)
        jobs[TOKEN + phase] = JobRecord(
            phase=phase,
            profile="local",
            backend="local",
            tasks=(TaskRecord(runs=keys),),
            submitted_at="2026-01-02T00:00:00+00:00",
            job_id="77",
        )
    return replace(planned, runs=runs, jobs=jobs)


def frozen(site: Site, state: State) -> State:
    """The state with today's plan frozen before anything was submitted."""
    return replace(
        state,
        frozen_plan=site.study.plan_digest(),
        plan_frozen_at="2026-01-01T00:00:00+00:00",
    )


def result_of(key: str, run: RunRecord, gpu_s: float, code: Mapping[str, object]) -> bytes:
    """A result.json of a run; a handicap shows and every seed has its own luck."""
    value = 1.0 + 0.5 * (run.condition == "worse") + 0.01 * (run.seed % 7)
    value += 0.001 * ((run.seed * 3 + len(run.condition)) % 5)
    attempt = {
        "token": TOKEN + run.phase,
        "array_index": run.seed % 6,
        "node": f"node{run.seed % 2}",
    }
    committed = {"commit": "c" * 40, "dirty": False, "source_digest": "0" * 64, **code}
    took = {"wall_s": 7200.0, "device_s": 7200.0, "gpu_s": gpu_s}
    return result_for("toy", key, run, {"loss": value}, attempt, code=committed, **took)


def report_of(site: Site, state: State) -> ReportInput:
    """What the report is made from."""
    return gather(site.workspace, site.study, state)


def published(site: Site, state: State) -> str:
    """RESULTS.md of a state."""
    publish(site.workspace, site.study, state)
    return site.workspace.report_file.read_text(encoding="utf-8")


def accepted(state: State, phase: str) -> State:
    """The state once a person has decided to go on without the phase's failed runs."""
    record = replace(state.phases[phase], accepted_failed=True)
    return replace(state, phases={**state.phases, phase: record})


@pytest.mark.parametrize(
    ("fate", "accept", "status"),
    [
        ("failed", False, PhaseStatus.NEEDS_PERSON),
        ("failed", True, PhaseStatus.COMPLETE),
        ("queued", True, PhaseStatus.RUNNING),
        ("running", True, PhaseStatus.RUNNING),
        ("planned", True, PhaseStatus.RUNNING),
    ],
)
def test_a_phase_is_analysed_when_no_hole_may_still_be_filled(
    site: Site, fate: str, accept: bool, status: PhaseStatus
) -> None:
    """All done, or a person accepted the failed runs and nothing else is open."""
    state = filled(site, {"multiseed/worse-s2": fate})
    phase = report_of(site, accepted(state, "multiseed") if accept else state).phases[1]

    assert phase.status is status
    assert (phase.analysis is not None) == (status is PhaseStatus.COMPLETE)
    assert (phase.done, phase.total, len(phase.holes)) == (11, 12, 1)


def test_a_phase_without_its_failed_runs_says_so(site: Site) -> None:
    """The deviation names the decision and each failed run; the pair is missing by its seed."""
    state = accepted(filled(site, {"multiseed/worse-s2": "failed"}), "multiseed")

    text = published(site, state)

    deviations = text.split("## Deviations")[1].split("##")[0]
    assert "analysed without 1 failed run, as decided by a person" in deviations
    assert "Handicapped, seed 2: failed (loss is nan)." in deviations
    assert "Seeds without a complete pair: 2." in text
    assert "| 2 | [1.0" in text


def test_a_phase_whose_runs_all_failed_is_still_reported(site: Site) -> None:
    """Nothing is left to compare: INCONCLUSIVE and no crash."""
    fates = {"pilot": "failed", "multiseed": "failed"}
    state = accepted(accepted(filled(site, fates), "pilot"), "multiseed")

    text = published(site, state)

    assert "**INCONCLUSIVE**" in text
    assert "svg" not in text


SECOND = """
[phases.second]
kind = "multiseed"
seeds = "10-13"
"""


@pytest.fixture
def two_phases(workspace: Workspace) -> Site:
    """The toy study with a second multi-seed phase, which is exploratory."""
    with workspace.study_file.open("a", encoding="utf-8") as file:
        file.write(SECOND)
    return open_site(workspace, None)


def test_two_phases_of_a_kind_stay_apart(two_phases: Site) -> None:
    """Own figures, own headings, and every verdict outside its section names its phase."""
    site = two_phases
    text = published(site, frozen(site, filled(site)))

    names = {path.name for path in site.workspace.figures_dir.iterdir()}
    assert {"multiseed-strip.svg", "second-strip.svg", "second-forest.svg"} < names
    assert "(figures/second-forest.svg)" in text
    assert "## Phase 1: Multi-seed validation\n" in text
    assert "## Phase 2: Multi-seed validation (second)" in text
    for heading in ("Executive summary", "Key findings", "Hypothesis assessment", "Conclusion"):
        lines = text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
        said = [line for line in lines if re.search(r"^[^|]*\*\*[A-Z]{8,}\*\*", line)]
        assert len(said) == 2
        assert "in phase 1, multiseed" in said[0]
        assert "in phase 2, second" in said[1]
    rows = re.findall(r"^\| \S+ \| \*\*.*\| (\d, \w+) \|$", text, re.MULTILINE)
    assert rows == ["1, multiseed", "2, second"]


def test_only_a_frozen_confirmatory_phase_gives_unmarked_verdicts(two_phases: Site) -> None:
    """An exploratory phase is marked always; a confirmatory one when its plan was not fixed."""
    site = two_phases
    state = filled(site)

    def marks(given: State) -> list[tuple[str, ...]]:
        report = report_of(site, given)
        return [report.marks(phase) for phase in report.phases[1:3]]

    ran_first = replace(frozen(site, state), plan_frozen_at="2026-01-03T00:00:00+00:00")
    changed = replace(frozen(site, state), frozen_plan="0" * 64)
    assert marks(state) == [("POST-HOC",), ("exploratory",)]
    assert marks(frozen(site, state)) == [(), ("exploratory",)]
    assert marks(ran_first) == [("POST-HOC",), ("exploratory",)]
    assert marks(changed) == [("POST-HOC",), ("exploratory", "POST-HOC")]
    text = published(site, frozen(site, state))
    verdicts = re.findall(r"\*\*[A-Z]{8,}\*\*.*", text)
    assert {"exploratory" in line for line in verdicts if "phase 2" in line} == {True}
    assert {"exploratory" in line for line in verdicts if "phase 1" in line} == {False}


def test_an_exploratory_phase_may_run_some_conditions_only(workspace: Workspace) -> None:
    """Hypotheses whose conditions it does not run are left to the other phases."""
    with workspace.study_file.open("a", encoding="utf-8") as file:
        file.write(SECOND + 'conditions = ["worse"]\n')
    site = open_site(workspace, None)

    text = published(site, filled(site))

    assert "No hypothesis is tested in this phase." in text
    assert "(figures/second-strip.svg)" in text
    assert "second-forest" not in text


def test_outputs_exist_until_one_is_gone(site: Site) -> None:
    """A deleted figure or report is noticed without any analysis."""
    workspace = site.workspace
    assert not outputs_exist(workspace)
    published(site, filled(site))
    assert outputs_exist(workspace)
    (workspace.figures_dir / "multiseed-forest.svg").unlink()
    assert not outputs_exist(workspace)


def test_figures_that_is_a_file_is_told_in_one_line(site: Site) -> None:
    """The report is not written without its figures."""
    site.workspace.figures_dir.write_text("")
    with pytest.raises(PipelineError, match="figures: is a file"):
        publish(site.workspace, site.study, filled(site))
    assert not site.workspace.report_file.exists()


def test_a_figure_that_cannot_be_written_is_told_in_one_line(site: Site) -> None:
    """A read-only or full disk, here a folder in the figure's place."""
    (site.workspace.figures_dir / "multiseed-strip.svg").mkdir(parents=True)
    with pytest.raises(PipelineError, match=r"multiseed-strip.svg: cannot be written"):
        publish(site.workspace, site.study, filled(site))


def section(text: str, heading: str) -> str:
    """A section of the report, without its heading."""
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def test_gpu_hours_are_those_of_gpus_alone(site: Site) -> None:
    """Without a GPU the column holds zeros, however long the tasks took."""
    details = section(published(site, filled(site)), "Job details")
    assert "| 1 Multi-seed validation | 0 | 24.00 |" in details
    assert "| mean of one run, Baseline | 0 | 2.00 |" in details
    assert re.search(r"\| 77 \| multiseed \|.*\| 0 \| 24.00 \|", details)


def test_gpu_hours_and_task_hours_stand_apart(site: Site) -> None:
    """Each from its own measurement."""
    details = section(published(site, filled(site, gpu_s=3600)), "Job details")
    assert "| 1 Multi-seed validation | 12.00 | 24.00 |" in details


def test_where_each_run_ran_is_told_by_task(site: Site) -> None:
    """Job, array index and node, runs of one task together; a job of many tasks counts them."""
    text = published(site, filled(site))
    row = "| multiseed | 77 | 1 | node1 | Baseline: 1; Handicapped: 1 |"
    assert row in section(text, "Job details")
    assert "| job | 77 (6 tasks) | 77 (6 tasks) |" in text


def test_the_plan_says_once_that_it_is_frozen(site: Site) -> None:
    """The state of the plan with its date."""
    text = published(site, frozen(site, filled(site)))
    assert "| state | frozen on 2026-01-01T00:00:00+00:00 |" in text


def test_the_way_on_names_phases_of_the_study_alone(site: Site) -> None:
    """Kinds of phases that the study does not declare are named as open, not as coming next."""
    fates = {"multiseed": "planned"}
    assert "its 12 planned runs come next" in section(
        published(site, filled(site, fates)), "Recommendations"
    )
    done = section(published(site, filled(site)), "Recommendations")
    assert "Not run" not in done
    assert "Every phase of the study is complete." in done
    assert "Not in the study, and so open: Diagnostics, Hyperparameter sweep, Alternatives." in done


def test_a_pilot_of_several_seeds_is_not_called_single_runs(workspace: Workspace) -> None:
    """No inference either way, in words that fit."""
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1002"')
    site = open_site(workspace, None)
    text = published(site, filled(site))
    assert "no inference is drawn from a pilot, here of up to 3 seeds per condition" in text
    assert "single runs" not in text


def test_phases_that_the_study_dropped_are_not_called_not_run(workspace: Workspace) -> None:
    """Runs were submitted and cost time; they are named and not counted."""
    site = open_site(workspace, None)
    before = filled(site)
    edit(workspace, "[phases.multiseed]", '[phases.confirm]\nkind = "multiseed"')
    edit(workspace, "[phases.pilot]\nseeds = [1000]", "[phases.pilot]\nseeds = [1001]")
    now = open_site(workspace, None)
    state = replace(filled(now, {"": "planned"}, state=before), frozen_plan=None)

    text = published(now, state)

    assert (
        "| 2 Multi-seed validation | not in the study any more | 12 submitted, none planned" in text
    )
    assert "12 submitted runs of an earlier version of the study are kept and not counted." in text
    assert "| 2 Multi-seed validation | 0 | 24.00 |" in section(text, "Job details")
    pilot = section(text, "Phase 0: Pilot")
    assert "Not run. 2 submitted runs of an earlier version" in pilot


@pytest.mark.parametrize(
    ("code", "said", "checkout"),
    [
        ({"commit": "c" * 40, "dirty": False}, "pipeline advance", True),
        ({"commit": "c" * 40, "dirty": True}, "cannot be reproduced from the commit alone", False),
        ({"commit": None, "dirty": None}, "14 of 14 runs record no commit", False),
    ],
)
def test_a_checkout_is_promised_only_where_it_suffices(
    site: Site, code: dict[str, object], said: str, checkout: bool
) -> None:
    """Uncommitted changes are in no commit."""
    state = filled(site, code=code)
    reproduce = section(published(site, state), "How to reproduce")
    assert said in reproduce
    assert ("git checkout" in reproduce) == checkout
