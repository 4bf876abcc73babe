"""Weights of a stack of models: one flat tensor, and named views into it.

Optimiser, clipping, averaging and checkpoints see one (S, P) tensor; the arithmetic sees
`Weights`, whose fields are views of it. S counts the models of the stack and is never special.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from training.streams import generator

TIME_WIDTH = 128  # of the sinusoidal embedding and of the layers that read it


class Weights(NamedTuple):
    """Parameters of S models, or their gradients. Linear maps are (S, out, in).

    [W1A, W1x] is the matrix of the first layer, split where its input [A, x] is. T1 and T2 are the
    time network; F2 and F3 turn its output into gain (first h rows) and bias (last h rows) of the
    second and third layers. In the public release: fc1 = [W1A, W1x], fc2 = W2, fc3 = W3, fc4 = W4,
    time_mlp.1 = T1, time_mlp.3 = T2, t_map_fc2 = F2, t_map_fc3 = F3; biases in lower case.
    """

    W1A: Tensor  # (S, h, D)
    W1x: Tensor  # (S, h, D)
    b1: Tensor  # (S, h)
    W2: Tensor  # (S, h, h)
    b2: Tensor  # (S, h)
    W3: Tensor  # (S, h, h)
    b3: Tensor  # (S, h)
    W4: Tensor  # (S, D, h)
    b4: Tensor  # (S, D)
    T1: Tensor  # (S, 128, 128)
    t1: Tensor  # (S, 128)
    T2: Tensor  # (S, 128, 128)
    t2: Tensor  # (S, 128)
    F2: Tensor  # (S, 2h, 128)
    f2: Tensor  # (S, 2h)
    F3: Tensor  # (S, 2h, 128)
    f3: Tensor  # (S, 2h)


class Layout(NamedTuple):
    """Sizes of one model: `features` is D = n^2, `width` is h."""

    features: int
    width: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of one model, in the order of `Weights`."""
        D, h, w = self.features, self.width, TIME_WIDTH
        return {
            "W1A": (h, D),
            "W1x": (h, D),
            "b1": (h,),
            "W2": (h, h),
            "b2": (h,),
            "W3": (h, h),
            "b3": (h,),
            "W4": (D, h),
            "b4": (D,),
            "T1": (w, w),
            "t1": (w,),
            "T2": (w, w),
            "t2": (w,),
            "F2": (2 * h, w),
            "f2": (2 * h,),
            "F3": (2 * h, w),
            "f3": (2 * h,),
        }

    def parameter_count(self) -> int:
        """Return P, the number of parameters of one model."""
        return sum(math.prod(shape) for shape in self.shapes().values())


def unflatten(flat: Tensor, layout: Layout) -> Weights:
    """Return the named views of (S, P) weights; writing to either writes to both."""
    shapes = layout.shapes().values()
    pieces = torch.split(flat, [math.prod(shape) for shape in shapes], dim=1)
    return Weights(
        *(piece.view(len(flat), *shape) for piece, shape in zip(pieces, shapes, strict=True))
    )


def flatten(weights: Weights) -> Tensor:
    """Return the (S, P) copy of named weights or gradients."""
    return torch.cat([tensor.flatten(1) for tensor in weights], dim=1)


def initial_weights(seed: int, layout: Layout) -> Tensor:
    """Draw one model's weights, (P,) float32: U(-1, 1) / sqrt(inputs of the layer).

    Always drawn on the CPU, so that a seed starts from the same weights on every device.
    """
    D, h, w = layout.features, layout.width, TIME_WIDTH
    inputs = {"1": 2 * D, "2": h, "3": h, "4": h}
    stream = generator(seed, "init")
    pieces = []
    for name, shape in layout.shapes().items():
        fan_in = inputs[name[1]] if name[0] in "Wb" else w
        uniform = 2 * torch.rand(math.prod(shape), generator=stream) - 1
        pieces.append(uniform / math.sqrt(fan_in))
    return torch.cat(pieces)


def export_model(flat: Tensor, layout: Layout, index: int) -> dict[str, Tensor]:
    """Return a copy of model `index` of (S, P) weights as parameter name -> tensor.

    The names and what they multiply are those of `Weights`, without the leading S.
    """
    return {
        name: tensor[index].clone() for name, tensor in unflatten(flat, layout)._asdict().items()
    }


def import_model(flat: Tensor, layout: Layout, index: int, state: Mapping[str, Tensor]) -> None:
    """Write what `export_model` returned into model `index` of (S, P) weights.

    Raises:
        ValueError: a parameter is missing, unknown or of another shape.
    """
    shapes = layout.shapes()
    if set(state) != set(shapes):
        raise ValueError(f"state has parameters {sorted(state)}, this model has {sorted(shapes)}")
    for name, view in unflatten(flat, layout)._asdict().items():
        if tuple(state[name].shape) != shapes[name]:
            raise ValueError(
                f"{name} has shape {tuple(state[name].shape)}, this model's is {shapes[name]}"
            )
        view[index].copy_(state[name])
