"""From a phase's results to what may be said about them: pure functions, values in, values out."""
