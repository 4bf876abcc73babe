"""The energy network of a stack of models, its gradient in x, and its reverse passes, closed form.

E(A, x, t) = |W4 h3 + b4|^2,  h_i = s(z_i),  s(z) = z sig(z)
z1 = W1A A + W1x x + b1,  z_i = a_i g_i(t) + c_i(t)  and  a_i = W_i h_(i-1)  for i = 2, 3

Du, Mao, Tenenbaum (ICML 2024) train with dE/dx as the estimate of the noise, so the gradient of
their loss is a derivative of a derivative. Written out it needs no graph: one forward pass, one
backward pass for dE/dx, one tangent pass and one reverse pass.

The last layer is only ever seen squared: E is quadratic in h3 with the Hessian H = 2 W4^T W4 and
the gradient u = 2 W4^T b4 at 0. With H made once per step, one product with it stands for two with
W4 (up to the output, and back), and one outer product for two: 22.4 GFLOP for a denoising step of
the published size, where autograd through autograd takes 31.5.
Names: p, q, r are the gradients of E in h, z, a; `_dot` marks derivatives along a direction v of
x; `_bar` marks gradients of the loss. S models, B samples each, D = n^2 features, width h.
Biases of layers 2 and 3 are in c_i(t), see time_table.py: that saves a pass over (S, B, h) each
time one would be added, and one each time its gradient would be summed.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu

from training.time_table import TimeTable
from training.weights import Weights


def product(x: Tensor, W: Tensor) -> Tensor:
    """Return x @ W with the inputs rounded to W's type, in x's type: see precision.py."""
    return (x.to(W.dtype) @ W).to(x.dtype)


def outer(weights: Weights, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Return the sum over samples and pairs of left right^T, the gradient of a linear map."""
    low = weights.W2.dtype
    lefts, rights = [left.to(low).mT for left, _ in pairs], [right.to(low) for _, right in pairs]
    total = (lefts[0] @ rights[0]).to(pairs[0][0].dtype)
    for left, right in zip(lefts[1:], rights[1:], strict=True):
        if low == total.dtype:
            total = torch.baddbmm(total, left, right)
        else:  # sums of products stay in the wider type
            total = total + (left @ right).to(total.dtype)
    return total


class Prepared(NamedTuple):
    """What depends on neither x nor t."""

    base: Tensor  # (S, B, h) = W1A A + b1
    H: Tensor  # (S, h, h) = 2 W4^T W4
    u: Tensor  # (S, 1, h) = 2 W4^T b4
    floor: Tensor  # (S, 1) = |b4|^2


def prepare(weights: Weights, A: Tensor) -> Prepared:
    """Return what every evaluation on A (S, B, D) shares."""
    W4, b4 = weights.W4, weights.b4[:, None].to(weights.W4.dtype)  # (S, D, h), (S, 1, D)
    return Prepared(
        base=product(A, weights.W1A.mT) + weights.b1[:, None],
        H=2 * W4.mT @ W4,
        u=2 * (b4 @ W4).to(A.dtype),
        floor=weights.b4.square().sum(-1, keepdim=True),
    )


class Given(NamedTuple):
    """What A and t contribute, computed once per batch and shared by every x tried on it."""

    base: Tensor
    H: Tensor
    u: Tensor
    floor: Tensor
    g2: Tensor  # (S, B, h), or (S, 1, h) where all samples have the same t; so the next three
    c2: Tensor
    g3: Tensor
    c3: Tensor


def given_levels(prepared: Prepared, table: TimeTable, t: Tensor) -> Given:
    """Join with the gains and biases of t (S, B)."""
    models = torch.arange(len(t), device=t.device)[:, None]  # (S, 1), pairs with t (S, B)
    return Given(*prepared, *(rows[models, t] for rows in (table.g2, table.c2, table.g3, table.c3)))


def given_level(prepared: Prepared, table: TimeTable, t: int) -> Given:
    """Join with the gains and biases of one t, the same for all samples."""
    return Given(
        *prepared, *(rows[:, t, None] for rows in (table.g2, table.c2, table.g3, table.c3))
    )


# What `Given` and `Contribution` have of every sample; the rest is of a whole model.
PER_SAMPLE = ("base", "g2", "c2", "g3", "c3")


class Forward(NamedTuple):
    """The network evaluated at x, with what its derivatives need."""

    energy: Tensor  # (S, B)
    x: Tensor  # (S, B, D)
    z1: Tensor  # (S, B, h)
    h1: Tensor
    a2: Tensor
    z2: Tensor
    h2: Tensor
    a3: Tensor
    z3: Tensor
    h3: Tensor
    p3: Tensor


def forward(weights: Weights, given: Given, x: Tensor) -> Forward:
    """Evaluate the energy at x (S, B, D)."""
    z1 = product(x, weights.W1x.mT) + given.base
    h1 = silu(z1)
    a2 = product(h1, weights.W2.mT)
    z2 = torch.addcmul(given.c2, a2, given.g2)
    h2 = silu(z2)
    a3 = product(h2, weights.W3.mT)
    z3 = torch.addcmul(given.c3, a3, given.g3)
    h3 = silu(z3)
    p3 = product(h3, given.H) + given.u
    energy = 0.5 * (h3 * (p3 + given.u)).sum(-1) + given.floor
    return Forward(energy, x, z1, h1, a2, z2, h2, a3, z3, h3, p3)


class Backward(NamedTuple):
    """Gradients of a multiple of E inside the network: p in h, q in z, r in a."""

    p3: Tensor  # (S, B, h), as are the rest
    q3: Tensor
    r3: Tensor
    p2: Tensor
    q2: Tensor
    r2: Tensor
    p1: Tensor
    q1: Tensor


