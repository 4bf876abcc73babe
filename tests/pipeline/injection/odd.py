"""Texts that mean something to somebody: Markdown, HTML, templates, terminals."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from tests.fuzz.damage import HOSTILE_TEXTS

ODD = [
    *HOSTILE_TEXTS,
    "a*b*c",
    "[a](b)",
    "![a](b)",
    "<a href='x'>",
    "<!-- x -->",
    "&lt;b&gt;",
    "a\\",
    "~~~",
    "```",
    "1. a",
    "- a",
    "===",
    "---",
    "> a",
    "    a",
    "| --- |",
    "</script>",
    "</style>",
    "$x^2$",
    "a_b_c",
    "{% include %}",
    "\x9b31m",
    "\x07",
    "\u2028",
    "\ufffe",
    "\U0001ffff",
    "--",
    "]]>",
]
odd_texts = st.one_of(
    st.sampled_from(ODD), st.text(max_size=20), st.lists(st.sampled_from(ODD)).map("".join)
)
few = settings(max_examples=40, deadline=None, derandomize=True)
