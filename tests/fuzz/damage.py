"""Strategies that take a file of ours and damage it, in the ways that files get damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from hypothesis import strategies as st

TOKEN = re.compile(
    rb'"(?:[^"\\\n]|\\.)*"|[+-]?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b'
    rb"|[A-Za-z_][A-Za-z_0-9.-]*"
)
HOSTILE_TEXTS = (
    "",
    ".",
    "..",
    "../../../etc/passwd",
    "/etc/passwd",
    "-rf",
    "--wrap=id",
    "con",
    "a" * 5000,
    "a\u0000b",
    "\u001b[2J\u001b]0;title\u0007",
    "\u202etxt.exe",
    "\ud800",
    "\ufeff",
    "\u0130",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "<script>alert(1)</script>",
    "![x](http://e/x.png)",
    "| a | b |",
    "`code`",
    "# heading",
    "$(id)",
    "`id`",
    "; id #",
    "\n#SBATCH --uid=0",
    "%j%%A",
    "\N{ROMAN NUMERAL TWO}",
    "²",
    "٣",
    "é",
    "e\u0301",
    "\U0001f600",
)
_TOKENS = (
    b"1e400",
    b"-1e400",
    b"1e308",
    b"1e-320",
    b"NaN",
    b"nan",
    b"inf",
    b"-Infinity",
    b"9" * 5000,
    b"9" * 400,
    b"-1",
    b"0",
    b"-0",
    b"0.1",
    b"true",
    b"false",
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"[" * 3000,
    b'{"a":' * 1500,
    b"1979-05-27T07:32:00Z",
    b"1979-05-27",
    b"07:32:00",
    b"0x10",
    b"1_000",
    b'"\\ud800"',
    b'"\\u0000"',
    b'"0001-01-01T00:00:00+23:59"',
    b'"9999-12-31T23:59:59-23:59"',
    b"18446744073709551617",
    b"[1, 2]",
    b'{"a": 1}',
    b"'",
    b'"""',
    b"=",
    b",",
    b"}",
    b"]",
    b"\\",
    b"#",
)


def _quoted(text: str) -> bytes:
    return json.dumps(text).encode()


TOKENS = st.one_of(
    st.sampled_from(_TOKENS),
    st.sampled_from(HOSTILE_TEXTS).map(_quoted),
    st.sampled_from(HOSTILE_TEXTS).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers(-(10**20), 10**20).map(lambda number: str(number).encode()),
    st.floats().map(lambda number: repr(number).encode()),
    st.text(max_size=8).map(_quoted),
)
ALL_HOSTILE = (*_TOKENS, *(_quoted(text) for text in HOSTILE_TEXTS))
MOST_TOKENS = 160
"""Of a file; what comes later in it repeats what came before."""
_ENCODINGS = (
    "utf-16",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "cp037",
    "utf-7",
    "utf-8-sig",
    "shift_jis",
)


@st.composite
def one_damage(draw: st.DrawFn, content: bytes) -> bytes:
    """The content damaged in one way."""
    damage: Callable[[st.DrawFn, bytes], bytes] = draw(st.sampled_from(_KINDS))
    return damage(draw, content)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """The content damaged in one to three ways, or replaced by something else altogether."""
    once = one_damage(content)
    return st.one_of(
        once,
        once,
        once.flatmap(one_damage),
        once.flatmap(one_damage).flatmap(one_damage),
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    )


def _place(draw: st.DrawFn, content: bytes) -> int:
    return draw(st.integers(0, max(0, len(content) - 1)))


def _flip(draw: st.DrawFn, content: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(draw(st.integers(1, 3))):
        changed[_place(draw, bytes(changed))] = draw(st.integers(0, 255))
    return bytes(changed)


def _truncate(draw: st.DrawFn, content: bytes) -> bytes:
    return content[: _place(draw, content)]


def _splice(draw: st.DrawFn, content: bytes) -> bytes:
    first, second, target = sorted(_place(draw, content) for _ in range(3))
    return content[:target] + content[first:second] + content[target:]


def _cut_out(draw: st.DrawFn, content: bytes) -> bytes:
    first, second = sorted(_place(draw, content) for _ in range(2))
    return content[:first] + content[second:]


def _insert(draw: st.DrawFn, content: bytes) -> bytes:
    place = _place(draw, content)
    what = draw(
        st.one_of(st.binary(max_size=20), st.sampled_from([b"\0", b"\r", b"\x1a", b"\xff"]))
    )
    return content[:place] + what + content[place:]


def _replace_token(draw: st.DrawFn, content: bytes) -> bytes:
    found = list(TOKEN.finditer(content))
    if not found:
        return bytes(draw(TOKENS))
    token = found[draw(st.integers(0, len(found) - 1))]
    return content[: token.start()] + bytes(draw(TOKENS)) + content[token.end() :]


def _copy_token(draw: st.DrawFn, content: bytes) -> bytes:
    found = list(TOKEN.finditer(content))
    if not found:
        return content
    one, other = (found[draw(st.integers(0, len(found) - 1))] for _ in range(2))
    return content[: one.start()] + other[0] + content[one.end() :]


def _repeat_line(draw: st.DrawFn, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True) or [b"\n"]
    number = draw(st.integers(0, len(lines) - 1))
    return b"".join([*lines[:number], lines[number], *lines[number:]])


def _drop_line(draw: st.DrawFn, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True) or [b"\n"]
    number = draw(st.integers(0, len(lines) - 1))
    return b"".join([*lines[:number], *lines[number + 1 :]])


def _unknown_field(draw: st.DrawFn, content: bytes) -> bytes:
    places = [match.end() for match in re.finditer(rb"[{\n]", content)] or [0]
    place = places[draw(st.integers(0, len(places) - 1))]
    field = draw(
        st.sampled_from([b'"unheard_of": 1,', b"unheard_of = 1\n", b'"": {},', b'"a":1,"a":2,'])
    )
    return content[:place] + field + content[place:]


def _encode(draw: st.DrawFn, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(draw(st.sampled_from(_ENCODINGS)), "replace")


def _line_ends(draw: st.DrawFn, content: bytes) -> bytes:
    return content.replace(
        b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\r", b"\x0b", b"\xe2\x80\xa8"]))
    )


def _long_line(draw: st.DrawFn, content: bytes) -> bytes:
    place = _place(draw, content)
    what = draw(st.sampled_from([b" ", b"a", b"1", b'"', b"[", b"-", b"|", b"\t"]))
    return content[:place] + what * 100_000 + content[place:]


_KINDS = (
    _flip,
    _truncate,
    _splice,
    _cut_out,
    _insert,
    _replace_token,
    _replace_token,
    _replace_token,
    _copy_token,
    _repeat_line,
    _drop_line,
    _unknown_field,
    _encode,
    _line_ends,
    _long_line,
)
