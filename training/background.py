"""Work for a CPU that a GPU's training leaves idle."""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

R = TypeVar("R")


class Background(Generic[R]):
    """Something that is computed in a thread of its own, and fetched by calling it.

    A process that ends does not wait for it: a task that is asked to stop has little time.
    """

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._results: list[R] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self) -> R:
        """Wait for what was computed; raises what its computation raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # raised again where somebody can act on it
            self._error = error
