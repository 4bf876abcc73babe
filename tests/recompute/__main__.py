"""Compare a workspace's report with its runs: `python -m tests.recompute WORKSPACE`."""

import sys
from pathlib import Path

from tests.recompute.whole import recompute

if __name__ == "__main__":
    count, wrong = recompute(Path(sys.argv[1]))
    print(*wrong, f"{count} numbers compared, {len(wrong)} differ", sep="\n")  # noqa: T201
    sys.exit(bool(wrong))
