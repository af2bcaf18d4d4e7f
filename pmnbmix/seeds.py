"""Random numbers, from a seed that the user gave."""

from __future__ import annotations

import numpy as np


def entropy_of(random_seed: int | np.random.Generator | None) -> int:
    """One number from which each of many tasks gets its stream, whichever of them run."""
    return int(as_rng(random_seed).integers(2**63))


def stream(entropy: int, index: int) -> np.random.Generator:
    """Generator of one of many tasks, independent of the others."""
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(index + 1,)))


def as_rng(random_seed: int | np.random.Generator | None) -> np.random.Generator:
    """Return a generator for a seed, or the generator itself.

    Raises
    ------
    TypeError, ValueError
        If the seed is neither an integer of 0 or above, nor a generator, nor None.
    """
    if isinstance(random_seed, np.random.Generator):
        return random_seed
    if random_seed is not None:
        if isinstance(random_seed, bool) or not isinstance(random_seed, int | np.integer):
            raise TypeError(
                f"random_seed must be an integer or a numpy.random.Generator; got {random_seed!r}."
            )
        if random_seed < 0:
            raise ValueError(f"random_seed must be 0 or above; got {random_seed}.")
    return np.random.default_rng(random_seed)
