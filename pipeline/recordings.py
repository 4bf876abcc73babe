"""Reads the files that instrumented runs left: digest, archive, index, arrays; nothing is executed.

A file that is missing, changed or broken makes its run a hole of the diagnostics, with the reason;
it is never an error of the whole phase.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.analysis.cka import LEAST_INPUTS, gram_size
from pipeline.analysis.recording import AXES, LABELS, Array, Recording, Recordings, Unrecorded
from pipeline.analysis.table import ResultTable, RunRow
from pipeline.digest import digest_of
from pipeline.files import read_bytes
from pipeline.workspace import Workspace

ARTEFACT = "diagnostics"
"""What the file is called among the artefacts of a result."""
SCHEMA_VERSION = 1
# Ours hold 2 MB; an archive that unpacks to more than this is none.
_MOST_BYTES = 64_000_000
_MOST_TEXT = 300


class RecordingError(Exception):
    """The file of a run cannot be used; the message says why, for a person."""


def read_recordings(
    workspace: Workspace, table: ResultTable
) -> tuple[Recordings, tuple[Unrecorded, ...]]:
    """Read what the runs of a phase recorded; every run with a result is in one of the two.

    Runs are compared on equal probes at equal steps: one that differs in these from the first
    that could be read is left out.
    """
    found: dict[str, dict[int, Recording]] = {name: {} for name in table.conditions}
    left_out: list[Unrecorded] = []
    first: _Named | None = None
    mates: dict[str, _Named] = {}
    for row in table.rows:
        try:
            recording = _read(workspace, row)
            named = (recording, row.run_id)
            _compare(named, first or named, mates.get(row.condition, named))
        except RecordingError as error:
            left_out.append(Unrecorded(row.condition, row.seed, row.run_id, str(error)))
            continue
        first = first or named
        mates.setdefault(row.condition, named)
        found[row.condition][row.seed] = recording
    return found, tuple(left_out)


_Named = tuple[Recording, str]
"""With the id of its run."""


def _compare(ours: _Named, first: _Named, mate: _Named) -> None:
    """Runs share probes and steps, those of one condition their ways to mine as well."""
    departures = (
        (first[1], ours[0].departure(first[0])),
        (mate[1], ours[0].other_labels(mate[0], LABELS)),
    )
    for run_id, what in departures:
        if what is not None:
            raise RecordingError(f"its {what} is another than that of {run_id}")


def _read(workspace: Workspace, row: RunRow) -> Recording:
    artefact = row.artefacts.get(ARTEFACT)
    if artefact is None:
        raise RecordingError("it left no diagnostics")
    path = workspace.root / artefact.path
    name = Path(artefact.path).name
    try:
        content = read_bytes(path, _MOST_BYTES)
    except FileNotFoundError:
        raise RecordingError(f"{name} is gone") from None
    except OSError as error:
        raise RecordingError(f"{name} cannot be read ({error.strerror})") from None
    if digest_of(content) != artefact.sha256:
        raise RecordingError(f"{name} is not the file that the run left (its digest differs)")
    try:
        return parse_recording(content)
    except RecordingError as error:
        raise RecordingError(f"{name}: {error}") from None


def parse_recording(content: bytes) -> Recording:
    """Return the recording that the bytes of a diagnostics.npz hold.

    Raises:
        RecordingError: it is no archive of plain arrays, or not of the schema that is known here.
    """
    arrays = _unpacked(content)
    index = arrays.pop("index", None)
    if index is None or index.dtype.kind != "U" or index.ndim:
        raise RecordingError("it has no index")
    try:
        described = json.loads(str(index))
        labels = {axis: tuple(map(str, described["labels"][axis])) for axis in LABELS}
        explained = {
            str(name): str(item["what"])[:_MOST_TEXT] for name, item in described["summary"].items()
        }
        version = described["schema_version"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordingError(f"its index is broken ({type(error).__name__}: {error})") from None
    if version != SCHEMA_VERSION:
        raise RecordingError(f"its schema is {version!r}, known is {SCHEMA_VERSION}")
    for axis, needed in LABELS.items():
        missing = [name for name in needed if name not in labels[axis]]
        if missing or len(set(labels[axis])) != len(labels[axis]):
            raise RecordingError(f"its index names {list(labels[axis])} along {axis}")
    return Recording(_checked(arrays, labels), labels, explained)


def _unpacked(content: bytes) -> dict[str, Any]:
    """All arrays of an archive, without executing anything that it may hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _MOST_BYTES:
            raise RecordingError(f"it unpacks to {size:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return dict(file)
    except RecordingError:
        raise
    except Exception as error:  # zipfile, zlib, struct and numpy each raise their own
        raise RecordingError(f"it is no archive of arrays ({type(error).__name__})") from None


def _checked(arrays: dict[str, Any], labels: dict[str, tuple[str, ...]]) -> dict[str, Array]:
    """The arrays that are known here, in double precision; their axes agree with each other."""
    sizes = {axis: len(names) for axis, names in labels.items()}
    checked: dict[str, Array] = {}
    for name, axes in AXES.items():
        array = arrays.get(name)
        if array is None:
            raise RecordingError(f"it lacks {name}")
        if array.dtype.kind not in "fiu" or array.ndim != len(axes):
            raise RecordingError(f"{name} is no array of numbers over {', '.join(axes)}")
        for axis, size in zip(axes, array.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise RecordingError(f"{name} has {size} entries along {axis}, not {sizes[axis]}")
        with np.errstate(over="ignore"):
            checked[name] = array.astype(np.float64)
        if not np.isfinite(checked[name]).all():
            raise RecordingError(f"{name} holds values that are not finite")
    if min(sizes["record"], sizes["moment"]) < 1 or sizes["probe"] < 2:
        raise RecordingError("it holds no record")
    count = gram_size(sizes["pair"])
    if count is None or count < LEAST_INPUTS:
        raise RecordingError(f"gram has {sizes['pair']} entries along pair: no Gram matrix")
    return checked
