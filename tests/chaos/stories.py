"""Studies told scene by scene: what the cluster does, then a command that may be killed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.nursery import Ended
from tests.chaos.world import World

Act = Callable[[World, int | None], Ended]
"""Run a command in a world; it dies at its n-th lasting call, or at none."""


def _nothing(world: World) -> None:
    del world


def _pipeline(*arguments: str) -> Act:
    return lambda world, dies_at: world.command(*arguments, dies_at=dies_at)


@dataclass(frozen=True)
class Scene:
    """One command, and what the cluster did just before."""

    title: str
    act: Act
    before: Callable[[World], None] = _nothing
    again: Act | None = None
    """What starts again after a death; the same command if None."""
    codes: frozenset[int] = frozenset({0})
    """Exit codes that are right, of the command and of its start after a death."""
    told_before: bool = False
    """Another story has the same scene: here nobody is killed in it."""

    def restart(self, world: World) -> Ended:
        """Start again what died."""
        return (self.again or self.act)(world, None)


_ADVANCE = _pipeline("advance")
_AUTO = _pipeline("advance", "--auto")


def _follow(world: World, dies_at: int | None) -> Ended:
    """The follow-up job that waits; nothing when the chain has come to its end."""
    return world.follow_up(dies_at) or Ended(0, "", ())


STUDY: tuple[Scene, ...] = (
    Scene("the pilot is submitted", _ADVANCE),
    Scene("the pilot is analysed, the canary submitted", _ADVANCE, World.train),
    Scene("the canary's node is lost, it goes in again", _ADVANCE, World.lose_nodes),
    Scene("the canary works, the others are submitted", _ADVANCE, World.train),
    Scene("the study ends with its report", _ADVANCE, World.train),
    Scene("nothing is left to do", _ADVANCE),
    Scene("the report is rendered anew", _pipeline("report")),
)
"""`advance` from the first submission to the report, a lost node on the way, then `report`."""

CANCELLED: tuple[Scene, ...] = (
    Scene("the pilot is submitted", _ADVANCE, told_before=True),
    Scene("its task is cancelled", _pipeline("cancel", "--yes"), World.start_tasks),
    Scene("it is planned again", _pipeline("retry"), codes=frozenset({0, 2})),
    Scene("it is submitted again", _ADVANCE),
    Scene("the canary is submitted", _ADVANCE, World.train, told_before=True),
    Scene("the others are submitted", _ADVANCE, World.train, told_before=True),
    Scene("the study ends", _ADVANCE, World.train, told_before=True),
)
"""A person cancels what runs and has it tried again. `retry` that had died after its work was done
finds nothing to retry: exit code 2."""

AUTO: tuple[Scene, ...] = (
    Scene("the pilot and a follow-up are submitted", _AUTO),
    Scene("a follow-up submits the canary", _follow, World.train, _AUTO),
    Scene("a follow-up submits the others", _follow, World.train, _AUTO),
    Scene("a follow-up ends study and chain", _follow, World.train, _AUTO),
)
"""`advance --auto`; a follow-up job that is killed breaks the chain, and a person takes it up."""

STORIES: dict[str, Sequence[Scene]] = {"study": STUDY, "cancelled": CANCELLED, "auto": AUTO}
