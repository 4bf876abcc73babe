"""Work for a CPU that a GPU's training leaves idle."""

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

R = TypeVar("R")

Check = Callable[[], None]
"""Called by long work now and then; what it raises ends the work."""


class _LeftError(Exception):
    """Nobody waits for the result any more."""


class Background(Generic[R]):
    """Something that is computed in a thread while a block runs, and fetched by calling it.

    Leaving the block ends what still computes, at its next check, and waits for that: a thread that
    is inside a library when the interpreter ends aborts the process.
    """

    def __init__(self, work: Callable[[Check], R]) -> None:
        self._work = work
        self._left = Event()
        self._results: list[R] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)  # should leaving be missed

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        self._thread.join()

    def __call__(self) -> R:
        """Wait for what was computed; raises what its computation raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work(self._check))
        except BaseException as error:  # raised again where somebody can act on it
            self._error = error

    def _check(self) -> None:
        if self._left.is_set():
            raise _LeftError
