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
    outer_layer, inner_layer = 2 * D * h, 2 * h * h
    forward = 2 * outer_layer + 2 * inner_layer  # base is given
    to_first_layer = outer_layer + 2 * inner_layer  # back from the output to z1
    slope = to_first_layer + outer_layer
    outer = 2 * outer_layer + 2 * inner_layer  # gradients of W1x, W2, W3, W4

    # base, energy, dE/dx, tangent pass, reverse pass, two outer products each, W1A
    total = outer_layer + forward + slope + forward + to_first_layer + 2 * outer + outer_layer
    total *= config.batch_size
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
