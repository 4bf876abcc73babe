"""Floating-point operations of training, counted from the closed form; matrix products only."""

from training.config import AdversarialMining, IREDConfig, NoMining


def step_flop(config: IREDConfig) -> int:
    """Operations of one optimiser step of one model, without its data and its time network."""
    D, h = config.matrix_size**2, config.hidden_width
    # Operations per sample; a multiplication and an addition are two.
    outer_layer, inner_layer = 2 * D * h, 2 * h * h
    forward = 2 * outer_layer + 2 * inner_layer  # base is given
    to_first_layer = outer_layer + 2 * inner_layer  # back from the output to z1
    slope = to_first_layer + outer_layer
    outer = 2 * outer_layer + 2 * inner_layer  # gradients of W1x, W2, W3, W4

    # base, energy, dE/dx, tangent pass, reverse pass, two outer products each, W1A
    total = outer_layer + forward + slope + forward + to_first_layer + 2 * outer + outer_layer
    if not isinstance(config.mining, NoMining):
        total += 2 * (forward + to_first_layer + outer)  # the positive and the negative
    if isinstance(config.mining, AdversarialMining) and config.mining.opt_steps:
        total += (1 + config.mining.opt_steps) * forward + config.mining.opt_steps * slope
    return total * config.batch_size
