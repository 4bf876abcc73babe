"""The doctor's judgements: facts in, findings out, no cluster."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.doctor.examine import judge_cluster
from pipeline.doctor.files import FileFacts, file_system_of, judge_files, judge_sharing
from pipeline.doctor.finding import Finding, Level, failure, ok, problem, warning
from pipeline.doctor.machine import MachineFacts, judge_local
from pipeline.doctor.nodes import satisfies
from pipeline.doctor.render import as_json, plain_line, summary
from pipeline.doctor.study import judge_code
from pipeline.doctor.torch_probe import TorchFacts, torch_facts
from pipeline.profiles import LocalProfile, SlurmProfile
from pipeline.scheduler.cluster import Association, ClusterFacts, Gres, NodeShape, Partition, Qos

GPU = Gres("gpu", "a100", 4)
FACTS = ClusterFacts(
    version="slurm-wlm 22.05.8",
    answers=True,
    clock_skew_s=0.0,
    settings={
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageEnforce": "associations,limits,qos",
        "ClusterName": "lab",
        "EnforcePartLimits": "ALL",
        "MaxArraySize": "1001",
    },
    partitions={
        "gpu": Partition("gpu", default=True, max_time_min=240),
        "long": Partition("long", max_time_min=2880),
    },
    nodes=(
        NodeShape("gpu", "idle", 3, 32, 256_000, (GPU,), frozenset({"ib", "rack1"})),
        NodeShape("gpu", "idle", 1, 128, 64_000),
        NodeShape("long", "mixed", 2, 32, 256_000, (GPU,)),
    ),
    qos={"normal": Qos("normal"), "big": Qos("big", max_submit_per_user=50, max_wall_min=120)},
    associations=(Association("lab", user="me", qos=("big", "normal")),),
    accounts={"lab": Association("lab", parent="root"), "root": Association("root")},
    default_account="lab",
    user="me",
    groups=frozenset({"users"}),
)
GOOD = SlurmProfile(
    backend="slurm", partition="gpu", gres="gpu:a100:1", walltime_min=240, max_submitted=100
)


def profile(**changes: Any) -> SlurmProfile:
    """The good profile with some keys changed."""
    return GOOD.model_copy(update=changes)


def partition(**changes: Any) -> ClusterFacts:
    """The facts with the partition gpu changed."""
    assert FACTS.partitions is not None
    return replace(FACTS, partitions={"gpu": replace(FACTS.partitions["gpu"], **changes)})


def own(**changes: Any) -> ClusterFacts:
    """The facts with the user's association changed."""
    assert FACTS.associations is not None
    return replace(FACTS, associations=(replace(FACTS.associations[0], **changes),))


def setting(name: str, value: str) -> ClusterFacts:
    """The facts with one setting of the cluster changed."""
    return replace(FACTS, settings={**FACTS.settings, name: value})


def worst(findings: list[Finding]) -> Level:
    """The highest level among findings."""
    levels = [finding.level for finding in findings]
    return max(levels, key=list(Level).index)