def backward(
    weights: Weights, given: Given, at: Forward, multiple: Tensor | None = None
) -> Backward:
    """Carry E, or `multiple` (S, B) of it per sample, back from the output to the first layer."""
    p3 = at.p3 if multiple is None else multiple[..., None] * at.p3
    q3 = _times_slope(p3, at.z3)
    r3 = q3 * given.g3
    p2 = product(r3, weights.W3)
    q2 = _times_slope(p2, at.z2)
    r2 = q2 * given.g2
    p1 = product(r2, weights.W2)
    q1 = _times_slope(p1, at.z1)
    return Backward(p3, q3, r3, p2, q2, r2, p1, q1)


def gradient_in_x(weights: Weights, back: Backward) -> Tensor:
    """Return dE/dx, (S, B, D)."""
    return product(back.q1, weights.W1x)


class Contribution(NamedTuple):
    """What one evaluation adds to the gradient of the loss.

    The weights' part is summed over samples; what belongs to `Given` stays per sample, so that
    the evaluations of a batch are added up before they are carried on to A and t.
    """

    W1x: Tensor
    W2: Tensor
    W3: Tensor
    H: Tensor  # not symmetric: H's gradient is the mean of this and its transpose
    u: Tensor  # (S, h)
    floor: Tensor  # (S,)
    base: Tensor  # (S, B, h), as are the rest
    g2: Tensor
    c2: Tensor
    g3: Tensor
    c3: Tensor


def energy_contribution(
    weights: Weights, given: Given, at: Forward, energy_bar: Tensor
) -> Contribution:
    """Reverse pass of the energies, energy_bar (S, B) being the loss's gradient in them."""
    back = backward(weights, given, at, energy_bar)
    half = (0.5 * energy_bar)[..., None] * at.h3
    return Contribution(
        W1x=outer(weights, (back.q1, at.x)),
        W2=outer(weights, (back.r2, at.h1)),
        W3=outer(weights, (back.r3, at.h2)),
        H=outer(weights, (half, at.h3)),
        u=2 * half.sum(1),
        floor=energy_bar.sum(1),
        base=back.q1,
        g2=back.q2 * at.a2,
        c2=back.q2,
        g3=back.q3 * at.a3,
        c3=back.q3,
    )


def slope_contribution(
    weights: Weights, given: Given, at: Forward, back: Backward, v: Tensor
) -> Contribution:
    """Reverse pass of dE/dx, v (S, B, D) being the loss's gradient in it.

    By symmetry that is the reverse pass of E's derivative along v. A tangent pass gives that
    derivative, h3_dot . p3; its gradients are p, q, r along the tangent pass and the `_bar` values
    along the original one.
    """
    z1_dot = product(v, weights.W1x.mT)
    h1_dot = _times_slope(z1_dot, at.z1)
    a2_dot = product(h1_dot, weights.W2.mT)
    z2_dot = given.g2 * a2_dot
    h2_dot = _times_slope(z2_dot, at.z2)
    a3_dot = product(h2_dot, weights.W3.mT)
    z3_dot = given.g3 * a3_dot
    h3_dot = _times_slope(z3_dot, at.z3)

    h3_bar = product(h3_dot, given.H)
    z3_bar = _reverse_silu(h3_bar, back.p3 * z3_dot, at.z3, at.h3)
    a3_bar = z3_bar * given.g3
    z2_bar = _reverse_silu(product(a3_bar, weights.W3), back.p2 * z2_dot, at.z2, at.h2)
    a2_bar = z2_bar * given.g2
    z1_bar = _reverse_silu(product(a2_bar, weights.W2), back.p1 * z1_dot, at.z1, at.h1)
    return Contribution(
        W1x=outer(weights, (z1_bar, at.x), (back.q1, v)),
        W2=outer(weights, (a2_bar, at.h1), (back.r2, h1_dot)),
        W3=outer(weights, (a3_bar, at.h2), (back.r3, h2_dot)),
        H=outer(weights, (h3_dot, at.h3)),
        u=h3_dot.sum(1),
        floor=torch.zeros_like(at.energy[:, 0]),
        base=z1_bar,
        g2=torch.addcmul(z2_bar * at.a2, back.q2, a2_dot),
        c2=z2_bar,
        g3=torch.addcmul(z3_bar * at.a3, back.q3, a3_dot),
        c3=z3_bar,
    )


def last_layer(weights: Weights, total: Contribution) -> dict[str, Tensor]:
    """Carry the gradients in H, u and |b4|^2 on to W4 and b4."""
    W4, b4 = weights.W4.to(total.H.dtype), weights.b4
    return {
        "W4": 2 * (W4 @ (total.H + total.H.mT) + b4[..., None] * total.u[:, None]),
        "b4": 2 * ((W4 @ total.u[..., None])[..., 0] + total.floor[:, None] * b4),
    }


def _times_slope(factor: Tensor, z: Tensor) -> Tensor:
    """Return factor s'(z), s' = sig (1 + z (1 - sig)), in one kernel."""
    product: Tensor = torch.ops.aten.silu_backward(factor, z)
    return product


def _reverse_silu(slope_factor: Tensor, curvature_factor: Tensor, z: Tensor, h: Tensor) -> Tensor:
    """Return slope_factor s'(z) + curvature_factor s''(z), with h = s(z).

    s'' = sig (1 - sig) (2 + z (1 - 2 sig)), of which the last factor is 2 + z - 2 h.
    """
    sig = torch.sigmoid(z)
    curved = torch.ops.aten.sigmoid_backward(curvature_factor, sig)
    return torch.addcmul(_times_slope(slope_factor, z), curved, torch.sub(z, h, alpha=2).add_(2))
