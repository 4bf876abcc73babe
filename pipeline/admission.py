"""How many tasks to submit at once, under limits known beforehand and limits shown by refusals.

Slurm refuses an array as a whole and does not say how much of it would fit. Each refusal bounds the
room from above; a few tries with a quarter of what is left find most of it. Pure.
"""

from dataclasses import dataclass

_MAX_TRIES = 5
"""Tries after the first refusal: enough to come from Slurm's largest usual array down to 1."""


@dataclass
class Admission:
    """The sizes to try, one after the other: ask for `size`, submit, tell how it went."""

    left: int
    """Tasks that are not submitted yet."""
    most: int
    """Tasks that one submission may hold at most."""
    hope: int | None = None
    """Tasks that are thought to fit at all; None when nothing speaks against all of them."""
    _bound: int | None = None
    """The room is smaller than this; None before the first refusal."""
    _tries: int = 0

    @property
    def size(self) -> int:
        """Tasks of the next submission; 0 when nothing is left or worth a try."""
        if self._bound is not None:
            spent = self._tries >= _MAX_TRIES or self._bound <= 1
            return 0 if spent else min(self.left, max(1, self._bound // 4))
        hope = self.left if self.hope is None else min(self.left, max(1, self.hope))
        return min(self.most, hope)

    def admitted(self) -> None:
        """The submission of `size` tasks went in."""
        size = self.size
        self.left -= size
        if self._bound is not None:
            self._bound -= size
            self._tries += 1
        elif self.hope is not None:
            # What was hoped for is in; one task more shows whether the limit is still the same.
            self.hope = None if self.hope <= 0 else self.hope - size

    def refused(self) -> None:
        """The submission of `size` tasks was refused; fewer may fit."""
        self._tries += self._bound is not None
        self._bound = self.size
