"""A browser for the session, and published reports to open in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.publish import publish
from pipeline.replan import replanned
from pipeline.site import open_site
from tests.apt import NotInstalledError, program
from tests.browser.chromium import PACKAGE, PROGRAMS, Chromium
from tests.pipeline.conftest import make_toy
from tests.pipeline.planting import WHOLE_STUDY, planted
from tests.pipeline.truths import TRUTHS

HOSTILE = "<script>console.log(1)</script><img src=http://localhost:9/x onerror=alert(1)>"


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `pytest -n` one worker runs everything in this folder: one browser is enough."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser that the tests share; they are skipped where none can be had."""
    try:
        browser = program(PROGRAMS, PACKAGE)
    except NotInstalledError as error:
        pytest.skip(f"no browser: {error}")
    running = Chromium(browser, tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a whole study with failed runs, whose label tries to be a script."""
    study = WHOLE_STUDY.replace('label = "Handicapped"', f'label = "{HOSTILE}"')
    site = open_site(make_toy(tmp_path_factory.mktemp("study") / "ws", study), None)
    publish(site.workspace, site.study, planted(site, TRUTHS["missing seeds"]))
    return site.workspace.page_file


@pytest.fixture(scope="session")
def pending_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of which nothing was run."""
    site = open_site(make_toy(tmp_path_factory.mktemp("pending") / "ws", WHOLE_STUDY), None)
    state, _ = replanned(site.study, site.profile_name, None)
    publish(site.workspace, site.study, state)
    return site.workspace.page_file
