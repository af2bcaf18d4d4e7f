"""Counts drawn from the prior and from the posterior, and the log prior of each draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.draws import Draws, exp_in_range, predict_counts
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.posterior.frequencies import draw_counts, draw_frequencies, smallest_type
from pmnbmix.tree.reading import DIMS
from pmnbmix.tree.writing import STORED_BYTES, coordinates

Floats = NDArray[np.float64]

# Every draw predicts every observation if that is at most so many counts: of the prior, and of the
# posterior where counts are drawn one by one, which is up to the size at which the log likelihood
# of every observation is kept. Counts that share few exposures take a tenth of the time, so memory
# alone limits those.
_ONE_BY_ONE = {"prior_predictive": 5_000_000, "posterior_predictive": STORED_BYTES // 8}
# Otherwise at most so many are predicted, from as many evenly spaced draws as that allows. If it
# allows fewer draws per chain than the least, a table of how often each value came up is kept
# instead.
_FEW = {"prior_predictive": 250_000, "posterior_predictive": 1_000_000}
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
    """Make the groups prior, prior_predictive and posterior_predictive.

    They have the chains and draws of the posterior, so that a selection of these is one of all. If
    that would be too many predictions, some draws are chosen, and the groups have the dimension
    ``replicate`` instead, with chain and draw of each as coordinates. If not even those can be kept
    for every observation, they are tabulated in ``posterior_predictive_table``, which says how
    often each value came up in the predicted data set of each draw; its last value stands for
    itself and all above.
    """
    n_chains, n_draws, k = draws.means.shape
    drawn = prior_draws(spec, draws.n_samples, rng)
    prior = Draws(*(getattr(drawn, name).reshape(n_chains, n_draws, k) for name in PARAMETERS))
    # The components of the prior are numbered by their means, like those of the posterior, so that
    # the two can be compared.
    labelled = prior.permuted(np.argsort(prior.means, axis=-1, kind="stable"))
    groups = {
        "prior": xr.Dataset(
            {name: (DIMS, getattr(labelled, name)) for name in PARAMETERS},
            coords=coordinates(prior),
            attrs={"labels": "components of each draw sorted by mean"},
        )
    }
    if 8 * counts.n > STORED_BYTES:
        return groups | {"posterior_predictive_table": _tabulated(counts, draws, rng)}
    inverse = counts.expanded_inverse()
    exposure = counts.table.exposure[inverse]
    largest = _fast_up_to(counts, draws)
    for name, source in (("prior_predictive", prior), ("posterior_predictive", draws)):
        few = int(_FEW[name] // (counts.n * n_chains))
        if name == "prior_predictive" and 8 * counts.n * _LEAST_DRAWS <= STORED_BYTES:
            # No table stands in for the prior's predictions, so the least is predicted anyway.
            few = max(few, _LEAST_DRAWS)
        if name == "posterior_predictive" and largest:
            of_draws = _predicted_by_exposure(source, exposure, largest, rng)
        elif counts.n * draws.n_samples <= _ONE_BY_ONE[name]:
            of_draws = _predicted(source, exposure, rng)
        elif few >= _LEAST_DRAWS:
            groups[name] = _of_some_draws(counts, source, few, exposure, rng)
            continue
        else:
            if name == "posterior_predictive":
                groups["posterior_predictive_table"] = _tabulated(counts, source, rng)
            continue
        sample = {dim: entry for dim, entry in coordinates(draws).items() if dim in DIMS[:2]}
        groups[name] = xr.Dataset(
            {counts.variable: ((*DIMS[:2], "obs"), of_draws)},
            coords={**sample, "obs": np.arange(counts.n)},
        )
    return groups


def _fast_up_to(counts: Counts, draws: Draws) -> int:
    """Value up to which counts of each exposure are drawn at once; 0 if one by one is better."""
    largest = int(4 * counts.table.values.max() + 50)
    cells = np.unique(counts.table.exposure).size * (largest + 1)
    itemsize = smallest_type(largest).itemsize
    # Densities and frequencies of all values are held besides the counts.
    fits = draws.n_samples * max(counts.n * itemsize, 16 * (largest + 1)) <= STORED_BYTES
    return largest if fits and cells <= counts.n else 0


def _predicted_by_exposure(
    draws: Draws, exposure: Floats, largest: int, rng: np.random.Generator
) -> NDArray[np.signedinteger]:
    """One count per draw and observation, those of one exposure at once."""
    distinct, which = np.unique(exposure, return_inverse=True)
    if distinct.size == 1:
        return draw_counts(draws, float(distinct[0]), exposure.size, largest, rng)
    shape = (*draws.means.shape[:2], exposure.size)
    out = np.empty(shape, dtype=smallest_type(largest))
    for number, one in enumerate(distinct):
        columns = np.flatnonzero(which == number)
        found = draw_counts(draws, float(one), columns.size, largest, rng)
        out = out.astype(np.promote_types(out.dtype, found.dtype), copy=False)
        out[..., columns] = found
    return out


def _predicted(
    draws: Draws, exposure: Floats, rng: np.random.Generator
) -> NDArray[np.signedinteger]:
    """One count per draw and exposure, as many draws at a time as take little memory."""
    k, step = draws.n_components, max(1, _AT_ONCE // exposure.size)
    arrays = [getattr(draws, name).reshape(1, -1, k) for name in PARAMETERS]
    blocks = [
        _narrow(
            predict_counts(Draws(*(array[:, at : at + step] for array in arrays)), exposure, rng)
        )
        for at in range(0, draws.n_samples, step)
    ]
    return np.concatenate(blocks, axis=1).reshape(*draws.means.shape[:2], -1)


def _narrow(counts: NDArray[np.int64]) -> NDArray[np.signedinteger]:
    """Return the same counts in the smallest type that holds them."""
    return counts.astype(smallest_type(int(counts.max(initial=0))))


def _of_some_draws(
    counts: Counts, draws: Draws, most: int, exposure: Floats, rng: np.random.Generator
) -> xr.Dataset:
    """Predict every observation from at most so many draws of each chain."""
    few, chosen = _evenly(draws, most)
    predicted = _predicted(few, exposure, rng).reshape(-1, counts.n)
    return xr.Dataset(
        {counts.variable: (("replicate", "obs"), predicted)},
        coords={**_replicates(draws, chosen), "obs": np.arange(counts.n)},
    )


def _replicates(draws: Draws, chosen: NDArray[np.intp]) -> dict[str, Any]:
    """Coordinates of predictions that were made of some draws of each chain only."""
    chains = np.arange(draws.means.shape[0])
    return {
        "replicate": np.arange(chains.size * chosen.size),
        "replicate_chain": ("replicate", np.repeat(chains, chosen.size)),
        "replicate_draw": ("replicate", np.tile(chosen, chains.size)),
    }


def _evenly(draws: Draws, most: int) -> tuple[Draws, NDArray[np.intp]]:
    """Choose at most so many draws of each chain, evenly spaced; return also their numbers."""
    n_draws = draws.means.shape[1]
    chosen = np.linspace(0, n_draws - 1, min(most, n_draws)).astype(np.intp)
    return Draws(*(getattr(draws, name)[:, chosen] for name in PARAMETERS)), chosen


def _tabulated(counts: Counts, draws: Draws, rng: np.random.Generator) -> xr.Dataset:
    """Count how often each value is predicted in the data set of each draw.

    If there is one exposure, or a few that many observations share, the frequencies are drawn from
    multinomials; otherwise counts are drawn one by one. As many evenly spaced draws of each chain
    are used as the limits on memory and time allow; they are replicates unless they are all.
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
            room = int(np.clip(_FEW["posterior_predictive"] // (cells * n_chains), 5, room))
        few, chosen = _evenly(draws, room)
        times = np.zeros((n_chains, chosen.size, largest + 1), dtype=np.int64)
        sharing = np.bincount(which, table.frequency).astype(np.int64)
        for exposure, n in zip(exposures, sharing, strict=True):
            times += draw_frequencies(few, float(exposure), int(n), largest, rng)
    else:
        kept = int(np.clip(_FEW["posterior_predictive"] // (counts.n * n_chains), 5, room))
        chosen = np.linspace(0, n_draws - 1, kept).astype(np.intp)
        exposure = np.repeat(table.exposure, table.frequency.astype(np.int64))
        times = np.empty((n_chains, kept, largest + 1), dtype=np.int64)
        for chain, i in np.ndindex(n_chains, kept):
            one = draws.single(chain * n_draws + chosen[i])
            predicted = predict_counts(one, exposure, rng)[0, 0]
            times[chain, i] = np.bincount(np.minimum(predicted, largest), minlength=largest + 1)
    value = {"value": np.arange(largest + 1)}
    of = {"of": counts.variable}
    if chosen.size == n_draws:
        coords = {"chain": np.arange(n_chains), "draw": np.arange(n_draws), **value}
        return xr.Dataset({"times": (("chain", "draw", "value"), times)}, coords, of)
    flat = times.reshape(-1, largest + 1)
    coords = {**_replicates(draws, chosen), **value}
    return xr.Dataset({"times": (("replicate", "value"), flat)}, coords, of)
