"""What is executed lies where nobody else may write: pickles, scripts, task files, code."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.private import own_folder, owner_writes
from tests.fakeslurm.control import FakeSlurm
from tests.inprocess import make_workspace, pipeline


def test_nobody_else_may_write_what_is_executed(tmp_path: Path, fake_slurm: FakeSlurm) -> None:
    """Under the most permissive umask: pickles, scripts, task files and copied code are ours."""
    fake_slurm.configure(slots=0)
    place = make_workspace(tmp_path / "ws")
    before = os.umask(0)
    try:
        assert pipeline("advance", "-w", str(place.root)).code == 0
    finally:
        os.umask(before)
    made = [*place.logs_dir.rglob("*"), *place.code_dir.rglob("*.py"), *place.code_dir.glob("*/*")]
    names = {path.name for path in made}
    assert {"task-0.pkl", "submission.sh", "task-0000.json", "toy.py"} <= names
    for path in made:
        if not path.is_symlink():
            assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """What lies there would be executed as ours."""
    folder = tmp_path / "job"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PipelineError, match=f"; chmod go-w {re.escape(str(folder))}"):
        own_folder(folder, tmp_path)


def test_a_folder_in_an_open_one_or_of_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be put in the place of ours; a sticky folder such as /tmp is no harm."""
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o1777)
    own_folder(place / "a", tmp_path)
    place.chmod(0o777)
    with pytest.raises(PipelineError, match="everybody may write there"):
        own_folder(place / "b", tmp_path)
    place.chmod(0o755)
    (place / "link").symlink_to(place / "a")
    with pytest.raises(PipelineError, match="not a folder of yours"):
        own_folder(place / "link", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PipelineError, match="not a folder of yours"):
        own_folder(place / "a", tmp_path)


def test_the_umask_is_what_it_was() -> None:
    """Also when the block ends with an error."""
    before = os.umask(0o027)
    try:
        with pytest.raises(ZeroDivisionError), owner_writes():
            1 / 0  # noqa: B018
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
