"""From results in a workspace to RESULTS.md: what counts as complete, what it owns up to."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipeline.digest import digest_of
from pipeline.gather import gather
from pipeline.publish import publish
from pipeline.replan import replanned
from pipeline.report_input import PhaseStatus, ReportInput
from pipeline.site import Site
from pipeline.state import JobRecord, RunRecord, RunStatus, State, TaskRecord

TOKEN = "0123456789"
STATUSES = {"failed": RunStatus.FAILED, "running": RunStatus.RUNNING, "queued": RunStatus.QUEUED}


def filled(
    site: Site, fates: Mapping[str, str] | None = None, state: State | None = None, gpu_s: float = 0
) -> State:
    """A state in which every run has a result, but those whose key starts as `fates` says."""
    planned, _ = replanned(site, state)
    runs = dict(planned.runs)
    jobs = dict(planned.jobs)
    for key, run in planned.runs.items():
        fate = next((f for start, f in (fates or {}).items() if key.startswith(start)), "done")
        if not run.in_plan or run.status is RunStatus.DONE or fate == "planned":
            continue
        runs[key] = replace(run, job=TOKEN + run.phase, task=0, tries=1)
        if fate == "done":
            content = result_of(key, run, gpu_s)
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
    for phase in {run.phase for run in runs.values() if run.job}:
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


def result_of(key: str, run: RunRecord, gpu_s: float, **changes: object) -> bytes:
    """A result.json of a run; a handicap shows and every seed has its own luck."""
    value = 1.0 + 0.5 * (run.condition == "worse") + 0.01 * (run.seed % 7)
    value += 0.001 * ((run.seed * 3 + len(run.condition)) % 5)
    measured = {"value": value, "standard_error": 0.001, "count": 100}
    record = {
        "study": "toy", "phase": run.phase, "run_id": key.partition("/")[2],
        "condition": run.condition, "seed": run.seed, "config_digest": run.config_digest,
        "attempt": {
            "token": TOKEN + run.phase, "task": 0, "job_id": "77",
            "array_index": run.seed % 4, "node": f"node{run.seed % 2}",
        },
        "metrics": {"loss": measured}, "references": {},
        "data_digests": {"validation": "d" * 64}, "details": {"device": "cpu"}, "versions": {},
        "code": {"commit": "c" * 40, "dirty": False, "source_digest": "0" * 64},
        "started_at": "2026-01-02T00:00:00Z", "ended_at": "2026-01-02T02:00:00Z",
        "wall_s": 7200.0, "device_s": 7200.0, "gpu_s": gpu_s, **changes,
    }  # fmt: skip
    return json.dumps(record).encode()


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
    assert (phase.done, phase.total, len(phase.holes)) == (7, 8, 1)


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
