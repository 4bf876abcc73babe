"""RESULTS.md is brought up to date even when the step that had to do it died."""

import pytest

import pipeline.advance
from pipeline.advance import advance
from pipeline.site import Site
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import state_of


def test_a_report_that_a_killed_step_owed_is_rendered_by_the_next(
    slurm_site: Site, cluster: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state knows before the report does, and remembers that the report does not."""
    cluster.configure(slots=0)
    advance(slurm_site)
    cluster.finish(1, exit_code=1)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.advance, "publish", _die)
        with pytest.raises(KeyboardInterrupt):
            advance(slurm_site)
    assert state_of(slurm_site.workspace).report_due

    advance(slurm_site)

    report = slurm_site.workspace.report_file.read_text(encoding="utf-8")
    assert "took 2 tries" in report
    assert not state_of(slurm_site.workspace).report_due


def _die(*_: object) -> None:
    raise KeyboardInterrupt
