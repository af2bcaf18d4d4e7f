"""Many columns of counts at once: thousands of genes, each its own mixture."""
