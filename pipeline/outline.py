"""What `pipeline plan` shows: phases, runs, tasks and what they will cost."""

from collections import Counter
from collections.abc import Sequence

from pipeline.plan import RunSpec, pack, plan_phase
from pipeline.replan import replanned
from pipeline.site import Site
from pipeline.state import RunStatus, State

_HOUR_S = 3600


def outline(site: Site) -> tuple[list[list[str]], list[str]]:
    """Rows (phase, runs, tasks, forecast), and lines about the rest."""
    state, _ = replanned(site.study, site.profile_name, site.store.load())
    rows = []
    for name in site.study.file.phases:
        runs = plan_phase(site.study, name, state.selections)
        left = [run for run in runs if state.runs[run.key].status is not RunStatus.DONE]
        tasks = pack(site.study, left, site.profile.stack_size)
        waits = state.phases[name].awaits
        cost = forecast(site, state, left, len(tasks))
        rows.append(
            [name, "", "", f"planned once {waits} has selected"]
            if waits
            else [name, _of(len(left), len(runs)), str(len(tasks)), cost]
        )
    return rows, [_place(site), *_declared(site)]


def _of(left: int, total: int) -> str:
    return str(total) if left == total else f"{left} of {total}"


def _place(site: Site) -> str:
    """Where tasks would go, and with what."""
    profile = site.profile
    if profile.backend == "local":
        words = [f"profile {site.profile_name} (this machine)"]
        words.append(f"{profile.max_running} tasks at a time")
    else:
        words = [f"profile {site.profile_name} (Slurm)"]
        words += [f"partition {profile.partition}"] if profile.partition else []
        words += [profile.gres] if profile.gres else []
        words.append(f"{profile.mem_gb} GB")
    cpus = profile.cpus_per_task
    words.append(f"{cpus} CPU{'s' * (cpus > 1)} and {profile.walltime_min} min a task")
    return ", ".join(words)


def forecast(site: Site, state: State, left: Sequence[RunSpec], tasks: int) -> str:
    """Device-hours of runs in so many tasks.

    From measured runs; before there are any, what the time limit allows.
    """
    unit = "GPU-h" if site.profile.gpus else "task-h (no GPU)"
    if not left:
        return "done"
    seconds = measured_seconds(state, left, on_gpu=bool(site.profile.gpus))
    if seconds is not None:
        return f"{seconds / _HOUR_S:.2g} {unit}, as finished runs took"
    devices = max(1, site.profile.gpus)
    limit = tasks * devices * site.profile.walltime_min / 60
    return f"at most {limit:.3g} {unit}; not measured yet"


def measured_seconds(state: State, runs: Sequence[RunSpec], *, on_gpu: bool) -> float | None:
    """Device seconds these runs will take; None while one of their conditions is unmeasured."""
    total = 0.0
    for condition, count in Counter(run.condition for run in runs).items():
        measured = [
            run.device_seconds
            for run in state.runs.values()
            if run.condition == condition
            and run.in_plan
            and run.device_seconds is not None
            and bool(run.gpu_seconds) is on_gpu
        ]
        if not measured:
            return None
        total += count * sum(measured) / len(measured)
    return total


def _declared(site: Site) -> list[str]:
    file = site.study.file
    lines = [f"question: {file.study.question}"]
    lines += [f"condition {name}: {condition.label}" for name, condition in file.conditions.items()]
    lines += [
        f"hypothesis {name} ({hypothesis.family}): {hypothesis.candidate} against "
        f"{hypothesis.reference}: {hypothesis.statement}"
        for name, hypothesis in file.hypotheses.items()
    ]
    return [*lines, f"analysis plan {site.study.plan_digest()[:12]}"]
