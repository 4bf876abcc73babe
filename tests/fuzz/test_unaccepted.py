"""A result that comes damaged from its node: refused with the reason, or taken where it is whole.

An attempt has its result in its own folder, too: where that one is whole, it takes the damaged
one's place.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.digest import digest_of
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
        (own,) = path.parent.glob("attempts/*/result.json")
        content = path.read_bytes()

        @share(6)
        @given(st.data())
        def every(data: st.DataObject) -> None:
            bad, everywhere = data.draw(damaged(content)), data.draw(st.booleans())
            stage.put_back()
            for place in (path, own) if everywhere else (path,):
                place.unlink()  # both may be names of one file
                place.write_bytes(bad)
            TRIED["advance: a new result.json"] += 1
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                ended = pipeline("advance", "-w", root)
            assert "Traceback" not in ended.text
            run = state_of(workspace).runs[key]
            if run.status is RunStatus.DONE:
                assert ended.code in (0, 2)  # 2: what it measured cannot be compared with the rest
                taken = path.read_bytes()
                assert digest_of(taken) == run.result_digest
                assert taken == bad or (taken == content and not everywhere)
                assert all(math.isfinite(m["value"]) for m in json.loads(taken)["metrics"].values())
            else:
                assert ended.code in (0, 3)
                assert run.status is RunStatus.FAILED or run.tries > 1 or run.reason

        every()
