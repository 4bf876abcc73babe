"""What a workspace is called is no command to a shell and no option of sbatch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.state import RunStatus
from tests.fakeslurm.control import FakeSlurm
from tests.inprocess import make_workspace, pipeline
from tests.pipeline.conftest import state_of


@pytest.mark.slow
def test_a_folder_s_name_is_no_command(
    tmp_path: Path, fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spaces, dollars, semicolons and backticks in the workspace's path are just its path."""
    monkeypatch.chdir(tmp_path)
    place = make_workspace(tmp_path / "w $(touch hacked); `touch hacked` & #SBATCH --hold")
    assert pipeline("advance", "-w", str(place.root)).code == 0
    fake_slurm.wait(fake_slurm.jobs()[0].id, timeout=60)
    pipeline("advance", "-w", str(place.root))
    assert {r.status for r in state_of(place).runs_of("pilot").values()} == {RunStatus.DONE}
    assert not list(tmp_path.rglob("hacked"))


@pytest.mark.parametrize("name", ["a%jb", 'a"b', "a'b", "a\\b"])
def test_a_path_that_slurm_would_read_in_its_own_way_is_refused(
    tmp_path: Path, fake_slurm: FakeSlurm, name: str
) -> None:
    """%j in the name of a folder would send logs elsewhere; nothing was submitted."""
    place = make_workspace(tmp_path / name)
    ended = pipeline("advance", "-w", str(place.root))
    assert ended.code == 2
    assert "rename the folder" in ended.err
    assert fake_slurm.jobs() == []


def test_sbatch_that_prints_no_job_id_may_have_made_one(
    tmp_path: Path, fake_slurm: FakeSlurm
) -> None:
    """Its words are shown, the intent stays, and the job is looked for before another is made."""
    fake_slurm.configure(slots=0)  # what has ended would let the next phase go
    real = fake_slurm.bin / "sbatch"
    (fake_slurm.directory / "real").mkdir()
    hidden = real.rename(fake_slurm.directory / "real" / "sbatch")
    real.write_text(f'#!/bin/sh\n"{hidden}" "$@" >/dev/null\nprintf "ok \\033[31m;²\\n"\n')
    real.chmod(0o755)
    place = make_workspace(tmp_path / "ws")
    ended = pipeline("advance", "-w", str(place.root))
    assert ended.code == 4
    assert "printed no job id but: ok ;²" in ended.err
    hidden.rename(real)
    assert "found job" in pipeline("advance", "-w", str(place.root)).out
    assert len(fake_slurm.jobs()) == 1
