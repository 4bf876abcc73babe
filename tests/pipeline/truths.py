"""What is true of a study's conditions by design, by the name of what a report must find."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.state import RunRecord


@dataclass(frozen=True)
class Planting:
    """What is true of every arm but the baseline, relative to a mean of about 1."""

    outcome: str
    effect: float = 0.0
    noise: float = 0.0
    outlier: float = 0.0
    """Added at one seed of each phase."""
    missing: int = 0
    """Runs that failed in each phase of ten seeds."""
    said: str = ""

    def __call__(self, run: RunRecord) -> Mapping[str, float] | None:
        """The run's metrics."""
        luck = 0.02 * np.random.default_rng([1, run.seed]).standard_normal()
        value = 1.0 + luck
        if run.arm != "baseline":
            own = np.random.default_rng([2, run.seed, *run.arm.encode(), *run.phase.encode()])
            value += self.effect + self.noise * own.standard_normal()
            value += self.outlier * (run.seed % 10 == 3)
            small = run.phase in ("pilot", "sweep")
            if run.seed % 10 < self.missing and not small:
                return None
        return {"loss": value, "test_loss": value + 0.1}


TRUTHS = {
    "improvement": Planting("SUPPORTED", effect=-0.03, noise=0.004),
    "harm": Planting("REJECTED", effect=0.03, noise=0.004),
    "equivalence": Planting("EQUIVALENT", effect=0.0005, noise=0.002),
    "negligible": Planting("EQUIVALENT", 0.002, 0.0005, said="it is inside the margin"),
    "unresolvable": Planting("INCONCLUSIVE", noise=0.05, said="is not resolved"),
    "one outlier": Planting("INCONCLUSIVE", noise=0.001, outlier=-0.5),
    "missing seeds": Planting("INCONCLUSIVE", -0.03, 0.004, missing=3, said="at least 8 complete"),
    "identical": Planting("EQUIVALENT", said="the two conditions computed the same"),
    "identical but shifted": Planting("INCONCLUSIVE", effect=-0.03, said="copied or shifted"),
}
