"""The words of RESULTS.md: what is never said, and what a comparing sentence states."""

import re

import pytest

from tests.pipeline.refresh_golden import TEMPLATES
from tests.pipeline.report_rules import forbidden_in
from tests.pipeline.scenes import SCENES, told

COMPARING = re.compile(r"\b(lower|higher|larger|smaller|less|fewer|more) \S+ than\b")


@pytest.mark.parametrize("scene", list(SCENES))
def test_no_forbidden_word_is_said(scene: str) -> None:
    """Wording rules: nothing is oversold, nothing is missing, no p is zero."""
    text = told(scene)
    assert forbidden_in(text) == []
    assert re.findall(r"equivalen\w*", text, re.IGNORECASE) == re.findall("EQUIVALENT", text)


def test_only_the_wording_macros_compare() -> None:
    """No other template holds a comparing word."""
    words = re.compile(r"\b(lower|higher|better|worse|best|outperform\w*|superior|inferior)\b")
    sources = [path for path in TEMPLATES.rglob("*.j2") if "wording" not in path.name]
    assert len(sources) > 5
    assert {path.name: words.findall(path.read_text()) for path in sources} == {
        path.name: [] for path in sources
    }


@pytest.mark.parametrize("name", ["improvement", "harm", "maximize"])
def test_every_comparing_sentence_states_its_numbers(name: str) -> None:
    """Difference, interval, pairs, test, corrected p and margin follow the claim."""
    text = told(name)
    claims = [line for line in text.splitlines() if COMPARING.search(line) and "Arm has" in line]
    assert claims
    for line in claims:
        sign = "-" if "has lower" in line else "+"
        assert f"difference {sign}" in line
        for part in ("95% CI [", "10 pairs", "Holm-corrected p", "paired t test", "margin ±1.00%"):
            assert part in line
