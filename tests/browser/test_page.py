"""RESULTS.html on a phone and on a desk, in light and in dark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.chromium import Chromium
from tests.browser.conftest import HOSTILE

SCREENS = {"phone": (390, 844), "desk": (1200, 900)}
FIGURES = """[...document.querySelectorAll("figure svg")].map(svg => {
    const box = svg.getBoundingClientRect(), style = getComputedStyle(svg);
    return [box.width, box.height, style.visibility, svg.querySelectorAll("path").length];
})"""
BOXES = """[...document.querySelectorAll("table, figure svg")].map(inner => {
    const box = inner.parentElement;
    return [box.getBoundingClientRect().right, box.scrollWidth > box.clientWidth,
            getComputedStyle(box).overflowX];
})"""
SHADES = """[document.body, document.querySelector("main")].map(e => {
    const of = getComputedStyle(e);
    return of.backgroundColor + of.color;
}).join()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", list(SCREENS))
def test_the_page_fits_shows_its_figures_and_asks_for_nothing(
    chromium: Chromium, page: Path, screen: str, scheme: str
) -> None:
    """No sideways scrolling of the page, every figure visible, no complaint, no request."""
    width, height = SCREENS[screen]
    chromium.open(page, width, height, scheme)

    assert chromium.value("innerWidth") == width
    assert chromium.value("document.scrollingElement.scrollWidth") <= width
    figures = chromium.value(FIGURES)
    assert len(figures) == len(list((page.parent / "figures").glob("*.svg"))) > 5
    for wide, high, visibility, paths in figures:
        assert wide > 200
        assert high > 100
        assert visibility == "visible"
        assert paths > 10
    assert chromium.complaints() == []
    assert chromium.requests() == []


def test_what_is_wider_than_a_phone_scrolls_in_a_box_of_its_own(
    chromium: Chromium, page: Path
) -> None:
    """Tables and figures end at the screen's edge, and some of them do scroll."""
    width, height = SCREENS["phone"]
    chromium.open(page, width, height)

    boxes = chromium.value(BOXES)
    assert any(scrolls for _, scrolls, _ in boxes)
    for right, _, overflow in boxes:
        assert right <= width
        assert overflow == "auto"


def test_text_of_the_study_stays_text(chromium: Chromium, page: Path) -> None:
    """A label that tries to be a script is read by people, not by the browser."""
    chromium.open(page, *SCREENS["desk"])

    assert HOSTILE in chromium.value("document.body.innerText")
    assert chromium.value("document.querySelectorAll('script, img, iframe, object').length") == 0
    assert chromium.complaints() == []


def test_dark_mode_is_another_palette(chromium: Chromium, page: Path) -> None:
    """The reader's setting decides, without a script."""
    shades = set()
    for scheme in ("light", "dark"):
        chromium.open(page, *SCREENS["phone"], scheme)
        shades.add(chromium.value(SHADES))
    assert len(shades) == 2


def test_every_entry_of_the_contents_leads_to_its_section(chromium: Chromium, page: Path) -> None:
    """As many links as sections, each to a heading that is there."""
    chromium.open(page, *SCREENS["phone"])
    links = chromium.value("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    there = chromium.value("[...document.querySelectorAll('h2')].map(h => h.id)")
    assert links == there
    assert len(set(there)) == len(there) > 10


def test_a_page_without_results_opens_as_well(chromium: Chromium, pending_page: Path) -> None:
    """Nothing has run: no figure, and no complaint."""
    for size in SCREENS.values():
        chromium.open(pending_page, *size)
        assert chromium.value("document.scrollingElement.scrollWidth <= innerWidth")
        assert chromium.value(FIGURES) == []
        assert "Not yet: no confirmatory phase" in chromium.value("document.body.innerText")
        assert chromium.complaints() == chromium.requests() == []


def test_the_driver_hears_what_a_page_does(chromium: Chromium, tmp_path: Path) -> None:
    """Silence above means something: scripts that fail and pictures that are asked for are told."""
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='gone.png'><script>console.error('oh'); nothing()</script>")
    chromium.open(bad, *SCREENS["desk"])
    assert any("gone.png" in url for url in chromium.requests())
    assert any("oh" in line for line in chromium.complaints())
    assert any("nothing is not defined" in line for line in chromium.complaints())
