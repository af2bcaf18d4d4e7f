"""Labels of components: relabelling of draws, and what can be trusted of them."""
