"""A finished workspace as a folder of a few MB that a reader can check: no checkpoints, no logs.

What is copied is a workspace again, so `pipeline report --check` holds the report against the
results in it. Of metrics.jsonl only the points of the curves are kept. README.md is made of the
results and the state alone.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.ledger import GPU_HOURS, ledger, words
from pipeline.state import RunStatus, State
from pipeline.store import StateStore
from pipeline.words import count, duration

COPIED = ("study.toml", "slurm/profiles.toml", "RESULTS.md", "RESULTS.html", ".state/pipeline.json")
RUN_FILES = ("config.json", "result.json")
RECORDINGS, METRICS = "diagnostics.npz", "metrics.jsonl"
POINT = "validation_mse"

# What the published study of this question reports, at 20x20 matrices: seeds 0-9, and its GPU-hours
# for 30 runs on A100s.
ORIGINAL_STUDY = "ired-negative-mining"
ORIGINAL = {"baseline": 0.00969245, "random": 0.00973053, "adversarial": 0.00977702}
ORIGINAL_GPU_HOURS = 45
SHOWN_REFERENCES = ("zero", "scaled identity", "affine", "linear", "quadratic", "cubic")


class ExampleError(Exception):
    """The example cannot be written where it was asked for."""


def collect(workspace: Path, example: Path, commands: Sequence[str]) -> int:
    """Write the example anew, and return its size in bytes; until it is whole, one of before stays.

    Args:
        workspace: with a report.
        example: folder to write; an example of the same study that is there is replaced.
        commands: what a reader has to type to get there.

    Raises:
        ExampleError: the workspace has no state, or something else lies where the example goes.
    """
    state = StateStore(workspace / ".state").load()
    if state is None:
        raise ExampleError(f"{workspace} has no state: nothing was run there")
    _refuse_others(example, state.study)
    example.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{example.name}-", dir=example.parent) as scratch:
        new = Path(scratch, "new")
        _write(workspace, new, state, commands)
        if example.exists():
            example.rename(Path(scratch, "old"))
        new.rename(example)
    return sum(path.stat().st_size for path in example.rglob("*") if path.is_file())


def _refuse_others(example: Path, study: str) -> None:
    """Make sure that what is replaced is an example of this study.

    Raises:
        ExampleError: it is not.
    """
    if not example.exists() or (example.is_dir() and not any(example.iterdir())):
        return
    there = StateStore(example / ".state").load() if example.is_dir() else None
    if there is None or there.study != study:
        raise ExampleError(
            f"{example} is there and no example of {study}; name another folder with --example, "
            "or remove it"
        )


def _write(workspace: Path, example: Path, state: State, commands: Sequence[str]) -> None:
    for name in COPIED:
        _copy(workspace / name, example / name)
    for figure in sorted((workspace / "figures").glob("*")):
        _copy(figure, example / "figures" / figure.name)
    results = {}
    for key in (key for key, run in state.runs.items() if run.status is RunStatus.DONE):
        source, target = workspace / "runs" / key, example / "runs" / key
        for name in RUN_FILES:
            _copy(source / name, target / name)
        results[key] = json.loads((source / "result.json").read_bytes())
        attempt = Path("attempts", results[key]["attempt"]["folder"])
        _copy(source / attempt / RECORDINGS, target / attempt / RECORDINGS)
        (target / attempt).mkdir(parents=True, exist_ok=True)
        points = _points(source / attempt / METRICS)
        (target / attempt / METRICS).write_text(points, encoding="utf-8")
    (example / "README.md").write_text(described(state, results, commands), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _points(path: Path) -> str:
    """The lines of a metrics.jsonl that are points of the curve; a full disk may have left none."""
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if f'"{POINT}"' in line)


def described(
    state: State, results: Mapping[str, Mapping[str, Any]], commands: Sequence[str]
) -> str:
    """Return the README: what was run, where, how long it took, what came of it."""
    lines = [f"# {state.study}: what was run, where and how", ""]
    lines += ["RESULTS.md is the report. It can be checked against the files beside it:", ""]
    lines += ["```sh", "pipeline report --check", "```", "", "## Hardware and software", ""]
    lines += _environment(results.values())
    lines += ["", "## Commands", "", "```sh", *commands, "```", "", "## Time", ""]
    lines += _times(state, results)
    lines += ["", "## Validation MSE", ""]
    lines += _scores(state, results)
    return "\n".join(lines) + "\n"


def _environment(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the results themselves name, every value that occurs."""
    results = list(results)
    found: dict[str, set[str]] = {}
    for result in results:
        details = result["details"]
        for name in ("device", "precision", "compiled", "threads"):
            found.setdefault(name, set()).add(str(details.get(name)))
        own = {"torch": details["torch"]} if "torch" in details else {}  # names its CUDA, too
        for name, version in {**result["versions"], **own}.items():
            found.setdefault(name, set()).add(str(version))
        name, value = _code(result.get("code") or {})
        found.setdefault(name, set()).add(value)
    return [f"- {name}: {', '.join(sorted(values))}" for name, values in found.items()]


