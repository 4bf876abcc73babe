"""How much is tried: little in `make test`, all of it in `make fuzz` (STUDY_FUZZ=nightly)."""

import os

from hypothesis import HealthCheck, Phase, settings

NIGHTLY = os.environ.get("STUDY_FUZZ") == "nightly"
_SHARED = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}

settings.register_profile("fuzz-quick", max_examples=20, derandomize=True, **_SHARED)  # type: ignore[arg-type]
settings.register_profile(
    "fuzz-nightly",
    max_examples=500,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    **_SHARED,  # type: ignore[arg-type]
)
FUZZ = settings.get_profile("fuzz-nightly" if NIGHTLY else "fuzz-quick")
"""For the tests of tests/fuzz alone."""


def share(divisor: int) -> settings:
    """The same with fewer examples, where each costs much."""
    return settings(FUZZ, max_examples=max(4, FUZZ.max_examples // divisor))
