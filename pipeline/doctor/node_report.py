"""What a compute node says of itself: runs inside the job that `pipeline doctor --deep` sends."""

import os
import platform
import sys
import time
from pathlib import Path

import psutil
from pydantic import ValidationError

from pipeline.doctor.torch_probe import TorchFacts, ask_torch
from pipeline.errors import PipelineError
from pipeline.files import read_bytes, write_atomic
from pipeline.provenance import node_name
from pipeline.trainer import load_trainer
from pipeline.validation import StrictModel
from pipeline.words import one_line

QUESTION = "question"
"""Name of the file in which the node finds a word to repeat."""
ANSWER = "answer.json"
_GB = 1024**3


class NodeReport(StrictModel):
    """The answer of a node."""

    nonce: str
    """What the node read in the question."""
    host: str
    time: float
    """The node's clock, seconds since the epoch."""
    python: str
    executable: str
    cores: int
    free_memory_gb: float
    trainer_error: str | None
    torch: TorchFacts


def report_node(workspace: str, folder: str, trainer: str | None) -> None:
    """Read the question in `folder`, look around, write the answer beside it.

    Args:
        workspace: root of the workspace, from which the trainer is imported.
        folder: a folder of the workspace that the asking machine watches.
        trainer: reference of the study's trainer; None when the study is not valid.
    """
    report = NodeReport(
        nonce=(Path(folder) / QUESTION).read_text(encoding="ascii"),
        host=node_name(),
        time=time.time(),
        python=platform.python_version(),
        executable=sys.executable,
        cores=len(os.sched_getaffinity(0)),
        free_memory_gb=psutil.virtual_memory().available / _GB,
        trainer_error=_trainer_error(trainer, Path(workspace)),
        torch=ask_torch(),
    )
    write_atomic(Path(folder) / ANSWER, report.model_dump_json().encode())


def read_report(folder: Path) -> NodeReport | None:
    """The answer, once it is there.

    Raises:
        PipelineError: there is one, but no node of ours wrote it.
    """
    path = folder / ANSWER
    try:
        list(folder.iterdir())  # makes a network file system look again
        return NodeReport.model_validate_json(read_bytes(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        why = one_line(str(error))
        raise PipelineError(f"{path}: the node's answer cannot be read ({why})") from error


def _trainer_error(trainer: str | None, workspace: Path) -> str | None:
    if trainer is None:
        return None
    try:
        load_trainer(trainer, workspace)
    except PipelineError as error:
        return str(error)
    return None
