"""Floating-point operations of training, counted from the closed form; matrix products only."""

from training.config import AdversarialMining, IREDConfig, NoMining


def step_flop(config: IREDConfig) -> int:
    """Operations of one optimiser step of one model, without its data and its time network."""
    D, h = config.matrix_size**2, config.hidden_width
    # Operations per sample; a multiplication and an addition are two.
    outer_layer, inner_layer = 2 * D * h, 2 * h * h  # one of W1A, W1x | of W2, W3, H
    forward = outer_layer + 3 * inner_layer  # base is given; the product with H gives p3 as well
    to_first_layer = 2 * inner_layer  # back from p3 to z1
    slope = to_first_layer + outer_layer
    outer = outer_layer + 3 * inner_layer  # gradients of W1x, W2, W3, H

    # base, energy, dE/dx, tangent pass, reverse pass, outer products (W1x, W2, W3 twice), W1A
    total = outer_layer + forward + slope + forward + to_first_layer
    total += 2 * outer - inner_layer + outer_layer
    if not isinstance(config.mining, NoMining):
        total += 2 * (forward + to_first_layer + outer)  # the positive and the negative
    if isinstance(config.mining, AdversarialMining) and config.mining.opt_steps:
        total += (1 + config.mining.opt_steps) * forward + config.mining.opt_steps * slope
    per_step = 2 * outer_layer * h  # H from W4, and W4's gradient from H's
    return total * config.batch_size + per_step
