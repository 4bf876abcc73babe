"""Stops the tasks of this machine between two pieces of a study; nothing of them is lost.

For a machine that is there for minutes at a time. Tasks write their checkpoints and end, their runs
are planned again, and no try is counted. A cluster's jobs need no pause: they outlive the watch.
"""

from pipeline.advance import OnWait, recover
from pipeline.cancel import Tasks, end_tasks, live_tasks
from pipeline.lock import exclusive
from pipeline.site import Site, fresh
from pipeline.state import State
from pipeline.step import Step, look, save


def pause(site: Site, on_wait: OnWait = lambda _: None) -> Step:
    """Have the tasks of this machine write checkpoints and end; the next `advance` goes on.

    What has not ended within the profile's `signal_lead_s` is killed, and goes on from the
    checkpoint before.

    Raises:
        PipelineError: see the errors of loading.
        SchedulerUnreachableError: a scheduler does not answer; nothing was changed.
    """
    with exclusive(site.workspace.lock_file, on_wait=on_wait):
        site = fresh(site)
        step = look(site)
        tasks = _of_this_machine(step.state)
        if tasks:
            ended = end_tasks(site.workspace, site.store, step.state, tasks, "pause", on_wait)
            save(site, step, ended.state, ended.events)
        recover(site, step)
        return step


def _of_this_machine(state: State) -> Tasks:
    tasks = live_tasks(state)
    return {token: tasks[token] for token in tasks if state.jobs[token].backend == "local"}
