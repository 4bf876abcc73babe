"""What can go wrong with a test cluster."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot be set up, started or stopped; the message says what to do."""


class NotInstalledError(ClusterError):
    """Programs are missing, and this user or machine cannot install them."""
