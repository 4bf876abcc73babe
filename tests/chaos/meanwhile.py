"""A thread that works while a block runs."""

import threading
from typing import Self


class Meanwhile(threading.Thread):
    """Started with its block and joined at its end, of which `_over` tells its `run`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join()
