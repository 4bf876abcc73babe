"""Result files with planted truths: what a study's runs came to, told by a function of the run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.digest import digest_of
from pipeline.plan import plan_phase
from pipeline.replan import replanned
from pipeline.select import selected
from pipeline.site import Site
from pipeline.state import JobRecord, RunRecord, RunStatus, State, TaskRecord
from tests.pipeline.result_file import result_for

TOKEN = "0123456789"
ZERO = {"zero": {"value": 1.5, "standard_error": 0.001, "count": 100}}
"""What the one reference predictor comes to, in every metric."""
Truth = Callable[[RunRecord], Mapping[str, float] | None]
"""A run's metrics; None for a run that failed."""
Record = Callable[[RunRecord], tuple[Mapping[str, float], bytes] | None]
"""A run's numbers that explain, and its file of arrays; None for a run that recorded nothing."""


def _nothing(run: RunRecord) -> None:
    del run


WHOLE_STUDY = """\
[study]
name = "whole"
question = "Does a lift help?"
trainer = "toy:ToyTrainer"
metric = { name = "loss", direction = "minimize" }

[config]
steps = 3

[conditions.baseline]
label = "Baseline"

[conditions.handicapped]
label = "Handicapped"
config.handicap = 0.05

[conditions.lifted]
label = "Lifted"
config.lift = { height = -0.03 }

[conditions.turned]
label = "Turned"
config.lift = { turns = 1 }

[hypotheses.handicap-helps]
statement = "A handicap lowers the loss."
candidate = "handicapped"
reference = "baseline"

[phases.pilot]
seeds = [1000]
conditions = ["baseline", "handicapped"]

[phases.multiseed]
seeds = "0-9"
conditions = ["baseline", "handicapped"]
confirmatory = true

[phases.sweep]
condition = "lifted"
seeds = "100-102"
grid = { "lift.height" = [-0.04, -0.02, 0.0], "lift.turns" = [1, 2, 3] }
lists = [{ handicap = 0.01 }]

[phases.confirm]
of = "sweep"
seeds = "200-209"
metric = "test_loss"
confirmatory = true

[phases.alternatives]
conditions = ["baseline", "handicapped", "lifted", "turned"]
seeds = "300-309"
confirmatory = true
"""


def planted(
    site: Site, truth: Truth, state: State | None = None, record: Record = _nothing
) -> State:
    """The state once every run has ended as the truth says, phase by phase, and was accepted.

    A phase that waits for a selection is planned once that is made.
    """
    state, _ = replanned(site.study, site.profile_name, state)
    frozen = {"frozen_plan": site.study.plan_digest(), "plan_frozen_at": "2026-01-01T00:00:00Z"}
    state = replace(state, **frozen)  # type: ignore[arg-type]
    for phase in site.study.file.phases:
        state = _ended(site, state, phase, truth, record)
        failed = any(r.status is RunStatus.FAILED for r in state.runs_of(phase).values())
        accepted = replace(state.phases[phase], accepted_failed=failed)
        state = replace(state, phases={**state.phases, phase: accepted})
        state, _ = selected(site, state, phase)
    return state


def _ended(site: Site, state: State, phase: str, truth: Truth, record: Record) -> State:
    runs, token = dict(state.runs), TOKEN + phase
    specs = plan_phase(site.study, phase, state.selections)
    configs = {spec.key: spec.config for spec in specs}
    open_runs = {k: r for k, r in state.runs_of(phase).items() if r.status is RunStatus.PLANNED}
    for key, run in open_runs.items():
        metrics = truth(run)
        ended = replace(run, job=token, task=0, tries=1, reason=None if metrics else "loss is nan")
        if metrics is None:
            runs[key] = replace(ended, status=RunStatus.FAILED)
            continue
        folder = site.workspace.run_dir(key)
        folder.mkdir(parents=True, exist_ok=True)
        references = dict.fromkeys(metrics, ZERO)
        left = _left(folder, record(run))
        attempt = {"token": token}
        content = result_for("whole", key, run, metrics, attempt, references=references, **left)
        config = {"condition": run.condition, "seed": run.seed, "config": configs[key]}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "result.json").write_bytes(content)
        runs[key] = replace(
            ended,
            status=RunStatus.DONE,
            result_digest=digest_of(content),
            device_seconds=60.0,
            gpu_seconds=0.0,
        )
    if not open_runs:
        return state
    job = JobRecord(
        phase=phase,
        profile="local",
        backend="local",
        tasks=(TaskRecord(runs=tuple(open_runs)),),
        submitted_at="2026-01-02T00:00:00+00:00",
        job_id="77",
    )
    return replace(state, runs=runs, jobs={**state.jobs, token: job})


def _left(folder: Path, recorded: tuple[Mapping[str, float], bytes] | None) -> dict[str, Any]:
    """Write a run's file of arrays; return what its result says of it."""
    if recorded is None:
        return {}
    numbers, content = recorded
    (folder / "diagnostics.npz").write_bytes(content)
    file = {"file": "diagnostics.npz", "sha256": digest_of(content)}
    return {"diagnostics": dict(numbers), "artefacts": {"diagnostics": file}}
