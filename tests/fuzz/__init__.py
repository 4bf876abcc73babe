"""Hostile input: every parser, and whole commands, on files that were damaged in many ways."""
