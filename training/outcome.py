"""What a trainer returns; imports no torch, as the login node handles these too."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measurement:
    """A mean over `count` matrices, with its standard error from their spread."""

    value: float
    standard_error: float
    count: int


def measure(errors: NDArray[np.float64]) -> Measurement:
    """Summarise the squared errors of at least two matrices, (count,)."""
    count = len(errors)
    return Measurement(
        value=float(errors.mean()),
        standard_error=float(errors.std(ddof=1) / math.sqrt(count)),
        count=count,
    )


@dataclass(frozen=True)
class Outcome:
    """What training one run came to; `failure` is None when it ended well."""

    run_id: str
    failure: str | None = None
    metrics: Mapping[str, Measurement] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, Measurement]] = field(default_factory=dict)
    data_digests: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str | int | float] = field(default_factory=dict)
    diagnostics: Mapping[str, float] = field(default_factory=dict)  # of an instrumented run
    artefacts: Mapping[str, str] = field(default_factory=dict)  # what it is -> file in its folder
