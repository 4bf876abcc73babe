"""What `pipeline plan` shows: phases, runs, tasks and what they will cost."""

from collections import Counter
from collections.abc import Sequence

from pipeline.plan import RunSpec, TaskSpec, pack, plan_phase
from pipeline.replan import replanned
from pipeline.site import Site
from pipeline.state import RunStatus, State

_HOUR_S = 3600


def outline(site: Site) -> tuple[list[list[str]], list[str]]:
    """Rows (phase, runs, tasks, profile, forecast), and lines about the rest."""
    state, _ = replanned(site, site.store.load())
    rows = []
    for name in site.study.file.phases:
        runs = plan_phase(site.study, name)
        left = [run for run in runs if state.runs[run.key].status is not RunStatus.DONE]
        tasks = pack(site.study, left, site.profile.stack_size)
        rows.append(
            [name, _of(len(left), len(runs)), str(len(tasks)), _place(site),
             _forecast(site, state, left, tasks)]
        )  # fmt: skip
    return rows, [*_conditions(site), f"analysis plan {site.study.plan_digest()[:12]}"]


def _of(left: int, total: int) -> str:
    return str(total) if left == total else f"{left} of {total}"


def _place(site: Site) -> str:
    profile = site.profile
    if profile.backend == "local":
        return f"{site.profile_name} ({profile.max_running} at a time)"
    parts = [f"--partition={profile.partition}" if profile.partition else "", profile.gres or ""]
    return f"{site.profile_name} ({' '.join(part for part in parts if part) or 'slurm'})"


def _forecast(site: Site, state: State, left: Sequence[RunSpec], tasks: Sequence[TaskSpec]) -> str:
    """Device-hours from measured runs; before there are any, what the time limit allows."""
    unit = "GPU-h" if site.profile.gpus else "task-h, no GPU"
    if not left:
        return "done"
    seconds = measured_seconds(state, left)
    if seconds is not None:
        return f"{seconds / _HOUR_S:.2g} {unit}, from finished runs"
    devices = max(1, site.profile.gpus)
    limit = len(tasks) * devices * site.profile.walltime_min / 60
    return f"not measured yet; at most {limit:.3g} {unit} (time limit)"


def measured_seconds(state: State, runs: Sequence[RunSpec]) -> float | None:
    """Device seconds these runs will take; None while one of their conditions is unmeasured."""
    total = 0.0
    for condition, count in Counter(run.condition for run in runs).items():
        measured = [
            run.device_seconds
            for run in state.runs.values()
            if run.condition == condition and run.in_plan and run.device_seconds is not None
        ]
        if not measured:
            return None
        total += count * sum(measured) / len(measured)
    return total


def _conditions(site: Site) -> list[str]:
    file = site.study.file
    lines = [f"question: {file.study.question}"]
    lines += [f"condition {name}: {condition.label}" for name, condition in file.conditions.items()]
    lines += [
        f"hypothesis {name} ({hypothesis.family}): {hypothesis.candidate} against "
        f"{hypothesis.reference}: {hypothesis.statement}"
        for name, hypothesis in file.hypotheses.items()
    ]
    return lines
