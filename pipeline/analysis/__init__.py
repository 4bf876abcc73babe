"""Statistics, verdicts and the analysis of each kind of phase: values in, values out."""
