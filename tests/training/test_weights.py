"""Weights: their names, views, initial values, and the way of one model in and out."""

import math

import pytest
import torch

from training.weights import (
    Layout,
    Weights,
    export_model,
    flatten,
    import_model,
    initial_weights,
    unflatten,
)

LAYOUT = Layout(features=9, width=16)


def test_names_shapes_and_count_agree() -> None:
    """The layout names what `Weights` holds; the published size has 1.54 million parameters."""
    assert tuple(LAYOUT.shapes()) == Weights._fields
    assert Layout(400, 512).parameter_count() == sum(
        (
            800 * 512 + 512,
            2 * (512 * 512 + 512),
            512 * 400 + 400,
            2 * (128 * 128 + 128),
            2 * (128 * 1024 + 1024),
        )
    )


def test_named_weights_are_views_of_the_flat_ones() -> None:
    """Writing to one writes to the other, and flattening gives the same numbers back."""
    flat = torch.stack([initial_weights(seed, LAYOUT) for seed in (0, 1)])
    named = unflatten(flat, LAYOUT)
    assert torch.equal(flatten(named), flat)
    named.W3[1, 2, 3] = 42
    assert (flat[1] == 42).sum() == 1
    assert not (flat[0] == 42).any()


def test_initial_weights_fill_the_range_of_their_layer() -> None:
    """Weights and biases are uniform within 1 / sqrt(inputs), the first layer counting A and x."""
    layout = Layout(features=36, width=128)
    state = export_model(initial_weights(3, layout)[None], layout, 0)
    for name, inputs in (("W1A", 72), ("W1x", 72), ("W2", 128), ("b3", 128), ("F2", 128)):
        bound = 1 / math.sqrt(inputs)
        assert float(state[name].abs().max()) <= bound
        assert float(state[name].abs().max()) > 0.9 * bound
        assert float(state[name].std()) == pytest.approx(bound / math.sqrt(3), rel=0.2)


def test_a_model_survives_export_and_import() -> None:
    """A model moved to another place of another stack is the same, and its neighbours too."""
    source = torch.stack([initial_weights(seed, LAYOUT) for seed in (0, 1)])
    target = torch.stack([initial_weights(seed, LAYOUT) for seed in (2, 3, 4)])
    before = target.clone()
    import_model(target, LAYOUT, 2, export_model(source, LAYOUT, 1))
    assert torch.equal(target[2], source[1])
    assert torch.equal(target[:2], before[:2])


def test_an_export_is_a_copy() -> None:
    """Training on does not change a model that was exported."""
    flat = initial_weights(0, LAYOUT)[None]
    state = export_model(flat, LAYOUT, 0)
    flat += 1
    assert not torch.equal(state["b1"], unflatten(flat, LAYOUT).b1[0])


def test_a_state_of_another_model_is_refused() -> None:
    """Missing parameters and wrong shapes are named, before anything is written."""
    flat = initial_weights(0, LAYOUT)[None]
    state = export_model(flat, LAYOUT, 0)
    other = Layout(features=9, width=8)
    with pytest.raises(ValueError, match="parameters"):
        import_model(flat, LAYOUT, 0, {"W1A": state["W1A"]})
    with pytest.raises(ValueError, match=r"W1A has shape \(8, 9\)"):
        import_model(flat, LAYOUT, 0, export_model(initial_weights(0, other)[None], other, 0))
