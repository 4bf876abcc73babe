"""Floating-point operations of training, counted from the closed form; matrix products only."""

from training.config import IREDConfig
from training.strategies import (
    ContrastiveMining,
    HardestMining,
    InnerStepMining,
    opt_steps_shares,
)


def step_flop(config: IREDConfig) -> int:
    """Operations of one optimiser step of one model, without its data and its time network.

    The mean over training, where a curriculum changes them.
    """
    D, h = config.matrix_size**2, config.hidden_width
    # Operations per sample; a multiplication and an addition are two.
    outer_layer, inner_layer = 2 * D * h, 2 * h * h  # one of W1A, W1x | of W2, W3, H
    forward = outer_layer + 3 * inner_layer  # base is given; the product with H gives p3 as well
    to_first_layer = 2 * inner_layer  # back from p3 to z1
    slope = to_first_layer + outer_layer
    outer = outer_layer + 3 * inner_layer  # gradients of W1x, W2, W3, H

    # base, energy, dE/dx, tangent pass, reverse pass, outer products (W1x, W2, W3 twice), W1A
    per_sample = outer_layer + forward + slope + forward + to_first_layer
    per_sample += 2 * outer - inner_layer + outer_layer
    per_step = 2 * outer_layer * h  # H from W4, and W4's gradient from H's
    total = per_sample * config.batch_size + per_step
    mining = config.mining
    if not isinstance(mining, ContrastiveMining):
        return total
    negatives, paired, searched = 1, config.batch_size, 0.0
    if isinstance(mining, HardestMining):
        negatives, searched = mining.kept, mining.candidates * config.batch_size * forward
    elif isinstance(mining, InnerStepMining):
        mined = mining.mined(config.batch_size)
        paired = mined if mining.filler == "none" else config.batch_size
        for steps, share in opt_steps_shares(mining).items():
            searched += mined * share * ((steps + 1) * forward + steps * slope) * (steps > 0)
    # the positive and the negatives
    total += (1 + negatives) * paired * (forward + to_first_layer + outer)
    return total + round(searched)
