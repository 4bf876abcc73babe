"""Readers of scontrol, sinfo and sacctmgr: texts of Slurm 22.05.8, and garbage."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scheduler.cluster import Association, ClusterFacts, Gres, NodeShape, Partition, Qos
from pipeline.scheduler.cluster_text import (
    controller_time,
    minutes,
    number,
    parse_associations,
    parse_gres,
    parse_nodes,
    parse_partitions,
    parse_qos,
    parse_settings,
)

CONFIG = """\
Configuration data as of 2026-01-31T17:24:16
AccountingStorageEnforce = associations,limits,qos
AccountingStorageType   = accounting_storage/slurmdbd
BOOT_TIME               = 2026-01-31T17:23:58
MaxArraySize            = 20001
PowerPlugin             =
SlurmctldHost[0]        = head(127.0.0.1)
SwitchParameters        = (null)

Slurmctld(primary) at head is UP
"""
PARTITION = (
    "PartitionName=gpu AllowGroups=ALL AllowAccounts=a,b DenyQos=low AllocNodes=ALL Default=YES "
    "QoS=part DefaultTime=00:10:00 Hidden=NO MaxNodes=UNLIMITED MaxTime=2-12:00:00 MinNodes=0 "
    "MaxCPUsPerNode=UNLIMITED Nodes=node[1-2] State=DRAIN TotalCPUs=4 TotalNodes=2 "
    "DefMemPerNode=UNLIMITED MaxMemPerNode=3000 TRES=cpu=4,mem=8000M,node=2,billing=4,gres/gpu=4\n"
)


def test_settings_and_clock_of_the_controller() -> None:
    """`scontrol show config` tells limits, and the time at the controller."""
    settings = parse_settings(CONFIG)

    assert settings["MaxArraySize"] == "20001"
    assert settings["SlurmctldHost[0]"] == "head(127.0.0.1)"
    moment = time.strptime("2026-01-31T17:24:16", "%Y-%m-%dT%H:%M:%S")
    assert controller_time(CONFIG) == time.mktime(moment)
    facts = ClusterFacts(settings=settings)
    assert facts.accounting
    assert facts.enforces("limits")


def test_a_partition_line() -> None:
    """Limits and who is let in; UNLIMITED and ALL mean no limit."""
    assert parse_partitions(PARTITION) == {
        "gpu": Partition(
            "gpu",
            state="DRAIN",
            default=True,
            max_time_min=3600,
            max_memory_mb_per_node=3000,
            qos="part",
            allow_accounts=frozenset({"a", "b"}),
            deny_qos=frozenset({"low"}),
        )
    }


def test_node_lines() -> None:
    """Shapes with their features; the suffix of a state is no other state."""
    lines = (
        "gpu|idle~|2|64|515000+|gpu:a100:4(S:0-1),nvme:1|ib,fast",
        "gpu|down*|1|2|9|(null)|(null)",
    )

    first, second = parse_nodes("\n".join(lines))

    assert first == NodeShape(
        *("gpu", "idle~", 2, 64, 515_000),
        (Gres("gpu", "a100", 4), Gres("nvme", "", 1)),
        frozenset({"ib", "fast"}),
    )
    assert first.in_service
    assert not second.in_service
    assert second.gres == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu", [("gpu", "", 1)]),
        ("gpu:2", [("gpu", "", 2)]),
        ("gpu:A100:2", [("gpu", "a100", 2)]),
        ("gres/gpu:a100:2", [("gpu", "a100", 2)]),
        ("gres:gpu:a100", [("gpu", "a100", 1)]),
        ("gpu:a100:4(S:0-1),gpu:v100:2(IDX:0-1)", [("gpu", "a100", 4), ("gpu", "v100", 2)]),
        ("bandwidth:4K", [("bandwidth", "", 4096)]),
        ("(null)", []),
        ("", []),
    ],
)
def test_a_generic_resource(text: str, expected: list[tuple[str, str, int]]) -> None:
    """As nodes offer it and as jobs ask for it."""
    assert [(gres.name, gres.type, gres.count) for gres in parse_gres(text)] == expected


def test_qos_and_associations() -> None:
    """Limits that are not set are empty fields."""
    assert parse_qos("normal||||\ncapped|00:30:00|4||9\n") == {
        "normal": Qos("normal"),
        "capped": Qos("capped", 30, 4, None, 9),
    }
    assert parse_associations("sub|lab|||normal|||70|2-00:00:00\nlab||me||b,a|b|50||\n") == (
        Association("sub", parent="lab", qos=("normal",), group_submit=70, max_wall_min=2880),
        Association("lab", user="me", qos=("a", "b"), default_qos="b", max_submit=50),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 30), ("1:30", 1), ("01:00:00", 60), ("1-00:00:00", 1440), ("2-12", 3600),
     ("1-01:30", 1530), ("UNLIMITED", None), ("INFINITE", None), ("", None), ("٣", None)],
)  # fmt: skip
def test_a_duration(text: str, expected: int | None) -> None:
    """All of Slurm's forms, in whole minutes."""
    assert minutes(text) == expected


def test_group_limits_are_looked_up_to_the_root() -> None:
    """An account's ancestors are found in order, and a circle of them ends."""
    accounts = {
        "sub": Association("sub", parent="lab"),
        "lab": Association("lab", parent="root"),
        "root": Association("root", parent="sub"),
    }

    found = ClusterFacts(accounts=accounts).ancestors("sub")

    assert [association.account for association in found] == ["sub", "lab", "root"]


WORDS = st.sampled_from(
    [*"|=:,()[]-+*~ \n\t\0٣", "PartitionName=", "MaxTime=", "gpu", "1-", "99999999999", "(null)",
     "State=", "AllowQos=", "Configuration data as of ", "2026-13-99T99:99:99",
     "0001-01-01T00:00:00", "UNLIMITED", "QoS=", "\ud7ff", "K"]
)  # fmt: skip
GARBAGE = st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=60).map("".join))


@given(GARBAGE)
def test_garbage_is_never_an_exception(text: str) -> None:
    """Whatever a client prints, what is not understood is left out."""
    parse_settings(text)
    controller_time(text)
    parse_associations(text)
    assert all(name for name in parse_partitions(text))
    assert all(shape.partition for shape in parse_nodes(text))
    assert all(gres.name and gres.count >= 0 for gres in parse_gres(text))
    assert all(name == qos.name for name, qos in parse_qos(text).items())
    assert (minutes(text) or 0) >= 0
    assert (number(text) or 0) >= 0
