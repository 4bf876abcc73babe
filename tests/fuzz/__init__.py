"""Hostile input: every parser and whole commands on files that were damaged in every way we know."""
