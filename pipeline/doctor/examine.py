"""The whole examination, in the order in which a person would look: one finding at a time."""

from collections.abc import Callable, Iterator

from pipeline.doctor.access import (
    judge_account,
    judge_accounting,
    judge_clients,
    judge_clock,
    judge_partitions,
    judge_qos,
)
from pipeline.doctor.deep import go_deep
from pipeline.doctor.files import judge_files, judge_sharing, look_at
from pipeline.doctor.finding import Finding, ok, problem
from pipeline.doctor.limits import judge_array, judge_submitted, judge_walltime
from pipeline.doctor.machine import judge_local, judge_python, look_at_machine
from pipeline.doctor.nodes import judge_nodes
from pipeline.doctor.study import examine_repair, examine_state, examine_study
from pipeline.errors import PipelineError
from pipeline.profiles import SlurmProfile, load_profile
from pipeline.scheduler.cluster import ClusterFacts
from pipeline.scheduler.survey import survey
from pipeline.state import State
from pipeline.study import Study
from pipeline.workspace import Workspace

Tell = Callable[[str], None]


def examine(
    workspace: Workspace,
    profile_name: str | None,
    deep_wait_s: float | None,
    tell: Tell = lambda _: None,
    announce: Tell = lambda _: None,
) -> Iterator[Finding]:
    """Look at everything that decides whether this study will run, and say what was found.

    Args:
        workspace: where the study lies.
        profile_name: where its tasks shall run; by default where `advance` would send them.
        deep_wait_s: how long a job on a compute node may take to answer; None sends none.
        tell: told what is being looked at.
        announce: told what happens to the job on a compute node.
    """
    tell("reading the study")
    study, findings = examine_study(workspace)
    yield from findings
    state, findings = examine_state(workspace)
    yield from findings
    if study is not None:
        tell("looking for what a repair would do")
        yield from examine_repair(workspace, profile_name)
    yield judge_python()
    tell("writing to the workspace")
    files = look_at(workspace)
    yield from judge_files(files)
    name = profile_name or _usual_profile(study, state)
    try:
        profile = load_profile(workspace.profiles_file(), name)
    except PipelineError as error:
        for line in str(error).splitlines():
            yield problem("profile", line, "mend the file, or choose another with --profile")
        return
    yield ok("profile", f"{name} ({profile.backend}), from {workspace.profiles_file()}")
    trainer = study.file.study.trainer if study else None
    if profile.backend == "local":
        tell("importing torch")
        yield from judge_local(profile, look_at_machine())
        return
    facts = survey(on_ask=lambda client: tell(f"asking {client}"))
    yield from judge_cluster(profile, facts)
    if deep_wait_s is None or not facts.answers:
        yield judge_sharing("the workspace", files.file_system)
        yield judge_sharing("the Python environment", files.python_file_system)
    else:
        tell("waiting for a compute node")
        yield from go_deep(workspace, name, profile, trainer, deep_wait_s, announce)


def _usual_profile(study: Study | None, state: State | None) -> str:
    """As for `advance`: the last used, else the study's own."""
    if state is not None:
        return state.profile
    return study.file.study.profile if study is not None else "local"


def judge_cluster(profile: SlurmProfile, facts: ClusterFacts) -> Iterator[Finding]:
    """Every judgement of a profile against what a cluster says of itself; pure."""
    yield from judge_clients(facts)
    if not facts.answers:
        return
    yield judge_clock(facts)
    yield judge_accounting(facts)
    yield from judge_partitions(profile, facts)
    yield from filter(None, (judge_account(profile, facts), judge_qos(profile, facts)))
    yield from judge_nodes(profile, facts)
    yield judge_array(facts)
    yield from filter(None, (judge_walltime(profile, facts), judge_submitted(profile, facts)))
