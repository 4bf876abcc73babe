"""Checkpoints of a stack: one file per run, all of one step, from which training goes on exactly.

A file holds everything the run's next step depends on: weights, moments, average, failure, the
position of every random stream, the curve so far. Resumed on a CPU, with the threads it had, a run
ends with the bits of one that was never stopped. On a GPU too while the device and the libraries
are the same; between two models of GPU, matrix products are summed in another order, and weights
part as two float32 runs do: compare metrics, not bits.

The stack is part of what a checkpoint is for: models in another stack are multiplied in other
batches, so their bits would depend on how often they were stopped.
"""

import hashlib
import io
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from training.batches import BatchSource
from training.config import IREDConfig, settings_of
from training.stack import Stack, State

SECONDS_BETWEEN = 300.0  # a stack of ten of the published size takes about a second to write
VERSION = 1  # of the file and of the arithmetic that goes on from it
NAME, NEXT_NAME = "checkpoint.pt", "checkpoint.next.pt"

_MODEL_TENSORS = ("weights", "average", "first", "second")
_MOMENTS = ("first", "second")

log = logging.getLogger(__name__)


class Resumable(Protocol):
    """What a checkpoint has to know of a run."""

    @property
    def seed(self) -> int:
        """Seed of the run."""

    @property
    def config(self) -> IREDConfig:
        """Config of the run."""

    @property
    def directory(self) -> Path:
        """Folder of this attempt at the run; what it may go on from lies there already."""


class UnusableError(Exception):
    """A checkpoint cannot be resumed from; the message says why."""


class _Saved(NamedTuple):
    step: int
    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    name: str = NAME
    """Of the file that it was read from."""


class Checkpoints:
    """Saves and restores the runs of one stack."""

    def __init__(self, stack: Stack, runs: Sequence[Resumable]) -> None:
        everyone = [[settings_of(run.config), run.seed] for run in runs]
        self._folders = [run.directory for run in runs]
        self._identities = [
            {
                "version": VERSION,
                "seed": run.seed,
                "config": settings_of(run.config),
                "device": stack.device.type,
                "stack": hashlib.sha256(json.dumps(everyone).encode()).hexdigest(),
            }
            for run in runs
        ]
        self.resumed_step = 0  # where training went on from
        self._saved_step = 0
        self._saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return time.monotonic() - self._saved_at >= SECONDS_BETWEEN

    def restore(self, state: State, source: BatchSource) -> bool:
        """Bring both to the latest step that every run has a checkpoint of, or leave them be.

        What cannot be used is named in the log, and training starts afresh.
        """
        found, complaints = self._read()
        common = set.intersection(*(set(run) for run in found))
        if not common:
            if complaints or any(found):
                why = "; ".join(complaints) or "the runs of the stack have no step in common"
                log.warning("training starts at step 0, no checkpoint can be used: %s", why)
            return False
        saved = [run[max(common)] for run in found]
        self._complete_renames(saved)
        _write_into(state, source, saved)
        self.resumed_step = self._saved_step = state.step
        return True

    def save(self, state: State, source: BatchSource) -> None:
        """Write a checkpoint of every run, unless this step has one.

        First every run's next file, then the renames: a crash before the last file is written
        leaves all runs with the old step, a crash after it leaves all with the new one.

        Raises:
            OSError: a file could not be written; the checkpoints before stand.
        """
        self._saved_at = time.monotonic()
        if state.step == self._saved_step:
            return
        for index, (folder, identity) in enumerate(
            zip(self._folders, self._identities, strict=True)
        ):
            _write(folder / NEXT_NAME, identity, _read_from(state, source, index))
        for folder in self._folders:
            (folder / NEXT_NAME).replace(folder / NAME)
            _sync_folder(folder)
        self._saved_step = state.step

    def save_if_possible(self, state: State, source: BatchSource) -> None:
        """Write a checkpoint of every run, or say why not: a full disk costs no training."""
        try:
            self.save(state, source)
        except OSError as error:
            log.warning("no checkpoint of step %d: %s", state.step, error)

    def discard(self, index: int) -> None:
        """Remove a run's checkpoint: a run that failed is to be tried from its beginning."""
        for name in (NAME, NEXT_NAME):
            (self._folders[index] / name).unlink(missing_ok=True)

    def _complete_renames(self, saved: Sequence[_Saved]) -> None:
        """End what a crash between renames left: the next save is to overwrite older steps only."""
        for folder, found in zip(self._folders, saved, strict=True):
            if found.name == NEXT_NAME:
                (folder / NEXT_NAME).replace(folder / NAME)

    def _read(self) -> tuple[list[dict[int, _Saved]], list[str]]:
        found: list[dict[int, _Saved]] = []
        complaints = []
        for folder, identity in zip(self._folders, self._identities, strict=True):
            found.append({})
            for path in (folder / NEXT_NAME, folder / NAME):
                try:
                    saved = _load(path, identity)
                    found[-1][saved.step] = saved
                except FileNotFoundError:
                    pass
                except UnusableError as error:
                    complaints.append(f"{path}: {error}")
        return found, complaints


