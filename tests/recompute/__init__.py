"""Recomputes the numbers of RESULTS.md's tables from runs/, using nothing of `pipeline`.

    python -m tests.recompute WORKSPACE

Reads study.toml, the result files that the report links to, and the report, and compares to the
digits that are printed. For studies whose metric is minimised.
"""