def test_a_profile_that_fits_its_cluster_is_all_ok() -> None:
    """Nothing is found where nothing is wrong, and every subject has its line."""
    findings = list(judge_cluster(GOOD, FACTS))

    assert {finding.level for finding in findings} == {Level.OK}
    assert [finding.check for finding in findings] == [
        "commands", "controller", "clock", "accounting", "partition", "account", "qos", "nodes",
        "array", "walltime", "submitted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "facts", "level", "check", "words"),
    [
        (profile(partition="gpuu"), FACTS, "problem", "partition", 'did you mean "gpu"?'),
        (profile(partition=None), replace(FACTS, partitions={"x": Partition("x")}),
         "problem", "partition", "no default"),
        (GOOD, partition(state="DRAIN"), "problem", "partition", "takes no new jobs"),
        (GOOD, partition(state="INACTIVE"), "problem", "partition", "takes no jobs"),
        (GOOD, partition(state="DOWN"), "warning", "partition", "do not start"),
        (GOOD, partition(allow_accounts=frozenset({"vip"})), "problem", "partition", "only to vip"),
        (GOOD, partition(deny_accounts=frozenset({"lab"})), "problem", "partition", "closed to"),
        (GOOD, partition(allow_qos=frozenset({"big"})), "problem", "partition", 'QOS "normal"'),
        (GOOD, partition(deny_qos=frozenset({"normal"})), "problem", "partition", "closed to QOS"),
        (GOOD, partition(allow_groups=frozenset({"staff"})), "problem", "partition", "staff"),
        (GOOD, replace(FACTS, partitions=None, silent={"scontrol": "mute"}),
         "warning", "partition", "mute"),
        (profile(account="lub"), FACTS, "problem", "account", 'did you mean "lab"?'),
        (GOOD, replace(FACTS, associations=()), "problem", "account", "no account"),
        (GOOD, replace(FACTS, default_account=None), "problem", "account", "no default account"),
        (profile(qos="bigg"), FACTS, "problem", "qos", 'did you mean "big"?'),
        (profile(qos="big"), own(qos=("normal",)), "problem", "qos", "only normal"),
        (profile(gres="gpu:h100:1"), FACTS, "problem", "nodes", "offer gpu:a100:4"),
        (profile(gres="gpu:a100:5"), FACTS, "problem", "nodes", "gres = gpu:a100:5"),
        (profile(gres="tpu:1"), FACTS, "problem", "nodes", "gres = tpu:1"),
        (profile(constraint="ob"), FACTS, "problem", "nodes", "offer ib, rack1"),
        (profile(cpus_per_task=64), FACTS, "problem", "nodes", "offer at most 32"),
        (profile(mem_gb=500), FACTS, "problem", "nodes", "offer at most 250"),
        (profile(mem_gb=100), partition(max_memory_mb_per_node=64_000), "problem", "nodes", "62"),
        (profile(cpus_per_task=9), partition(max_cpus_per_node=8), "problem", "nodes", "at most 8"),
        (GOOD, replace(FACTS, nodes=(NodeShape("gpu", "drained", 2, 32, 256_000, (GPU,)),)),
         "warning", "nodes", "none is in service"),
        (GOOD, replace(FACTS, nodes=()), "problem", "nodes", "has no nodes"),
        (GOOD, replace(FACTS, nodes=None), "warning", "nodes", "sinfo"),
        (profile(walltime_min=241), FACTS, "problem", "walltime", "walltime_min = 240"),
        (profile(walltime_min=121, qos="big"), FACTS, "problem", "walltime", "QOS big"),
        (GOOD, own(max_wall_min=60), "problem", "walltime", "your association"),
        (profile(walltime_min=999, partition="gpu,long"), setting("EnforcePartLimits", "ANY"),
         "warning", "walltime", "no task will start in gpu"),
        (profile(walltime_min=999, partition="gpu,long"), FACTS, "problem", "walltime", "240"),
        (GOOD, setting("MaxArraySize", "0"), "problem", "array", "no job arrays"),
        (GOOD, setting("MaxArraySize", "?"), "warning", "array", "did not tell"),
        (profile(max_submitted=None), own(max_submit=7), "warning", "submitted", "= 7 or less"),
        (profile(qos="big", walltime_min=9), FACTS, "warning", "submitted", "QOS big allows 50"),
        (GOOD, own(max_submit=0), "problem", "submitted", "no job at all"),
        (GOOD, replace(FACTS, accounts={"lab": Association("lab", parent="root"),
                                        "root": Association("root", group_submit=9)}),
         "warning", "submitted", "account root (all its users) allows 9"),
        (GOOD, replace(FACTS, clock_skew_s=40.0), "warning", "clock", "40 s ahead"),
        (GOOD, replace(FACTS, clock_skew_s=None), "warning", "clock", "did not tell"),
        (GOOD, setting("AccountingStorageType", "accounting_storage/none"),
         "warning", "accounting", "off"),
        (GOOD, replace(FACTS, associations=None, qos=None, silent={"sacctmgr": "refused"}),
         "warning", "accounting", "refused"),
        (GOOD, replace(FACTS, missing=("sacct",)), "warning", "commands", "without sacct"),
        (GOOD, ClusterFacts(missing=("sbatch",)), "problem", "commands", "--profile local"),
        (GOOD, ClusterFacts(silent={"scontrol": "mute"}), "problem", "controller", "mute"),
    ],
)  # fmt: skip
def test_each_thing_that_can_be_wrong_has_its_line_and_remedy(
    asked: SlurmProfile, facts: ClusterFacts, level: str, check: str, words: str
) -> None:
    """One change from what fits gives one line that names it, at the right level."""
    found = [f for f in judge_cluster(asked, facts) if f.check == check and f.level == level]

    assert found
    assert any(words in f"{finding.text} {finding.remedy}" for finding in found)
    assert all(finding.remedy for finding in found)


