"""Draws of mixture parameters as arrays, whichever sampler made them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.permute import gather
from pmnbmix.mixture.rows import draws_log_density, draws_responsibilities
from pmnbmix.mixture.spec import MixtureSpec

Floats = NDArray[np.float64]

# Responsibilities of all draws are made in blocks of rows that take at most this many bytes.
_BLOCK_BYTES = 100_000_000
# A Poisson draw beyond this would not be exact in floating point.
_LARGEST_RATE = 2.0**52
# Logarithms further from 0 are clipped to this, because a parameter that overflows is not a
# number, and one that underflows to 0 has log density minus infinity.
FURTHEST_LOG = 700.0


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of weights, means and dispersions, each (n_chains, n_draws, n_components)."""

    weights: Floats
    means: Floats
    dispersions: Floats

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.means.shape[-1])

    @property
    def n_samples(self) -> int:
        """Number of draws in all chains together."""
        return int(self.means.shape[0] * self.means.shape[1])

    def permuted(self, order: NDArray[np.intp]) -> Draws:
        """Permute the components of each draw by ``order`` (chain, draw, k)."""
        return Draws(
            *(gather(array, order) for array in (self.weights, self.means, self.dispersions))
        )

    def evenly(self, most: int) -> NDArray[np.intp]:
        """Numbers of at most this many draws, evenly spaced over all chains one after another."""
        return np.linspace(0, self.n_samples - 1, min(most, self.n_samples)).astype(np.intp)

    def thinned(self, most: int) -> Draws:
        """At most this many draws, evenly spaced, as one chain."""
        k, chosen = self.n_components, self.evenly(most)
        arrays = (self.weights, self.means, self.dispersions)
        return Draws(*(array.reshape(1, -1, k)[:, chosen] for array in arrays))

    def single(self, number: int) -> Draws:
        """One draw, counted over all chains one after another."""
        chain, draw = divmod(number, self.means.shape[1])
        arrays = (self.weights, self.means, self.dispersions)
        return Draws(*(array[chain : chain + 1, draw : draw + 1] for array in arrays))

    def log_prior(self, spec: MixtureSpec) -> Floats:
        """Log prior density in (weights, log means, log dispersions), (n_chains, n_draws)."""
        with np.errstate(divide="ignore"):
            return np.asarray(
                spec.weights.log_density(self.weights)
                + spec.log_means.log_density(np.log(self.means)).sum(-1)
                + spec.log_dispersions.log_density(np.log(self.dispersions)).sum(-1)
            )

    def log_density(self, table: CountTable) -> Floats:
        """Log density of every row under every draw, (n_chains, n_draws, n_unique)."""
        rows = draws_log_density(table, *self._flat())
        return rows.reshape(*self.means.shape[:2], -1)

    def responsibility_blocks(self, table: CountTable) -> Iterator[tuple[slice, Floats]]:
        """Responsibilities (n_samples, rows, n_components), a block of rows at a time."""
        log_weights, means, inv_disps = self._flat()
        per_row = 8 * means.size
        step = max(1, _BLOCK_BYTES // per_row)
        for first in range(0, table.values.size, step):
            rows = slice(first, first + step)
            yield rows, draws_responsibilities(table.taken(rows), log_weights, means, inv_disps)

    def _flat(self) -> tuple[Floats, Floats, Floats]:
        k = self.n_components
        with np.errstate(divide="ignore", over="ignore"):
            return (
                np.ascontiguousarray(np.log(self.weights).reshape(-1, k)),
                np.ascontiguousarray(self.means.reshape(-1, k)),
                np.ascontiguousarray((1.0 / self.dispersions).reshape(-1, k)),
            )


def pack(draws: Draws) -> Floats:
    """Log ratios of the weights to the last, log means, log dispersions, (chain, draw, 3k - 1)."""
    logs = np.log(draws.weights)
    ratios = logs[..., :-1] - logs[..., -1:]
    return np.concatenate([ratios, np.log(draws.means), np.log(draws.dispersions)], axis=-1)


def unpack(packed: Floats) -> Draws:
    """Draws of the coordinates of NUTS (chain, draw, 3k - 1), none of them 0 or infinite."""
    k = (packed.shape[-1] + 1) // 3
    logits = np.concatenate([packed[..., : k - 1], np.zeros((*packed.shape[:-1], 1))], axis=-1)
    logits -= logits.max(axis=-1, keepdims=True)
    weights = exp_in_range(logits)
    return Draws(
        weights=weights / weights.sum(axis=-1, keepdims=True),
        means=exp_in_range(packed[..., k - 1 : 2 * k - 1]),
        dispersions=exp_in_range(packed[..., 2 * k - 1 :]),
    )


def exp_in_range(logs: Floats) -> Floats:
    """Exponentials that neither underflow nor overflow."""
    return np.asarray(np.exp(np.clip(logs, -FURTHEST_LOG, FURTHEST_LOG)))


def predict_counts(draws: Draws, exposure: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """One count per draw and exposure, (n_chains, n_draws, n)."""
    shape = (*draws.means.shape[:2], exposure.size)
    edges = np.cumsum(draws.weights, axis=-1)
    uniform = rng.random(shape)
    labels = np.zeros(shape, dtype=np.int8)
    for j in range(draws.n_components - 1):
        labels += uniform > edges[..., j : j + 1]
    means = np.take_along_axis(draws.means, labels.astype(np.intp), axis=-1)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1.0 / draws.dispersions
    inv_disps = np.take_along_axis(inverse, labels.astype(np.intp), axis=-1)
    finite = np.isfinite(inv_disps)
    with np.errstate(over="ignore"):
        # The rate must be finite, because infinity times a gamma factor of 0 would be NaN.
        rate = np.minimum(means * exposure, np.finfo(np.float64).max)
        rate[finite] *= rng.standard_gamma(inv_disps[finite]) / inv_disps[finite]
    return rng.poisson(np.minimum(rate, _LARGEST_RATE))
