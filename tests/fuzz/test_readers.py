"""Every module that reads something from outside has a parser that is fuzzed, or a reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pipeline
import training
from tests.fuzz.parsers import PARSERS

READERS: dict[str, str] = {
    "pipeline.changes": "log of changes",
    "pipeline.claim": "attempt.json",
    "pipeline.curves": "metrics.jsonl",
    "pipeline.doctor.files": "mountinfo",
    "pipeline.doctor.node_report": "answer.json",
    "pipeline.doctor.repair": "journal",
    "pipeline.doctor.strays": "attempt.json",
    "pipeline.doctor.torch_probe": "torch's facts",
    "pipeline.failures.traces": "log",
    "pipeline.files": "any file",
    "pipeline.lease": "lock",
    "pipeline.logs": "log",
    "pipeline.progress": "metrics.jsonl",
    "pipeline.publish": "RESULTS.md",
    "pipeline.recordings": "diagnostics.npz",
    "pipeline.remains": "task files of a lost job",
    "pipeline.results": "result.json",
    "pipeline.salvage": "salvage",
    "pipeline.scheduler.commands": "squeue",
    "pipeline.scheduler.local": "process.json",
    "pipeline.scheduler.sbatch": "sbatch",
    "pipeline.snapshot": "origin of a code copy",
    "pipeline.state_check": "pipeline.json",
    "pipeline.status": "study.toml",
    "pipeline.store": "pipeline.json",
    "pipeline.strict_json": "any JSON",
    "pipeline.toml_file": "study.toml",
    "pipeline.worker": "task file",
    "training.checkpoint": "checkpoint.pt",
}
"""Module that reads something from outside -> the parser of it that is fuzzed."""

NOT_HOSTILE: dict[str, str] = {
    "pipeline.arms": "JSON that it has just made itself, from a validated config",
    "pipeline.cells": "JSON that it has just made itself",
    "pipeline.git": "lists of paths, any bytes of which are paths",
    "pipeline.init": "the templates that come with the package",
    "pipeline.scheduler.launch_local": "an argument that its own caller makes",
    "pipeline.process": "what the kernel says of processes",
    "pipeline.promotion": "results, byte by byte, to be copied or compared",
    "pipeline.result_content": "files of a trainer, whose digest alone is taken",
    "pipeline.sources": "Python files, searched for words alone",
}
"""Module that looks like a reader -> why nothing it reads can be hostile, or can do harm."""

_READS = {
    "read_bytes", "read_text", "open_regular", "readlines", "model_validate_json", "validate_json",
    "loads", "load", "decoded", "Popen", "run",
}  # fmt: skip
_OF_MODULES = {"loads": {"json", "tomllib", "pickle"}, "load": {"np", "torch", "json", "pickle"},
               "run": {"subprocess"}, "Popen": {"subprocess"}}  # fmt: skip


def test_every_reader_of_the_package_is_fuzzed() -> None:
    """A module that begins to read something must be entered here, with the parser that it has."""
    found = set()
    for package in (pipeline, training):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            if _reads(ast.parse(path.read_text(encoding="utf-8"))):
                found.add(".".join(path.relative_to(root.parent).with_suffix("").parts))
    assert found == set(READERS) | set(NOT_HOSTILE)
    assert set(READERS.values()) <= {*PARSERS, "checkpoint.pt"}


def _reads(tree: ast.Module) -> bool:
    """Whether a module calls something that reads a file, a program or a serialised value."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in _OF_MODULES and isinstance(called, ast.Attribute):
            owner = getattr(called.value, "id", "")
            if owner in _OF_MODULES[name]:
                return True
        elif (name in _READS and name not in _OF_MODULES) or (
            name == "open" and _opens_to_read(node)
        ):
            return True
    return False


def _opens_to_read(call: ast.Call) -> bool:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if getattr(owner, "id", "") == "os":
        return False  # folders, to see a rename to the disk
    modes = [a.value for a in [*call.args, *(k.value for k in call.keywords if k.arg == "mode")]
             if isinstance(a, ast.Constant) and isinstance(a.value, str)]  # fmt: skip
    return not modes or "r" in modes[0]
