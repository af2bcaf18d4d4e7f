"""Evidence from fits: LOO, point estimates beside the posterior, and the rule for a choice."""
