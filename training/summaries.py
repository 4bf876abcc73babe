"""The numbers that stand for a run's diagnostics: the unit of analysis, one row a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

# "last" is the last record; means are over probes.
SUMMARIES = {
    "clipped_share": "share of all steps whose gradient was clipped",
    "gradient_cosine": "mean over records after the first of the cosine, all layers, probe mining",
    "gradient_ratio": "mean over the same of the contrastive gradient's norm over the denoising's",
    "energy_gap": "last, mean of E(mined) - E(inverse) in the run's own energy",
    "lower_share": "last, share of mined solutions of lower energy than the inverse",
    "natural_energy_gap": "last, mean of E(inverse of the next probe) - E(inverse)",
    "random_energy_gap": "last, mean of E(random) - E(inverse)",
    "distance": "last, mean root mean square of mined - inverse, in the unit of an entry",
    "residual": "last, mean |A X - I| / sqrt(n) of mined X",
    "false_negative_share": "last, share of mined solutions nearer to the inverse than its noise",
    "reverted_share": "last, share of inner steps taken back",
}
SUMMARIES |= {
    f"own_{name}": f"{what}; own mining"
    for name, what in SUMMARIES.items()
    if name not in ("clipped_share", "natural_energy_gap", "random_energy_gap")
}


def summary_of(arrays: Arrays, labels: Mapping[str, list[str]]) -> dict[str, float]:
    """Return the run's numbers, named and explained in SUMMARIES."""
    energy = dict(zip(labels["solution"], arrays["energy"][-1].astype(np.float64), strict=True))
    steps = np.diff(arrays["step"].astype(np.float64))
    summary = {
        "clipped_share": float(np.average(arrays["clipped_share"][1:], weights=steps)),
        "natural_energy_gap": float((energy["natural"] - energy["inverse"]).mean()),
        "random_energy_gap": float((energy["random"] - energy["inverse"]).mean()),
    }
    everything = labels["layer"].index("all")
    norms = arrays["gradient_norm"][1:, :, everything].astype(np.float64)
    for number, procedure in enumerate(labels["procedure"]):
        gap = energy[procedure] - energy["inverse"]
        distance = arrays["distance"][-1, number]
        # 0 over 0 is a contrastive loss that is won for every pair beside denoising that is exact.
        ratio = norms[:, 1 + number] / np.maximum(norms[:, 0], np.finfo(np.float32).tiny)
        mined = {
            "gradient_cosine": arrays["gradient_cosine"][1:, number, everything].mean(),
            "gradient_ratio": ratio.mean(),
            "energy_gap": gap.mean(),
            "lower_share": (gap < 0).mean(),
            "distance": distance.mean(),
            "residual": arrays["residual"][-1, number].mean(),
            "false_negative_share": (distance < arrays["fixed_distance"][0]).mean(),
        }
        if procedure in labels["searching"]:
            mined["reverted_share"] = arrays["reverted_share"][-1, number]
        prefix = "own_" if procedure == "own" else ""
        summary |= {prefix + name: float(value) for name, value in mined.items()}
    return summary
