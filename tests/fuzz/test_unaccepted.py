"""A result that comes damaged from its node: refused with the reason, or accepted as it is."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.state import RunStatus
from tests.fuzz.conftest import TRIED
from tests.fuzz.damage import damaged
from tests.inprocess import Cluster, Stage, installed, make_workspace, pipeline
from tests.pipeline.conftest import state_of
from tests.profiles import share


@pytest.mark.slow
def test_advance_takes_no_half_a_result(tmp_path: Path) -> None:
    """Whatever a node wrote, the next advance says done or failed, and each number is finite."""
    workspace = make_workspace(tmp_path / "ws")
    root = str(workspace.root)
    with installed(Cluster()) as cluster:
        for _ in range(2):
            assert pipeline("advance", "-w", root).code == 0
            cluster.run()
        stage = Stage.of(workspace, cluster, tmp_path / "kept")
        path = sorted(workspace.runs_dir.glob("multiseed/*/result.json"))[0]
        key = f"multiseed/{path.parent.name}"
        content = path.read_bytes()

        @share(6)
        @given(st.data())
        def every(data: st.DataObject) -> None:
            bad = data.draw(damaged(content))
            stage.put_back()
            path.write_bytes(bad)
            TRIED["advance: a new result.json"] += 1
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                ended = pipeline("advance", "-w", root)
            assert "Traceback" not in ended.text
            run = state_of(workspace).runs[key]
            if run.status is RunStatus.DONE:
                assert ended.code in (0, 2)  # 2: what it measured cannot be compared with the rest
                assert all(math.isfinite(m["value"]) for m in json.loads(bad)["metrics"].values())
            else:
                assert ended.code in (0, 3)
                assert run.status is RunStatus.FAILED or run.tries > 1 or run.reason

        every()
