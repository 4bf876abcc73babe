"""The cells of a sweep: which settings its grid and its lists ask for. Pure values.

A cell maps config keys to values; a dotted key names a setting inside a table. It has a name, and
so has an arm: what a phase trains at each of its seeds, a condition and perhaps a cell of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

Cell = Mapping[str, Any]
MOST_CELLS = 10_000


class CellError(ValueError):
    """A cell does not fit the config that it is to change."""


def grid_cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[Cell]:
    """Every combination of the axes' values, the last axis fastest; none for no axes."""
    if grid:
        for values in product(*grid.values()):
            yield dict(zip(grid, values, strict=True))


def cell_name(cell: Cell) -> str:
    """ "mining.opt_steps=2, mining.noise_scale=3.0"."""
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in cell.items())


def arm_name(condition: str, cell: str) -> str:
    """Name of a condition with the overrides of a cell (by name), or of the condition alone."""
    return f"{condition} [{cell}]" if cell else condition


def with_cell(config: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """A copy of a config with the cell's settings.

    Raises:
        CellError: a key leads through something that is no table.
    """
    changed = json.loads(json.dumps(config))
    for path, value in cell.items():
        *tables, leaf = path.split(".")
        place = changed
        for depth, table in enumerate(tables):
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise CellError(f"{path}: {'.'.join(tables[: depth + 1])} is no table")
        place[leaf] = value
    return dict(changed)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last part, where no other key ends in the same."""
    leaves = [key.rpartition(".")[2] for key in keys]
    return {
        key: leaf if leaves.count(leaf) == 1 else key
        for key, leaf in zip(keys, leaves, strict=True)
    }


def cell_label(cell: Cell) -> str:
    """ "opt_steps = 2, noise_scale = 3.0", for people."""
    names = short_names(list(cell))
    return ", ".join(f"{names[key]} = {json.dumps(value)}" for key, value in cell.items())
