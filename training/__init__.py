"""The science of the first study (IRED): data, energy network, training. Never imports pipeline.

To compare with another implementation: put its weights into a stack with `weights.import_model`
(which names what each parameter multiplies), and call `loss.loss_and_gradient`,
`diffusion.descend` and `diffusion.sample` with its noise in float64. All randomness is an argument.
With `quirks` they follow the public release, whose schedule is `cosine_schedule(rounded=True)`.
"""
