"""Results of pure functions are kept by the values of their arguments."""

from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.remembered import remembered


@dataclass(frozen=True)
class Given:
    """An argument as the analysis has them."""

    name: str
    values: object


def test_equal_arguments_are_computed_once() -> None:
    """Built anew, of other objects, they are the same arguments."""
    calls = []

    @remembered
    def told(given: Given, *, scale: float) -> str:
        calls.append(given)
        return f"{given.name} {scale}"

    once = told(Given("run", np.arange(3000)), scale=1.0)
    again = told(Given("".join(["r", "un"]), np.arange(3000)), scale=1.0)

    assert once == again == "run 1.0"
    assert len(calls) == 1


@pytest.mark.parametrize("values", [np.arange(3000) + 1, [1, 2], (1, 2), None, float("nan")])
def test_any_other_value_is_another_argument(values: object) -> None:
    """An array differs by any element, a list from a tuple."""
    calls = []

    @remembered
    def told(given: Given) -> None:
        calls.append(given)

    told(Given("run", np.arange(3000)))
    told(Given("run", values))

    assert len(calls) == 2


def test_an_error_is_not_kept_and_old_results_make_room() -> None:
    """The next call tries again; memory stays bounded."""
    calls = []

    @remembered
    def half(value: int) -> float:
        calls.append(value)
        return 1 / value

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            half(0)
    for value in range(1, 40):
        half(value)
    half(39)
    half(1)

    assert calls == [0, 0, *range(1, 40), 1]