def _code(code: Mapping[str, Any]) -> tuple[str, str]:
    """What the code is known by: its commit, or outside of a repository a digest of its files."""
    if code.get("commit"):
        return "commit", str(code["commit"]) + ", changed" * bool(code.get("dirty"))
    return "digest of the code", str(code.get("source_digest"))


def _times(state: State, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for account in ledger(state):
        runs = [key for key in results if state.runs[key].phase == account.phase]
        tasks = [t for job in state.jobs.values() if job.phase == account.phase for t in job.tasks]
        wall_s = sum(task.elapsed_s or 0.0 for task in tasks)
        line = f"- {account.phase}: {count(len(runs), 'run')} in {count(len(tasks), 'attempt')}"
        line += f" of {duration(wall_s)} together, of which {_parts([results[k] for k in runs])}"
        line += f"; {words(account)}"
        published = state.study == ORIGINAL_STUDY and len(runs) == 30
        if published and account.phase == "multiseed" and account.unit == GPU_HOURS:
            line += f" (the published study took {ORIGINAL_GPU_HOURS} for as many)"
        lines.append(line)
    return lines


def _parts(results: Iterable[Mapping[str, Any]]) -> str:
    """What stacks took to train, over all their attempts, and to score; the rest is starting."""
    stacks = {(r["attempt"]["token"], r["attempt"]["task"]): r["details"] for r in results}
    trained, scored = (
        sum(details.get(name, 0.0) for details in stacks.values())
        for name in ("train_seconds", "evaluation_seconds")
    )
    return f"{duration(trained)} training and {duration(scored)} final scores"


def _scores(state: State, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table of the conditions in the multiseed phase, and of the trivial predictors."""
    rows = [r for key, r in results.items() if state.runs[key].phase == "multiseed"]
    if not rows:
        return ["No run of the multiseed phase has a result yet."]
    compared = state.study == ORIGINAL_STUDY
    lines = ["| | runs | mean | standard deviation |" + " published |" * compared]
    lines.append("| --- | --- | --- | --- |" + " --- |" * compared)
    for condition in dict.fromkeys(row["condition"] for row in rows):
        values = [r["metrics"][POINT]["value"] for r in rows if r["condition"] == condition]
        spread = f"{stdev(values):.2g}" if len(values) > 1 else ""
        line = f"| {condition} | {len(values)} | {mean(values):.6f} | {spread} |"
        lines.append(line + f" {ORIGINAL.get(condition, '')} |" * compared)
    references = rows[0]["references"].get(POINT, {})
    known = [name for name in SHOWN_REFERENCES if name in references]
    trivial = [f"| {name} | | {references[name]['value']:.6f} | |" for name in known]
    return [*lines, *(line + " |" * compared for line in trivial)]
