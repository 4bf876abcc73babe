"""`pipeline advance --dry-run`: what the next step would do. Writes and submits nothing."""

from dataclasses import replace

from pipeline import canary
from pipeline.decisions import is_complete
from pipeline.failures.recovery import recovered, stopping
from pipeline.gates import closed_gates
from pipeline.needs import bonds, requests
from pipeline.observe import observe
from pipeline.outline import forecast
from pipeline.plan import pack
from pipeline.provenance import now
from pipeline.publish import outputs_exist
from pipeline.reconcile import reconcile
from pipeline.replan import replanned
from pipeline.site import Site
from pipeline.state import State
from pipeline.step import Step, input_digest, stopped_line, told, waiting
from pipeline.submit import free_places
from pipeline.words import count


def preview(site: Site) -> Step:
    """What `advance` would do now; nothing is written or submitted."""
    state, _ = replanned(site.study, site.profile_name, site.store.load())
    state, events = reconcile(state, observe(site.workspace, state))
    recovery = recovered(state, site.profile.failures, site.profile.walltime_min, now())
    state = recovery.state
    step = Step(state, did=[*told(events), *(f"would act: {line}" for line in recovery.told)])
    for phase in site.study.file.phases:
        if is_complete(state, phase):
            analysed = state.phases[phase].analysed == input_digest(site, state, phase)
            if not (analysed and outputs_exist(site.workspace)):
                step.did.append(f"would analyse {phase} and render RESULTS.md")
        if closed_gates(state, phase):
            break
        if is_complete(state, phase):
            continue
        step.did += _would_submit(site, state, phase)
        break
    return step


def _would_submit(site: Site, state: State, phase: str) -> list[str]:
    if stopped := stopping(state, phase):
        return [stopped_line(phase, stopped)]
    lines, free = [], free_places(site.profile, state)
    release = canary.admitted(site, state, phase, waiting(site, state, phase))
    for request in requests(site.profile, state, release.runs):
        there = replace(site, profile=request.profile)
        tasks = pack(site.study, request.runs, request.profile.stack_size, bonds(state))
        admitted = tasks if free is None else tasks[:free]
        if not admitted:
            break
        free = None if free is None else free - len(admitted)
        runs = [run for task in admitted for run in task.runs]
        lines.append(
            f"would submit {count(len(runs), 'run')} of {phase} in "
            f"{count(len(admitted), 'task')} to profile {site.profile_name} "
            f"({forecast(there, state, runs, len(admitted))})"
        )
    return lines
