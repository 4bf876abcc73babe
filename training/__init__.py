"""The science of the first study (IRED): data, energy network, training. Never imports pipeline."""
