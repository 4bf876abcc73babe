"""Does any node of a partition offer what one task asks for? Facts to findings. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipeline.doctor.access import PROFILES, chosen_partitions
from pipeline.doctor.finding import Finding, ok, problem, warning
from pipeline.profiles import SlurmProfile
from pipeline.scheduler.cluster import ClusterFacts, Gres, NodeShape, Partition
from pipeline.scheduler.cluster_text import parse_gres
from pipeline.words import count

_MB_PER_GB = 1024
_FEATURE = re.compile(r"[A-Za-z_][\w.:=+-]*")
_SIMPLE = re.compile(r"[\w.:=+|&-]+")


def judge_nodes(profile: SlurmProfile, facts: ClusterFacts) -> Iterator[Finding]:
    """One line per partition: the nodes that fit a task, or the first wish that none fulfils."""
    if facts.nodes is None:
        words = facts.silent.get("sinfo", "sinfo is missing")
        yield warning("nodes", f"could not be looked up: {words}", "try again later")
        return
    for partition in chosen_partitions(profile, facts):
        shapes = [shape for shape in facts.nodes if shape.partition == partition.name]
        yield _judge_partition(profile, partition, [_capped(s, partition) for s in shapes])


def _capped(shape: NodeShape, partition: Partition) -> NodeShape:
    """The node with no more than the partition lets a job have of it."""
    return replace(
        shape,
        cpus=min(shape.cpus, partition.max_cpus_per_node or shape.cpus),
        memory_mb=min(shape.memory_mb, partition.max_memory_mb_per_node or shape.memory_mb),
    )


def _judge_partition(
    profile: SlurmProfile, partition: Partition, shapes: Sequence[NodeShape]
) -> Finding:
    if not shapes:
        remedy = f"choose another partition in {PROFILES}"
        return problem("nodes", f"{partition.name} has no nodes", remedy)
    left = shapes
    for wish in _wishes(profile):
        fitting = [shape for shape in left if wish.granted(shape)]
        if not fitting:
            return problem(
                "nodes",
                f"no node of {partition.name} fits {wish.key} = {wish.value}; "
                f"{'they' if left is shapes else 'those that fit the rest'} offer "
                f"{wish.offered(left)}",
                f"mend `{wish.key}` or `partition` in {PROFILES}",
            )
        left = fitting
    return _in_service(partition, left)


@dataclass(frozen=True)
class _Wish:
    """One key of the profile that a node must fulfil."""

    key: str
    value: object
    granted: Callable[[NodeShape], bool]
    offered: Callable[[Iterable[NodeShape]], str]


def _wishes(profile: SlurmProfile) -> Iterator[_Wish]:
    for gres in parse_gres(profile.gres or ""):
        yield _Wish("gres", profile.gres, partial(_offers, wanted=gres), _all_gres)
    if profile.constraint:
        fulfils = partial(_has_features, constraint=profile.constraint)
        yield _Wish("constraint", profile.constraint, fulfils, _all_features)
    yield _Wish(
        "cpus_per_task",
        profile.cpus_per_task,
        lambda shape: shape.cpus >= profile.cpus_per_task,
        lambda shapes: f"at most {max(shape.cpus for shape in shapes)}",
    )
    yield _Wish(
        "mem_gb",
        profile.mem_gb,
        lambda shape: shape.memory_mb >= profile.mem_gb * _MB_PER_GB,
        lambda shapes: f"at most {max(shape.memory_mb for shape in shapes) // _MB_PER_GB}",
    )


def _in_service(partition: Partition, fitting: Sequence[NodeShape]) -> Finding:
    total = sum(shape.count for shape in fitting)
    up = sum(shape.count for shape in fitting if shape.in_service)
    if up == 0:
        states = ", ".join(sorted({shape.state for shape in fitting}))
        return warning(
            "nodes",
            f"{count(total, 'node')} of {partition.name} would fit a task, but none is in service "
            f"({states})",
            "wait, or choose another partition",
        )
    out = f", {total - up} out of service" if total > up else ""
    return ok("nodes", f"{count(up, 'node')} of {partition.name} can take a task{out}")


def _offers(shape: NodeShape, wanted: Gres) -> bool:
    alike = [
        gres.count
        for gres in shape.gres
        if gres.name == wanted.name and wanted.type in ("", gres.type)
    ]
    return sum(alike) >= wanted.count


def _has_features(shape: NodeShape, constraint: str) -> bool:
    return satisfies(shape.features, constraint)


def satisfies(features: frozenset[str], constraint: str) -> bool:
    """Whether a node with these features can serve a constraint.

    "a", "a&b" and "a|b" are decided; of longer forms (counts, brackets) it is only asked whether
    the node has one of the features at all, which Slurm then judges over several nodes.
    """
    if _SIMPLE.fullmatch(constraint):
        return any(
            all(term in features for term in choice.split("&")) for choice in constraint.split("|")
        )
    return bool(set(_FEATURE.findall(constraint)) & features)


def _all_gres(shapes: Iterable[NodeShape]) -> str:
    words = {
        ":".join(part for part in (gres.name, gres.type, str(gres.count)) if part)
        for shape in shapes
        for gres in shape.gres
    }
    return ", ".join(sorted(words)) or "none"


def _all_features(shapes: Iterable[NodeShape]) -> str:
    return ", ".join(sorted({name for shape in shapes for name in shape.features})) or "none"
