"""What importing costs: the types are free, the numbers need scipy, nothing needs torch."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "scipy", "matplotlib", "jinja2", "torch", "pydantic")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("pipeline.analysis.table", set()),
        ("pipeline.analysis.checks", set()),
        ("pipeline.analysis.multiseed", {"numpy", "scipy"}),
        ("pipeline.report_input", {"numpy", "scipy"}),
        ("pipeline.report", {"numpy", "scipy", "jinja2"}),
        ("pipeline.figures", {"numpy", "scipy", "matplotlib"}),
    ],
)
def test_importing_loads_no_more_than_it_says(module: str, allowed: set[str]) -> None:
    """Listing results must not wait for scipy, nor statistics for matplotlib."""
    code = f"import sys, {module}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= allowed
