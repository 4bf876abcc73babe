"""Small words: numbers with their nouns, and text that is safe to put on a line."""

import re
import unicodedata

_MAX_CHARS = 300
_LONGEST_S = 3.2e11
# What a terminal obeys: control sequences, texts for the terminal (titles, links), single shifts.
_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)


def count(number: int, noun: str) -> str:
    """ "1 run", "12 runs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def and_more(first: str, others: int, noun: str) -> str:
    """The first of several by name, the rest by number."""
    return f"{first} and {others} more {noun}{'' if others == 1 else 's'}" if others else first


def one_line(text: str) -> str:
    """The text without line breaks and control characters, cut to a length one can read."""
    plain = " ".join(_SEQUENCE.sub("", text).split())
    plain = "".join(c for c in plain if unicodedata.category(c)[0] != "C")
    return plain if len(plain) <= _MAX_CHARS else plain[: _MAX_CHARS - 3] + "..."


def harmless(text: str) -> str:
    """The text without what a terminal would obey; its line breaks and tabs stay."""
    if text.isprintable():
        return text
    plain = _SEQUENCE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(_shown(character) for character in plain)


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cs":  # no encoding has it
        return "\N{REPLACEMENT CHARACTER}"
    return "" if kind in ("Cc", "Cf") and character not in "\n\t" else character


def duration(seconds: float) -> str:
    """A duration in its two largest units, such as "2 h 05 min"."""
    if not seconds < _LONGEST_S:
        return "more than 10,000 years"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"