@pytest.mark.parametrize(
    ("enforced", "level"),
    [("associations,limits,qos", "problem"), ("none", "ok")],
)
def test_what_a_cluster_does_not_enforce_is_no_problem(enforced: str, level: str) -> None:
    """Without enforcement a wrong account and a tight limit do not stop a job."""
    facts = replace(own(max_submit=0), default_account="other")
    facts = replace(facts, settings={**facts.settings, "AccountingStorageEnforce": enforced})

    findings = list(judge_cluster(GOOD, facts))

    assert worst([f for f in findings if f.check in {"account", "submitted"}]) == level


def test_the_default_qos_is_the_associations() -> None:
    """Without a qos in the profile, the limits of the association's default one count."""
    facts = own(default_qos="big")

    (found,) = [f for f in judge_cluster(GOOD, facts) if f.check == "walltime"]

    assert (found.level, "QOS big allows 120 minutes" in found.text) == (Level.PROBLEM, True)


@pytest.mark.parametrize(
    ("constraint", "granted"),
    [("a", True), ("a&b", True), ("a&c", False), ("c|b", True), ("c|d&a", False),
     ("[a|b]", True), ("c*2", False), ("a*2&c*1", True)],
)  # fmt: skip
def test_constraints_are_read_as_slurm_does(constraint: str, granted: bool) -> None:
    """Features joined by & and |; longer forms are asked for one of their features."""
    assert satisfies(frozenset({"a", "b"}), constraint) is granted


NAMES = st.sampled_from(["gpu", "long", "", "x", "lab", "normal", "big"])
LIMITS = st.none() | st.integers(0, 10_000)


@given(
    asked=st.builds(
        profile,
        partition=st.none() | st.sampled_from(["gpu", "x", "gpu,long,x"]),
        qos=st.none() | NAMES,
        account=st.none() | NAMES,
        gres=st.none() | st.sampled_from(["gpu:a100:1", "tpu", "gpu:0", ",,", "::"]),
        constraint=st.none() | st.text("ab&|[]*() ", max_size=8),
        max_submitted=LIMITS,
    ),
    facts=st.builds(
        ClusterFacts,
        missing=st.lists(st.sampled_from(["sacct", "sbatch"])).map(tuple),
        answers=st.booleans(),
        settings=st.dictionaries(st.sampled_from(sorted(FACTS.settings)), st.text(max_size=5)),
        partitions=st.none()
        | st.dictionaries(NAMES, st.builds(Partition, NAMES, max_time_min=LIMITS, qos=NAMES)),
        nodes=st.none() | st.just(FACTS.nodes),
        qos=st.none() | st.dictionaries(NAMES, st.builds(Qos, NAMES, max_wall_min=LIMITS)),
        associations=st.none()
        | st.lists(st.builds(Association, NAMES, max_submit=LIMITS)).map(tuple),
        default_account=st.none() | NAMES,
    ),
)
def test_any_facts_are_judged_without_an_exception(
    asked: SlurmProfile, facts: ClusterFacts
) -> None:
    """Half-known clusters give lines, each with a remedy unless it is ok."""
    for finding in judge_cluster(asked, facts):
        assert bool(finding.remedy) == (finding.level is not Level.OK)
        assert "\n" not in plain_line(finding)


def test_the_exit_code_follows_the_worst() -> None:
    """0 with warnings alone, 2 with a problem, 4 when the scheduler gave no answer."""
    light = [ok("a", "x"), warning("b", "x", "y")]
    heavy = [*light, problem("c", "x", "y")]
    silent = [*heavy, problem("d", "x", "y", unreachable=True)]

    assert failure(light) is None
    codes = [error.exit_code for error in map(failure, (heavy, silent)) if error]
    assert codes == [2, 4]
    assert summary(heavy) == "1 ok, 1 warning, 1 problem"
    assert as_json(heavy)["problems"] == 1
    assert [item["level"] for item in as_json(heavy)["findings"]] == ["ok", "warning", "problem"]


