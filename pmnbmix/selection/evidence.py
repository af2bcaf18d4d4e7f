"""Log evidence of a mixture by bridge sampling, with a proposal averaged over all labellings."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import FURTHEST_LOG, Draws, pack, unpack
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.seeds import as_rng
from pmnbmix.tree.reading import read

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# All permutations are averaged over, which are 720 for 6 components and 5,040 for 7.
MOST_COMPONENTS = 6
# The proposal has this many degrees of freedom, so that its tails are mostly heavier than those of
# the posterior, as bridging needs.
_FREEDOM = 5
_MAX_ITER = 1000
# Chains must be so long that half of one has an effective sample size.
_LEAST_PER_CHAIN = 8
_STUCK = (
    "chains are stuck, or have hardly moved. diagnose() says which; sample again, longer, before "
    "the evidence is asked for."
)


@dataclass(frozen=True)
class Evidence:
    """Log of the probability of the counts under the model and its priors.

    Attributes
    ----------
    log_evidence : float
        In nats.
    mcse : float
        Monte Carlo standard error, in nats; it leaves out what the proposal may have missed.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> evidence = nb.log_evidence(tree, random_seed=1)
    >>> round(evidence.log_evidence), round(evidence.mcse, 1)
    (-377, 0.0)
    """

    log_evidence: float
    mcse: float


def log_evidence(
    tree: xr.DataTree, *, random_seed: int | np.random.Generator | None = None
) -> Evidence:
    """Estimate the log evidence from the draws of a posterior.

    Each half of the draws is fitted by a multivariate t, averaged over all permutations of its
    components as the posterior is, and bridged to the other half; the two results are averaged.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns, relabelled: it says what its priors were.
    random_seed : int or numpy.random.Generator, optional

    Returns
    -------
    Evidence
        The evidence depends on the priors as much as on the counts.

    Raises
    ------
    TypeError, ValueError
        If the tree lacks its priors, has more than 6 components, fewer than 100 draws or 8 a
        chain, draws at the end of what floats can hold, or chains that are stuck.

    References
    ----------
    .. [1] X.-L. Meng, W. H. Wong (1996), Simulating ratios of normalizing constants via a simple
       identity, Stat. Sin. 6, 831-860
    .. [2] S. Frühwirth-Schnatter (2004), Estimating marginal likelihoods for mixture and Markov
       switching models using bridge sampling techniques, Econom. J. 7, 143-167,
       https://doi.org/10.1111/j.1368-423X.2004.00125.x

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> one = nb.sample(counts, nb.MixtureSpec(1), random_seed=1, progressbar=False)
    >>> of_one, of_two = (nb.log_evidence(each, random_seed=1) for each in (one, tree))
    >>> round(of_two.log_evidence - of_one.log_evidence)  # log Bayes factor for two
    12
    """
    reading = read(tree)
    draws, table, spec = reading.draws, reading.table, reading.spec
    if spec is None:
        raise ValueError(
            "the tree does not say what its priors were, so there is no evidence to compute. Pass "
            "what sample() returned."
        )
    if not spec.is_proper:
        raise ValueError(
            "the attribute 'spec' of the tree has a flat prior (scale = inf), under which there is "
            "no evidence. Sample under proper priors."
        )
    k = draws.n_components
    if k > MOST_COMPONENTS:
        raise ValueError(
            f"the posterior has {k} components; the evidence averages over all permutations of at "
            f"most {MOST_COMPONENTS}. Compare by loo()."
        )
    if draws.n_samples < 100:
        raise ValueError(f"there are {draws.n_samples} draws; at least 100 are needed.")
    if draws.means.shape[1] < _LEAST_PER_CHAIN:
        raise ValueError(
            f"chains have {draws.means.shape[1]} draws; at least {_LEAST_PER_CHAIN} are needed. "
            "Sample more."
        )
    rng = as_rng(random_seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        points = pack(draws)
    _refuse_beyond(draws, points)
    half = points.shape[1] // 2
    parts = [points[:, :half], points[:, half : 2 * half]]
    found = [_bridge(parts[i], parts[1 - i], table, spec, rng) for i in (0, 1)]
    value = float(np.mean([one for one, _ in found]))
    # The two use the same draws in exchanged roles, so averaging them does not lower the error.
    error = float(np.mean([error for _, error in found]))
    if not (math.isfinite(value) and math.isfinite(error)):
        raise ValueError(f"the evidence comes out as {value}: {_STUCK}")
    return Evidence(value, error)


def _refuse_beyond(draws: Draws, points: Floats) -> None:
    """Raise a ValueError if draws have run to the largest numbers, where they were stopped."""
    # The limit is a little less than where draws are stopped, as ratios of weights are rounded.
    bad = np.argwhere(~(np.abs(points) < FURTHEST_LOG - 1.0))
    if len(bad):
        chain, draw, place = bad[0]
        k = draws.n_components
        name = PARAMETERS[0 if place < k - 1 else 1 if place < 2 * k - 1 else 2]
        raise ValueError(
            f"{name} of chain {chain}, draw {draw} are {getattr(draws, name)[chain, draw]}, at the "
            "end of what floats can hold, beyond which draws cannot be told apart; so the evidence "
            "cannot be. Sample with a Dirichlet concentration of 0.1 or above and priors of scale "
            "10 or below."
        )


def _bridge(
    fitted: Floats, bridged: Floats, table: CountTable, spec: MixtureSpec, rng: np.random.Generator
) -> tuple[float, float]:
    """Log evidence and its error, proposal fitted to one set of draws and bridged to another."""
    import arviz as az
    import xarray as xr

    d = fitted.shape[-1]
    flat = fitted.reshape(-1, d)
    shape = np.cov(flat.T).reshape(d, d) * (_FREEDOM - 2.0) / _FREEDOM
    try:
        proposal = stats.multivariate_t(flat.mean(axis=0), shape, df=_FREEDOM)
    # A LinAlgError, which is a ValueError, means that the draws lie in a plane or in one point.
    except ValueError:
        raise ValueError(
            f"the draws do not spread in all {d} directions of the parameters: {_STUCK}"
        ) from None
    ours = bridged.reshape(-1, d)
    proposed = proposal.rvs(len(ours), random_state=rng)
    # Bridging needs the log of posterior over proposal at the draws of either.
    ratio_ours = log_joint(ours, table, spec) - _log_proposal(ours, proposal)
    ratio_proposed = log_joint(proposed, table, spec) - _log_proposal(proposed, proposal)
    ess = az.ess(xr.Dataset({"ratio": (("chain", "draw"), ratio_ours.reshape(bridged.shape[:2]))}))[
        "ratio"
    ]
    n_ours, n_proposed = min(float(ess), len(ours)), float(len(proposed))
    share = math.log(n_ours / (n_ours + n_proposed)), math.log(n_proposed / (n_ours + n_proposed))
    estimate = float(np.median(ratio_ours))
    for _ in range(_MAX_ITER):
        above = ratio_proposed - np.logaddexp(share[0] + ratio_proposed, share[1] + estimate)
        below = -np.logaddexp(share[0] + ratio_ours, share[1] + estimate)
        new = float(
            logsumexp(above) - math.log(above.size) - logsumexp(below) + math.log(below.size)
        )
        if abs(new - estimate) < 1e-10 * max(1.0, abs(new)):
            break
        estimate = new
    first = np.exp(above - above.max())
    second = np.exp(below - below.max())
    error = (
        first.var() / first.mean() ** 2 / n_proposed + second.var() / second.mean() ** 2 / n_ours
    )
    return new, float(np.sqrt(error))


def log_joint(points: Floats, table: CountTable, spec: MixtureSpec) -> Floats:
    """Log likelihood plus log prior density in (log ratios of weights, log means, log dispersions).

    ``points`` is (n, 3k - 1); the density is normalised in these coordinates.
    """
    draws = unpack(points[None])
    jacobian = np.log(draws.weights).sum(-1)
    likelihood = draws.log_density(table) @ table.frequency
    log_density = (likelihood + draws.log_prior(spec) + jacobian)[0]
    # Where `unpack` stops draws the density would not fall any more, so it ends there.
    return np.where((np.abs(points) < FURTHEST_LOG).all(axis=-1), log_density, -np.inf)


def _log_proposal(points: Floats, proposal: Any) -> Floats:
    """Log density of the proposal, averaged over the permutations of the components."""
    draws = unpack(points[None])
    orders = list(itertools.permutations(range(draws.n_components)))
    terms = [
        proposal.logpdf(pack(draws.permuted(np.broadcast_to(order, draws.means.shape)))[0])
        for order in orders
    ]
    return np.asarray(logsumexp(terms, axis=0) - math.log(len(orders)))
