"""Trees of draws: reading, writing and storage, and the checks that each reading makes once."""
