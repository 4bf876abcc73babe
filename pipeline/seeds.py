"""Seeds as a study writes them: a list, or ranges such as "0-9"."""

import re
from collections import Counter

_MAX_SEEDS = 100_000
_MAX_SEED = 2**31 - 1


def parse_seeds(value: object) -> tuple[int, ...]:
    """Read `[0, 1, 2]`, `"0-9"` or `"0-3,7"` into seeds, in the order given.

    Raises:
        ValueError: not seeds, a seed twice, none at all, or a range that runs backwards.
    """
    if isinstance(value, str):
        seeds = [seed for part in value.split(",") for seed in _seed_range(part.strip())]
    elif isinstance(value, list | tuple):
        seeds = [seed for seed in value if isinstance(seed, int) and not isinstance(seed, bool)]
        if len(seeds) != len(value) or any(not 0 <= seed <= _MAX_SEED for seed in seeds):
            raise ValueError(f"seeds are whole numbers from 0 to {_MAX_SEED}")
    else:
        raise ValueError('seeds are a list such as [0, 1, 2] or a range such as "0-9"')
    if not seeds:
        raise ValueError("no seeds: a phase without runs measures nothing")
    for seed, count in Counter(seeds).items():
        if count > 1:
            raise ValueError(f"seed {seed} stands twice; a run repeated is no new evidence")
    return tuple(seeds)


def _seed_range(text: str) -> range:
    match = re.fullmatch(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?", text, re.ASCII)
    if match is None:
        raise ValueError(f'"{text}" is neither a seed nor a range such as "0-9"')
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f'range "{text}" runs backwards')
    if last - first >= _MAX_SEEDS:
        raise ValueError(f'range "{text}" holds more than {_MAX_SEEDS} seeds')
    return range(first, last + 1)
