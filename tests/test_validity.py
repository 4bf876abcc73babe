"""The promise of the verdicts on simulated studies; the benchmark runs ten times as many."""

import pytest

from benchmarks.validity import SHAPES, families, selections

STUDIES = 200


@pytest.mark.parametrize("noise", list(SHAPES))
def test_no_more_than_alpha_of_null_studies_tell_conditions_apart(noise: str) -> None:
    """Families under Holm and the confirmation of a selected cell, for any shape of noise."""
    rates = [*families(STUDIES, noise, 1), *selections(STUDIES, noise, 1)]
    promised = [rate for rate in rates if rate.limit is not None]
    assert len(promised) == 5
    assert [rate for rate in promised if not rate.kept] == []
    power = [rate.rate for rate in rates if rate.event.endswith("SUPPORTED")]
    assert len(power) == 3
    assert min(power) > 0.65


def test_a_selection_looks_favourable_where_it_was_made() -> None:
    """The limit is not kept by accident: the sweep's own estimate is inflated under the null."""
    rates = {rate.event: rate.rate for rate in selections(STUDIES, "normal", 2)}
    assert rates["null, p < alpha in the sweep itself"] > 0.08
    assert rates["null, mean optimism in points"] < -0.5
