"""The real trainer with a checkpoint every fifth of a second; a test copies this to a workspace."""

from collections.abc import Iterator, Sequence
from typing import Any

from training.trainer import IREDTrainer


class OftenSaved(IREDTrainer):
    """Trains as it does; what it does every ten minutes it does so often that a kill meets it."""

    def train(self, runs: Sequence[Any], context: Any) -> Iterator[Any]:
        """Train the runs."""
        from training import checkpoint  # which loads torch

        checkpoint.SECONDS_BETWEEN = 0.2
        yield from super().train(runs, context)
