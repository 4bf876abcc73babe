"""RESULTS.html: the report's Markdown as one page that needs no other file and no network.

Owns the seam to markdown-it. The Markdown is rendered with HTML disabled, so that no text of a
study can become a tag; figures stand in the page itself. templates/RESULTS.html.j2 is its frame.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import markupsafe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from pipeline import templating
from pipeline.analysis.verdict import Outcome

TEMPLATE = "RESULTS.html.j2"
# A figure is drawn at 72 points an inch, a page at 96 pixels. On a narrow screen it shrinks to
# this share of its size and then scrolls: its small print stays readable.
_PX_PER_PT = 96 / 72
_LEAST_SHARE = 0.62


@dataclass(frozen=True)
class Heading:
    """A section of the page."""

    anchor: str
    text: str


def render_html(
    text: str, figures: Mapping[str, bytes], title: str, template_dirs: Sequence[Path]
) -> str:
    """Return the page for a report in Markdown; `figures` holds SVG by the path it refers to.

    Raises:
        PipelineError: a template is missing or wrong.
    """
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = markdown.parse(text)
    headings = _anchored(tokens)
    _set_apart(tokens)
    drawn = {path: _inline(svg, f"f{n}-") for n, (path, svg) in enumerate(figures.items())}
    body = markdown.renderer.render(tokens, markdown.options, {"figures": drawn})
    environment = templating.environment_of(template_dirs, markupsafe.escape)
    values = {"title": title, "headings": headings, "body": Markup(body)}
    return templating.render(environment, TEMPLATE, values)


def _anchored(tokens: Sequence[Token]) -> list[Heading]:
    """Give every section an anchor; return them in order."""
    found: list[Heading] = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h2" and inline.children is not None:
            text = "".join(child.content for child in inline.children)
            words = "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "section"
            taken = {heading.anchor for heading in found}
            anchor = words if words not in taken else f"{words}-{len(found)}"
            token.attrSet("id", anchor)
            found.append(Heading(anchor, text))
    return found


def _set_apart(tokens: Sequence[Token]) -> None:
    """Make a figure of every paragraph that holds a picture and nothing else."""
    for opening, inline, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        held = [child.type for child in inline.children or ()]
        if opening.type == "paragraph_open" and held == ["image"]:
            opening.tag = closing.tag = "figure"


class _Renderer(RendererHTML):
    """Tables in boxes that scroll, figures in the page, verdicts with a class of their own."""

    def table_open(self, tokens: Any, idx: int, options: Any, env: Any) -> str:
        """A table that is wider than the screen scrolls by itself."""
        opened = self.renderToken(tokens, idx, options, env)
        return f'<div class="scroll" tabindex="0">{opened}'

    def table_close(self, tokens: Any, idx: int, options: Any, env: Any) -> str:
        """The end of the table's box."""
        return f"{self.renderToken(tokens, idx, options, env).rstrip()}</div>\n"

    def strong_open(self, tokens: Any, idx: int, options: Any, env: Any) -> str:
        """A verdict shows which one it is."""
        word = tokens[idx + 1].content
        if word in Outcome.__members__:
            tokens[idx].attrSet("class", f"verdict {word.lower()}")
        return self.renderToken(tokens, idx, options, env)

    def image(self, tokens: Any, idx: int, _options: Any, env: Any) -> str:
        """A figure of ours in the page itself; any other picture as a link to its file."""
        path, caption = tokens[idx].attrs["src"], markupsafe.escape(tokens[idx].content)
        svg = env["figures"].get(unquote(path))
        if svg is None:
            return f'<a href="{markupsafe.escape(path)}">{caption}</a>'
        box = f'<span class="scroll" tabindex="0" role="img" aria-label="{caption}">{svg}</span>'
        return f"{box}<figcaption>{caption}</figcaption>"


def _inline(svg: bytes, prefix: str) -> Markup:
    """Return a figure of ours as an element of a page, its ids apart from other figures'."""
    root = ElementTree.fromstring(svg)  # comments, which hold labels, are dropped
    for parent in root.iter():
        # A style sheet of one figure would be one of the whole page.
        for child in [c for c in parent if _local(c.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {
            _local(key): _own_ids(_local(key), value, prefix)
            for key, value in element.attrib.items()
        }
    width = float(root.attrib.pop("width").removesuffix("pt")) * _PX_PER_PT
    root.attrib.pop("height")
    root.set("style", f"max-width:{width:.0f}px;min-width:{_LEAST_SHARE * width:.0f}px")
    root.set("aria-hidden", "true")
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    """A name without its namespace: a page knows those of SVG and of links by themselves."""
    return name.rpartition("}")[2]


def _own_ids(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href":
        return re.sub("^#", f"#{prefix}", value)
    return value.replace("url(#", f"url(#{prefix}")
