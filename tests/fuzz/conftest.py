"""The study whose files are damaged, and the count of what was tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.specimens import Specimens, collect

TRIED: Counter[str] = Counter()
"""Examples by parser, of this process."""


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Specimens:
    """One of each file."""
    return collect(tmp_path_factory.mktemp("fuzz") / "ws")


@pytest.fixture(autouse=True)
def toy_importable(specimens: Specimens) -> Iterator[None]:
    """The toy trainer is imported once, not for each of thousands of studies."""
    import sys

    place = str(specimens.workspace.root)
    sys.path.append(place)
    yield
    sys.modules.pop("toy", None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many damaged files each parser was given."""
    if TRIED:
        width = max(map(len, TRIED))
        terminalreporter.section("damaged inputs by parser")
        for name, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"{name:<{width}}  {count:>7,}")
        terminalreporter.write_line(f"{'all':<{width}}  {sum(TRIED.values()):>7,}")
