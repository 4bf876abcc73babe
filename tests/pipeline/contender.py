"""A process of a contention: takes the lock again and again, and adds a name to a file under it.

Run as `python -m tests.pipeline.contender FOLDER HOST NAME`; ends when FOLDER/stop is there. What
it added and was told to be written stands in FOLDER/NAME.written, what it was refused in .refused.
"""

import random
import sys
import time
from dataclasses import replace
from pathlib import Path

from pipeline.lock import LockedError, LostLockError, Pace, exclusive
from pipeline.process import this_process

PACE = Pace(poll_s=0.01, renew_s=0.05, silent_s=0.4)


def main(folder: Path, host: str, name: str) -> None:
    """Contend until told to stop."""
    process = replace(this_process(), host=host, boot=f"boot of {host}")
    count = 0
    while not (folder / "stop").exists():
        try:
            with exclusive(folder / "lease", 5.0, process=process, pace=PACE) as lease:
                names = folder / "names"
                before = names.read_bytes() if names.exists() else b""
                time.sleep(random.uniform(0, 0.003))
                lease.replace(names, before + f"{name}-{count}\n".encode())
                note(folder / f"{name}.written", f"{name}-{count}")
        except LostLockError:
            note(folder / f"{name}.refused", f"{name}-{count}")
        except LockedError:
            continue
        count += 1


def note(path: Path, line: str) -> None:
    """Add a line to a file of our own."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
