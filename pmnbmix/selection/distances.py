"""How far apart fitted distributions are: Kullback-Leibler and total variation."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import component_cdf, component_sf
from pmnbmix.mixture.draws import Draws

Floats = NDArray[np.float64]

# At most this many draws stand for a posterior, this many exposures for all of them, and counts are
# put in about this many bins.
_DRAWS, _EXPOSURES, _BINS = 50, 8, 400
# The last bin begins where every distribution has at most the first of these beyond, or where one
# has less than the second, which floats can hardly hold.
_TAIL, _NOTHING = 1e-9, 1e-250
# Bins are fine within the components of this many draws.
_LOOKED_AT = 3


def distances(fits: dict[str, Draws], table: CountTable | None) -> dict[str, dict[str, float]]:
    """Distances between every two of some fitted distributions of a count.

    Parameters
    ----------
    fits : dict of str to Draws
        A posterior is its predictive distribution.
    table : CountTable, optional
        Its exposures are averaged over; without it exposure is 1.

    Returns
    -------
    dict of str to dict
        "kl" (nats a count, of the second from the first) by "em, nuts" and "nuts, em", and
        "total_variation" by "em, nuts". Counts are binned if there are more than hundreds; then
        both are lower bounds, close ones unless one has masses below the smallest number.
    """
    exposures, shares = (
        (np.ones(1), np.ones(1)) if table is None else table.typical_exposures(_EXPOSURES)
    )
    fits = {name: draws.thinned(_DRAWS) for name, draws in fits.items()}
    kl: dict[str, float] = {}
    variation: dict[str, float] = {}
    for exposure, share in zip(exposures, shares, strict=True):
        edges = _edges(fits, float(exposure))
        masses = {name: _mass(draws, float(exposure), edges) for name, draws in fits.items()}
        for (one, p), (other, q) in itertools.permutations(masses.items(), 2):
            name = f"{one}, {other}"
            kl[name] = kl.get(name, 0.0) + float(share) * _kl(p, q)
        for (one, p), (other, q) in itertools.combinations(masses.items(), 2):
            name = f"{one}, {other}"
            variation[name] = variation.get(name, 0.0) + float(share) * _variation(p, q)
    return {"kl": kl, "total_variation": variation}


def _variation(p: Floats, q: Floats) -> float:
    return 0.5 * float(np.abs(p - q).sum())


def _kl(p: Floats, q: Floats) -> float:
    # A mass too small for a float is at most the smallest one, so the distance is at least this.
    tiny = np.finfo(np.float64).tiny
    held = p > 0.0
    return max(float((p[held] * np.log(p[held] / np.maximum(q[held], tiny))).sum()), 0.0)


def _tail(draws: Draws, exposure: float, at: Floats, upper: bool) -> Floats:
    """P(count > at) or P(count <= at), averaged over draws."""
    weights, means, dispersions = (
        array[0][:, None, :] for array in (draws.weights, draws.means, draws.dispersions)
    )
    with np.errstate(divide="ignore"):
        inv_disps = 1.0 / dispersions
    tail = component_sf if upper else component_cdf
    below = tail(at[None, :, None], exposure * means, inv_disps)
    return np.asarray((weights * below).sum(-1).mean(0))


def _mass(draws: Draws, exposure: float, edges: Floats) -> Floats:
    """Probability of each bin, the last one open.

    Bins of one count come first and have its density; the others the difference of two tails, of
    the kind that is smaller there.
    """
    wide = int(np.argmax(np.append(np.diff(edges) != 1.0, True)))
    masses = np.empty(edges.size)
    counts = CountTable.plain(edges[:wide], np.full(wide, exposure), np.ones(wide))
    masses[:wide] = np.exp(draws.log_density(counts)[0]).mean(axis=0)
    last = edges[wide:] - 1.0
    below = np.append(_tail(draws, exposure, last, upper=False), 1.0)
    beyond = np.append(_tail(draws, exposure, last, upper=True), 0.0)
    masses[wide:] = np.where(below[1:] < 0.5, np.diff(below), -np.diff(beyond))
    return np.maximum(masses, 0.0)


def _edges(fits: dict[str, Draws], exposure: float) -> Floats:
    """Edges of bins that reach far into every tail: one count each as long as there is room."""

    def beyond(place: float) -> Floats:
        at = np.array([place])
        return np.array([_tail(one, exposure, at, upper=True)[0] for one in fits.values()])

    low, high = 0.0, 8.0
    while high < 1e15 and beyond(high).max() > _TAIL and beyond(high).min() > _NOTHING:
        low, high = high, 2.0 * high
    # If a distribution ends in between, the edge moves back to where it still has some mass.
    while beyond(high).min() <= _NOTHING and high - low > max(1.0, 1e-6 * high):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle).min() > _NOTHING else (low, middle)
    high = np.floor(low if beyond(high).min() <= _NOTHING else high)
    singles = np.arange(0.0, min(high, _BINS / 2) + 1.0)
    if high <= singles[-1]:
        return singles
    wide = np.geomspace(singles[-1] + 1.0, high + 1.0, _BINS - singles.size)
    places = np.concatenate([wide, *(_around_components(one, exposure) for one in fits.values())])
    places = np.round(places[(places > singles[-1]) & (places <= high + 1.0)])
    return np.unique(np.concatenate([singles, places]))


def _around_components(draws: Draws, exposure: float) -> Floats:
    """Places in every component of a few draws, finer than it is wide."""
    few = draws.thinned(_LOOKED_AT)
    means = exposure * few.means.ravel()
    sds = np.sqrt(means + few.dispersions.ravel() * means**2)
    return np.asarray((means[:, None] + sds[:, None] * np.linspace(-5.0, 5.0, 31)).ravel())
