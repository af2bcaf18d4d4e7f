"""The full posterior: the pm.Model, its modes, sampling, and the trees that hold the draws."""