@pytest.mark.parametrize(
    ("facts", "level", "check", "words"),
    [
        (FileFacts(error="Disk quota exceeded"), "problem", "disk", "Disk quota exceeded"),
        (FileFacts(write_s=0.1, free_mb=100.0), "warning", "disk", "only 100 MB free"),
        (FileFacts(write_s=0.1, free_mb=1e6, free_files=9), "warning", "disk", "only 9 more files"),
        (FileFacts(write_s=0.1, free_mb=1e6), "ok", "disk", "1,000,000 MB free"),
        (FileFacts(log_error="x: No such file"), "problem", "log folder", "0:53"),
        (FileFacts(lock_error="No locks available"), "problem", "locks", "No locks available"),
        (FileFacts(clock_skew_s=-90.0), "warning", "file clock", "90 s in the past"),
    ],
)
def test_what_writing_showed_is_judged(
    facts: FileFacts, level: str, check: str, words: str
) -> None:
    """Quota, room, locks, clock and logs have a line each."""
    (found,) = [finding for finding in judge_files(facts) if finding.check == check]

    assert found.level == level
    assert words in f"{found.text} {found.remedy}"


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,relatime shared:2 - nfs4 server:/home rw
31 30 0:41 / /home/me/with\\040space rw - lustre x@tcp:/fs rw
32 22 0:42 / /tmp rw - tmpfs tmpfs rw
33 22 0:43 / /tmp rw - xfs /dev/sdb rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/opt/x", "ext4"), ("/home/me", "nfs4"), ("/homework", "ext4"),
     ("/home/me/with space/ws", "lustre"), ("/tmp/x", "xfs"), ("/", "ext4")],
)  # fmt: skip
def test_the_deepest_mount_holds_a_path(path: str, kind: str) -> None:
    """Of several mounts the nearest counts, of two on one point the later."""
    assert file_system_of(Path(path), MOUNTS) == kind
    assert file_system_of(Path(path), "") is None


@given(st.text(max_size=300))
def test_any_mount_table_is_read(text: str) -> None:
    """A table that is not understood tells nothing, and raises nothing."""
    file_system_of(Path("/a/b"), text)


@pytest.mark.parametrize(
    ("kind", "level"),
    [("nfs4", "ok"), ("tmpfs", "warning"), ("fuse.new", "warning"), (None, "warning")],
)
def test_sharing_is_proven_by_deep_alone(kind: str | None, level: str) -> None:
    """The type of a file system is a hint: what is not known to be shared is a warning."""
    found = judge_sharing("the workspace", kind)

    assert found.level == level
    assert "--deep" in f"{found.text} {found.remedy}"


@pytest.mark.parametrize(
    ("changes", "torch", "level", "words"),
    [
        ({}, TorchFacts("2.6", None), "ok", "tasks use CPUs"),
        ({"max_running": 9}, TorchFacts("2.6"), "warning", "want 9; there are 4"),
        ({"gpus_per_task": 1}, TorchFacts("2.6"), "problem", "gpus_per_task = 0"),
        ({"gpus_per_task": 1}, TorchFacts("2.6", "12", ("A100",)), "ok", "A100"),
        ({"gpus_per_task": 1, "max_running": 2}, TorchFacts("2.6", "12", ("A100",)),
         "warning", "max_running = 1"),
        ({}, TorchFacts(error="ModuleNotFoundError: torch"), "problem", "ModuleNotFoundError"),
        ({}, TorchFacts("2.6", "12", (), "driver too old"), "warning", "driver too old"),
    ],
)  # fmt: skip
def test_the_local_profile_is_held_against_this_machine(
    changes: dict[str, Any], torch: TorchFacts, level: str, words: str
) -> None:
    """Cores, GPUs and torch decide."""
    local = LocalProfile(backend="local", stack_size=1).model_copy(update=changes)

    findings = list(judge_local(local, MachineFacts(cores=4, free_gb=64.0, torch=torch)))

    assert worst(findings) == level
    assert any(words in f"{finding.text} {finding.remedy}" for finding in findings)


def test_little_memory_is_a_warning() -> None:
    """Memory is shared by the tasks that run at a time."""
    facts = MachineFacts(cores=4, free_gb=1.5, torch=TorchFacts("2.6"))
    local = LocalProfile(backend="local", max_running=2)

    assert [f.level for f in judge_local(local, facts) if f.check == "memory"] == [Level.WARNING]


@pytest.mark.parametrize(
    ("commit", "dirty", "level"),
    [("a" * 40, False, "ok"), ("a" * 40, True, "warning"), (None, None, "warning")],
)
def test_code_outside_git_or_changed_is_a_warning(
    commit: str | None, dirty: bool | None, level: str
) -> None:
    """A result must be traceable."""
    assert judge_code(commit, dirty).level == level


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["version", "cuda", "devices", "error"]), x)))  # fmt: skip
def test_any_answer_about_torch_is_read(data: object) -> None:
    """What has the wrong type is left out."""
    torch_facts(data)
