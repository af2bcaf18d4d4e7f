"""Counts drawn from the prior and from the posterior, and the log prior of each draw."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws, exp_in_range, predict_counts
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.tree.reading import DIMS
from pmnbmix.tree.writing import STORED_BYTES, coordinates

Floats = NDArray[np.float64]

_PRIOR_DRAWS = 1000
# At most so many single counts are predicted, from as many evenly spaced draws as that allows. If
# it allows fewer draws per chain than the least, a table of how often each value came up is kept
# instead.
_PREDICTED = {"prior_predictive": 250_000, "posterior_predictive": 1_000_000}
_LEAST_DRAWS = 25
# So many are predicted at once.
_AT_ONCE = 2_000_000


def log_prior(draws: Draws, spec: MixtureSpec) -> xr.Dataset:
    """Log prior density of each draw in (weights, log means, log dispersions).

    Returns
    -------
    Dataset
        ``weights`` (chain, draw); ``means``, ``dispersions`` (chain, draw, mixture_component).
    """
    return xr.Dataset(
        {
            "weights": (DIMS[:2], spec.weights.log_density(draws.weights)),
            "means": (DIMS, spec.log_means.log_density(np.log(draws.means))),
            "dispersions": (DIMS, spec.log_dispersions.log_density(np.log(draws.dispersions))),
        },
        coords=coordinates(draws),
    )


def prior_draws(spec: MixtureSpec, n: int, rng: np.random.Generator) -> Draws:
    """Draw parameters from the resolved priors, one chain of ``n``."""
    k = spec.n_components
    shape = (1, n, k)
    return Draws(
        weights=rng.dirichlet(np.full(k, spec.weights.concentration), size=(1, n)),
        # A wide prior reaches beyond the largest float, so exponentials are kept in range.
        means=exp_in_range(rng.normal(float(spec.log_means.loc), spec.log_means.scale, shape)),
        dispersions=exp_in_range(
            rng.normal(float(spec.log_dispersions.loc), spec.log_dispersions.scale, shape)
        ),
    )


def predictive_groups(
    counts: Counts, spec: MixtureSpec, draws: Draws, rng: np.random.Generator
) -> dict[str, xr.Dataset]:
    """Make the groups prior, prior_predictive and posterior_predictive, the last two of some draws.

    Predictions of many observations are kept as a table instead, ``posterior_predictive_table``. It
    says how often each value came up in the predicted data set of each draw; its last value stands
    for itself and all above.
    """
    prior = prior_draws(spec, _PRIOR_DRAWS, rng)
    # The components of the prior are numbered by their means, like those of the posterior, so that
    # the two can be compared.
    labelled = prior.permuted(np.argsort(prior.means, axis=-1, kind="stable"))
    groups = {
        "prior": xr.Dataset(
            {
                name: (("chain", "draw", "mixture_component"), getattr(labelled, name))
                for name in PARAMETERS
            },
            coords={
                "chain": [0],
                "draw": np.arange(_PRIOR_DRAWS),
                "mixture_component": np.arange(spec.n_components),
            },
            attrs={"labels": "components of each draw sorted by mean"},
        )
    }
    inverse = counts.expanded_inverse() if 8 * counts.n <= STORED_BYTES else None
    for name, source in (("prior_predictive", prior), ("posterior_predictive", draws)):
        room = int(_PREDICTED[name] // (counts.n * source.means.shape[0]))
        if name == "prior_predictive" and 8 * counts.n * _LEAST_DRAWS <= STORED_BYTES:
            # No table stands in for the prior's predictions, so the least is predicted anyway.
            room = max(room, _LEAST_DRAWS)
        if inverse is not None and room >= _LEAST_DRAWS:
            source, chosen = _evenly(source, room)
            exposure = counts.table.exposure[inverse]
            groups[name] = xr.Dataset(
                {
                    counts.variable: (
                        ("chain", "draw", "obs"),
                        _predicted(source, exposure, rng),
                    )
                },
                coords={
                    "chain": np.arange(source.means.shape[0]),
                    "draw": chosen,
                    "obs": np.arange(counts.n),
                },
            )
        elif name == "posterior_predictive":
            groups["posterior_predictive_table"] = _tabulated(counts, source, rng)
    return groups


def _predicted(
    draws: Draws, exposure: Floats, rng: np.random.Generator
) -> NDArray[np.signedinteger]:
    """One count per draw and exposure; a draw at a time if all of them would take much memory."""
    if draws.n_samples * exposure.size <= _AT_ONCE:
        return _narrow(predict_counts(draws, exposure, rng))
    rows = [
        _narrow(predict_counts(draws.single(i), exposure, rng)[0, 0])
        for i in range(draws.n_samples)
    ]
    return np.array(rows).reshape(*draws.means.shape[:2], -1)


def _narrow(counts: NDArray[np.int64]) -> NDArray[np.signedinteger]:
    """Return the same counts in the smallest type that holds them."""
    largest = int(counts.max(initial=0))
    fitting = next(t for t in (np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max)
    return counts.astype(fitting)


def _evenly(draws: Draws, most: int) -> tuple[Draws, NDArray[np.intp]]:
    """Choose at most so many draws of each chain, evenly spaced; return also their numbers."""
    n_draws = draws.means.shape[1]
    chosen = np.linspace(0, n_draws - 1, min(most, n_draws)).astype(np.intp)
    return Draws(*(getattr(draws, name)[:, chosen] for name in PARAMETERS)), chosen


def _tabulated(counts: Counts, draws: Draws, rng: np.random.Generator) -> xr.Dataset:
    """Count how often each value is predicted in the data set of each draw.

    If there is one exposure, or a few that many observations share, the frequencies are drawn from
    multinomials; otherwise counts are drawn one by one. As many evenly spaced draws of each chain
    are used as the limits on memory and time allow.
    """
    n_chains, n_draws, _ = draws.means.shape
    table = counts.table
    largest = int(min(2 * table.values.max() + 10, 10_000))
    # The densities of all values take as much memory again as their frequencies.
    room = int(np.clip(STORED_BYTES // (16 * n_chains * (largest + 1)), 5, n_draws))
    exposures, which = np.unique(table.exposure, return_inverse=True)
    cells = exposures.size * (largest + 1)
    if exposures.size == 1 or cells <= counts.n:
        if exposures.size > 1:
            room = int(np.clip(_PREDICTED["posterior_predictive"] // (cells * n_chains), 5, room))
        few, chosen = _evenly(draws, room)
        values = np.arange(largest, dtype=np.float64)
        times = np.zeros((n_chains, chosen.size, largest + 1), dtype=np.int64)
        sharing = np.bincount(which, table.frequency).astype(np.int64)
        for exposure, n in zip(exposures, sharing, strict=True):
            every = CountTable.plain(values, np.full(largest, exposure), np.ones(largest))
            density = np.exp(few.log_density(every))
            above = np.maximum(1.0 - density.sum(-1, keepdims=True), 0.0)
            share = np.concatenate([density, above], axis=-1)
            times += rng.multinomial(n, share / share.sum(-1, keepdims=True))
    else:
        kept = int(np.clip(_PREDICTED["posterior_predictive"] // (counts.n * n_chains), 5, room))
        chosen = np.linspace(0, n_draws - 1, kept).astype(np.intp)
        exposure = np.repeat(table.exposure, table.frequency.astype(np.int64))
        times = np.empty((n_chains, kept, largest + 1), dtype=np.int64)
        for chain, i in np.ndindex(n_chains, kept):
            one = draws.single(chain * n_draws + chosen[i])
            predicted = predict_counts(one, exposure, rng)[0, 0]
            times[chain, i] = np.bincount(np.minimum(predicted, largest), minlength=largest + 1)
    return xr.Dataset(
        {"times": (("chain", "draw", "value"), times)},
        coords={"chain": np.arange(n_chains), "draw": chosen, "value": np.arange(largest + 1)},
        attrs={"of": counts.variable},
    )
