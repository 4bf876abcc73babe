"""Whether results may be compared at all, and what a reader must know before trusting them.

Pure functions on a ResultTable. A comparison that would be wrong is refused; one that is
unusual is reported as a deviation.
"""

from collections.abc import Iterable

from pipeline.analysis.table import ResultTable, RunRow
from pipeline.errors import NeedsPersonError

# Runs recompute the references in their own process; rounding may differ between devices.
REFERENCE_TOLERANCE = 1e-5


class IncomparableRunsError(NeedsPersonError):
    """Two runs of one comparison were not measured on the same held-out data."""


def refuse_mixed_data(rows: Iterable[RunRow]) -> None:
    """Refuse runs that were scored on different held-out sets.

    Raises:
        IncomparableRunsError: naming both runs, and the set that differs.
    """
    first: RunRow | None = None
    for row in rows:
        if first is None:
            first = row
        for name in sorted(set(first.data_digests) | set(row.data_digests)):
            ours, theirs = first.data_digests.get(name), row.data_digests.get(name)
            if ours != theirs:
                raise IncomparableRunsError(
                    f"phase {row.phase}: runs {first.run_id} and {row.run_id} were measured on "
                    f"different {name} sets (SHA-256 {_short(ours)} and {_short(theirs)}), so "
                    f"they cannot be compared; run {row.run_id} again with the current study"
                )


def _short(digest: str | None) -> str:
    return "not recorded" if digest is None else digest[:12]


def find_deviations(table: ResultTable) -> tuple[str, ...]:
    """Return one sentence for each thing that departs from one code, one tree, one data set."""
    found = (
        _mixed_code(table),
        _dirty_trees(table),
        _unrecorded_data(table),
        _moving_references(table),
    )
    return tuple(sentence for sentence in found if sentence)


def _mixed_code(table: ResultTable) -> str:
    """S4: one code per comparison; the code digest decides, the commit where there is none."""
    codes: dict[str, list[str]] = {}
    for row in table.rows:
        code = row.facts.code_digest or row.facts.commit
        if code:
            codes.setdefault(code[:12], []).append(row.run_id)
    if len(codes) < 2:
        return ""
    parts = "; ".join(f"{code}: {_some(runs)}" for code, runs in codes.items())
    return f"Phase {table.phase}: its runs come from {len(codes)} versions of the code ({parts})."


def _dirty_trees(table: ResultTable) -> str:
    dirty = [row.run_id for row in table.rows if row.facts.dirty]
    if not dirty:
        return ""
    return (
        f"Phase {table.phase}: {len(dirty)} of {len(table.rows)} runs come from a working tree "
        f"with uncommitted changes ({_some(dirty)})."
    )


def _unrecorded_data(table: ResultTable) -> str:
    bare = [row.run_id for row in table.rows if not row.data_digests]
    if not bare:
        return ""
    return (
        f"Phase {table.phase}: {len(bare)} of {len(table.rows)} runs record no digest of their "
        "held-out set, so it is not verified that all were scored on the same data."
    )


def _moving_references(table: ResultTable) -> str:
    """Equal held-out data give equal reference predictors, unless something drifted."""
    known: dict[tuple[str, str], tuple[float, str]] = {}
    for row in table.rows:
        for metric, predictors in row.references.items():
            for name, measured in predictors.items():
                value, run_id = known.setdefault((metric, name), (measured.value, row.run_id))
                if abs(measured.value - value) > REFERENCE_TOLERANCE * abs(value):
                    return (
                        f"Phase {table.phase}: the reference predictor {name} has {metric} "
                        f"{value:.6g} in {run_id} and {measured.value:.6g} in {row.run_id}."
                    )
    return ""


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