def _read_from(state: State, source: BatchSource, index: int) -> _Saved:
    """Copy out run `index`."""
    tensors = {
        "weights": state.weights,
        "average": state.average,
        "first": state.adam.first,
        "second": state.adam.second,
        "failed_at": state.failed_at,
        "failed_loss": state.failed_loss,
        "clipped": state.clipped,
    }
    if state.step == source.config.steps:  # nothing reads them after the last step
        tensors = {name: tensor for name, tensor in tensors.items() if name not in _MOMENTS}
    copies = {name: tensor[index].cpu().clone() for name, tensor in tensors.items()}
    streams = {f"stream {name}": position for name, position in source.positions(index).items()}
    facts = {"step": state.step, "seconds": state.seconds, "curve": state.curves[index]}
    records = {}
    if state.records:
        records = state.records.saved(index)
        facts["recording_seconds"] = state.records.seconds
    return _Saved(state.step, facts, {**copies, **streams, **records})


def _write_into(state: State, source: BatchSource, saved: Sequence[_Saved]) -> None:
    """Copy all runs in."""
    state.step = saved[0].step
    state.seconds = float(saved[0].facts["seconds"])
    if state.records:
        state.records.seconds = float(saved[0].facts["recording_seconds"])
    for index, (_, facts, tensors, _) in enumerate(saved):
        state.curves[index] = [(int(step), dict(values)) for step, values in facts["curve"]]
        for name, target in (
            ("weights", state.weights),
            ("average", state.average),
            ("first", state.adam.first),
            ("second", state.adam.second),
            ("failed_at", state.failed_at),
            ("failed_loss", state.failed_loss),
            ("clipped", state.clipped),
        ):
            if name in tensors:
                target[index].copy_(tensors[name])
            elif name not in _MOMENTS or state.step < source.config.steps:
                raise KeyError(name)
        if state.records:
            state.records.restore(index, tensors)
        source.seek(
            index,
            {
                name.removeprefix("stream "): tensor
                for name, tensor in tensors.items()
                if name.startswith("stream ")
            },
        )


def _digest(facts: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _write(path: Path, identity: Mapping[str, Any], saved: _Saved) -> None:
    facts = json.dumps({"identity": identity, **saved.facts})
    content = io.BytesIO()  # of a write that fails midway, torch.save tells its own confusion only
    digest = _digest(facts, saved.tensors)
    torch.save({"facts": facts, "tensors": saved.tensors, "digest": digest}, content)
    try:
        path.unlink(missing_ok=True)  # an attempt that was given up may still write the old file
        with path.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):  # half a file only takes room that is short already
            path.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def _load(path: Path, identity: Mapping[str, Any]) -> _Saved:
    """Read one file.

    Raises:
        FileNotFoundError: there is none.
        UnusableError: it is damaged, or of something else than `identity`.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise UnusableError("no regular file")
        content = torch.load(path, map_location="cpu", weights_only=True)
        facts, tensors = content["facts"], content["tensors"]
        if content["digest"] != _digest(facts, tensors):
            raise UnusableError("damaged (its checksum does not match)")
        read = json.loads(facts)
        differences = list(_differences(read.pop("identity"), identity))
        saved = _Saved(read["step"], read, tensors, path.name)
    except (FileNotFoundError, UnusableError):
        raise
    except Exception as error:  # what a damaged zip or pickle raises is promised nowhere
        raise UnusableError(f"damaged ({type(error).__name__})") from error
    if differences:
        raise UnusableError("of something else: " + ", ".join(differences))
    return saved


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*theirs, *ours}):
        a, b = theirs.get(key), ours.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            yield from (f"{key}.{name}" for name in _differences(a, b))
        elif key == "stack":
            yield "it was trained in another stack"
        else:
            yield f"{key} is {a}, here {b}"


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
