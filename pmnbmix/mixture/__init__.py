"""The mixture of negative binomials: its parameters, priors and exact density."""
