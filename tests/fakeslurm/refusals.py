"""What slurmctld refuses, and in which words."""

from __future__ import annotations

import re

from .model import ClientError, Config, Submission
from .store import Cluster
from .text import parse_indices

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
Given = dict[str, str]  # the options of a submission


def refuse(text: str, before: str = "") -> ClientError:
    """The error of a submission that slurmctld turned down."""
    first = f"sbatch: error: {before}\n" if before else ""
    return ClientError(f"{first}{FAILED}{text}\n")


def node_names(text: str) -> list[str]:
    """Reads ``node1,node[3-5]``."""
    names = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\])?", text):
        prefix, _, inside = part.partition("[")
        numbers = parse_indices(inside.rstrip("]"))[0] if inside else [""]
        names += [f"{prefix}{number}" for number in numbers]
    return names


def check(given: Given, spec: Submission, config: Config, cluster: Cluster) -> str:
    """Refuses what slurmctld would, in its order and words.

    Returns the text of the one refusal after which slurmctld keeps a FAILED job all the same.
    """
    longest = config.partitions.get(spec.partition)
    if longest is None:
        message = f"invalid partition specified: {spec.partition}"
        raise refuse("Invalid partition name specified", message)
    if spec.account not in config.accounts:
        raise refuse("Invalid account or account/partition combination specified")
    if spec.qos not in config.qos:
        raise refuse("Invalid qos specification")
    _check_array(given, spec, config)
    if spec.gres and not re.fullmatch(r"(gres:)?gpu(:\w+)?(:\d+)?", spec.gres):
        raise ClientError("sbatch: error: Invalid generic resource (gres) specification\n")
    if config.enforce_part_limits:
        if spec.minutes > longest:
            message = "Requested time limit is invalid (missing or exceeds some limit)"
            raise refuse(message)
        if spec.node_count > config.nodes:
            raise refuse("Node count specification invalid")
        if spec.cpu_count > config.cpus * config.nodes:
            raise refuse("More processors requested than permitted")
    known = {f"node{n + 1}" for n in range(config.nodes)}
    if set(spec.exclude) - known or set(node_names(given.get("nodelist", ""))) - known:
        raise refuse("Invalid node name specified")
    if not re.fullmatch(
        r"(((after|afterany|afterok|afternotok)(:\d+(_\d+)?(\+\d+)?)+|singleton)([,?]|$))*",
        spec.dependency,
    ):
        raise refuse("Job dependency problem")
    _check_limits(spec, config, cluster)
    wrong_type = re.search(r"gpu:([a-z]\w*)", spec.gres)
    too_much = spec.memory_mb > config.memory_mb
    if too_much or spec.gpus > config.gpus or (wrong_type and wrong_type[1] != config.gpu_type):
        note = "sbatch: error: Memory specification can not be satisfied\n" if too_much else ""
        return f"{note}{FAILED}Requested node configuration is not available\n"
    return ""


def _check_array(given: Given, spec: Submission, config: Config) -> None:
    if "array" not in given:
        return
    try:
        spec.indices, spec.throttle = parse_indices(given["array"])
    except ValueError:
        raise refuse("Invalid job array specification") from None
    most = config.max_array_tasks or config.max_array_size
    if spec.indices[-1] >= config.max_array_size or len(spec.indices) > most:
        raise refuse("Invalid job array specification")


def _check_limits(spec: Submission, config: Config, cluster: Cluster) -> None:
    """The submit limit counts each element of an array; an array is refused as a whole."""
    if config.max_submit is None:
        return
    live = sum(job.live for job in cluster.jobs())
    if live + max(1, len(spec.indices)) > config.max_submit:
        raise refuse(POLICY, config.max_submit_reason)
