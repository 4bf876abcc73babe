"""Rules that every report keeps: words that are not said, tables that are whole."""

import re

FORBIDDEN = re.compile(
    r"\boptimal|\bconclusive|\bproves?\b|\bdemonstrat|\bno difference|\bno effect|\bbecause\b"
    r"|\bshould\b|\bstrong power|\bhighly\b|\bp = 0(\.0+)?\b(?!\.)"
    r"|(?-i:\bNone\b)|(?<!loss is )\bnan\b|\binf\b"
    r"|\bsignificant|\bbetter\b|\bworse\b|\bbest\b|\boutperform|\bdegrad|\bsuperior|\bbeats?\b",
    re.IGNORECASE,
)


def forbidden_in(text: str) -> list[str]:
    """What a report says and must not."""
    return [match[0] for match in FORBIDDEN.finditer(text)]


def assert_tables_are_whole(text: str) -> None:
    """Every row of a table has as many cells as its head."""
    cells = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        assert cells in (0, count), line
        cells = count
