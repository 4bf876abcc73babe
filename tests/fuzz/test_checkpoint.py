"""A damaged checkpoint is named in the log, and never resumed from; nothing in it is executed."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import TRIED
from tests.fuzz.damage import damaged
from tests.profiles import share
from tests.training.helpers import FakeContext, FakeRun, config
from training.checkpoint import NAME, UnusableError, _load
from training.trainer import IREDTrainer


@pytest.fixture(scope="module")
def saved() -> tuple[bytes, Path, dict[str, Any]]:
    """A checkpoint of a real run, where it lies, and what it is of."""
    run = FakeRun("a", 3, config(steps=4))
    list(IREDTrainer().train([run], FakeContext(2)))
    path = run.directory / NAME
    import json

    facts = json.loads(torch.load(path, weights_only=True)["facts"])
    return path.read_bytes(), path, facts["identity"]


def test_what_is_damaged_is_not_resumed_from(
    saved: tuple[bytes, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The same step and tensors as were saved, or an error that says that it is unusable."""
    content, path, identity = saved
    whole = _load(path, identity)

    @share(2)
    @given(st.data())
    def every(data: st.DataObject) -> None:
        bad = data.draw(damaged(content))
        place = tmp_path / NAME
        place.write_bytes(bad)
        TRIED["checkpoint.pt"] += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, on odd archives
            try:
                found = _load(place, identity)
            except UnusableError:
                return
        assert found.step == whole.step
        for name, tensor in whole.tensors.items():
            assert torch.equal(tensor, found.tensors[name])

    every()


class Bomb:
    """What must never be unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("exploded",))


def test_nothing_in_a_checkpoint_is_executed(
    saved: tuple[bytes, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in torch's own format nor in a bare pickle."""
    monkeypatch.chdir(tmp_path)
    for write in (lambda p: torch.save(Bomb(), p), lambda p: p.write_bytes(pickle.dumps(Bomb()))):
        write(tmp_path / NAME)
        with pytest.raises(UnusableError):
            _load(tmp_path / NAME, saved[2])
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(
    saved: tuple[bytes, Path, dict[str, Any]], tmp_path: Path, make: Any
) -> None:
    """A pipe or a folder of that name is named."""
    make(tmp_path / NAME)
    with pytest.raises(UnusableError, match="no regular file"):
        _load(tmp_path / NAME, saved[2])
