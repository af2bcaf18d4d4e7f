"""`sample`: NUTS from the modes that matter, to a tree whose labels mean something."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np

from pmnbmix.data.checks import fraction, function, one_of, whole
from pmnbmix.data.counts import Counts
from pmnbmix.labels.gates import ESS_LIMIT
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.fit import starts_of
from pmnbmix.point.result import PointFit
from pmnbmix.posterior.attempts import Outcome, Request, make_attempt, what_is_left
from pmnbmix.posterior.checks import check_arguments
from pmnbmix.posterior.modes import find_modes
from pmnbmix.posterior.plan import make_plan
from pmnbmix.progress import Advance
from pmnbmix.seeds import as_rng
from pmnbmix.tree.writing import MixtureTree

_log = logging.getLogger(__name__)

ENGINES = ("nutpie", "pymc")


def sample(
    counts: Counts,
    spec: MixtureSpec | int,
    *,
    draws: int = 1000,
    tune: int | None = None,
    chains: int = 4,
    engine: Literal["nutpie", "pymc"] = "nutpie",
    target_accept: float | None = None,
    start: MixtureParams | PointFit | Sequence[MixtureParams | PointFit] | None = None,
    random_seed: int | np.random.Generator | None = None,
    progressbar: bool = True,
    on_draw: Advance | None = None,
) -> MixtureTree:
    """Sample the posterior of weights, means and dispersions by NUTS.

    Chains start, overdispersed, from the modes of the sampling density that hold mass (never from
    PyMC's default point, which is a saddle). Draws are relabelled by Stephens' algorithm, so that
    summaries of components mean something; the labels the sampler gave can be had back from the
    group ``relabelling``.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec or int
        Resolved against the counts if it is not yet; its priors must be proper. A number of
        components has the default priors.
    draws : int
        Draws per chain, 4 or more.
    tune : int, optional
        Tuning draws per chain. If neither it nor ``target_accept`` is given, they are 200 and 0.8
        if one mode holds 99 % of the mass and importance sampling finds its Laplace approximation
        close; chains then run in coordinates that make that approximation a standard normal.
        Otherwise they are 1000 and 0.9, in plain coordinates, and four draws are made for each that
        is kept. While a gate fails, or the draws of a component are worth less than a quarter of
        their number, chains go on from where they ended if they agree (``extensions``); if they do
        not, or more than one draw in 1,000 diverges, sampling is repeated, longer and more
        carefully (``attempts``). Either way ``draws`` are kept. Nothing of this is done if there is
        one chain or fewer than 400 draws in all, because no gate could hold. The attributes of the
        tree say what was done.
    chains : int
    engine : {"nutpie", "pymc"}
        "nutpie" samples the compiled log density; "pymc" runs `build_model` by PyMC's own sampler,
        slowly, as a check.
    target_accept : float, optional
        Between 0 and 1.
    start : MixtureParams or PointFit, or sequence of them, optional
        Further starts of the search for modes, as in `fit_em`.
    random_seed : int or numpy.random.Generator, optional
        The same seed gives the same draws.
    progressbar : bool
    on_draw : callable, optional
        Called with (done, total) draws as they come, instead of the progress bar.

    Returns
    -------
    MixtureTree
        Groups posterior, sample_stats, log_likelihood_unique (below 100 MB, if some rows were seen
        more than once), log_likelihood (below 100 MB), log_prior, prior, prior_predictive,
        posterior_predictive, observed_data, constant_data, unique_rows, modes and relabelling.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and improper priors.
    KeyboardInterrupt
        If sampling is interrupted before two chains have draws. Later, the draws that are complete
        are returned (those of the attempt before if there was one), and a warning is logged.

    References
    ----------
    .. [1] M. D. Hoffman, A. Gelman (2014), The No-U-Turn sampler, J. Mach. Learn. Res. 15,
       1593-1623, https://jmlr.org/papers/v15/hoffman14a.html

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> tree["posterior"]["weights"].mean(("chain", "draw")).values.round(1)
    array([0.4, 0.6])
    >>> diagnosis = nb.diagnose(tree)
    >>> diagnosis.density_ok, diagnosis.components_ok
    (True, True)

    These counts have two modes of nearly equal mass, so plain coordinates were taken:

    >>> tree["modes"]["matters"].values.sum(), tree.attrs["coordinate_system"]
    (np.int64(2), 'plain')
    """
    resolved = check_arguments(counts, spec)
    whole(draws, "draws", 4)
    whole(chains, "chains", 1)
    if tune is not None:
        whole(tune, "tune", 1)
    one_of(engine, "engine", ENGINES)
    if target_accept is not None:
        fraction(target_accept, "target_accept")
    function(on_draw, "on_draw")
    starts = starts_of(start, resolved.n_components)
    rng = as_rng(random_seed)
    modes = find_modes(counts, resolved, rng, starts)
    plan = make_plan(
        counts,
        resolved,
        modes,
        rng,
        exact=engine == "pymc",
        # No gate can hold for one chain or so few draws, however carefully they are made.
        once=chains == 1 or draws * chains < ESS_LIMIT,
        tune=tune,
        target_accept=target_accept,
    )
    request = Request(counts, resolved, modes, draws, chains, engine, progressbar, on_draw)
    outcome: Outcome | None = None
    while plan.attempts:
        try:
            outcome = make_attempt(request, plan, outcome, rng)
        except KeyboardInterrupt:
            if outcome is None:
                raise
            _log.warning("interrupted: what is kept is from the attempt before")
            return outcome.tree(plan, rng, repetition_interrupted=True)
        plan = what_is_left(plan, outcome)
    assert outcome is not None
    return outcome.tree(plan, rng)
