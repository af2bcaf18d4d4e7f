"""Leave-one-out cross-validation, exact on repeated rows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.labels.diagnose import Diagnosis
from pmnbmix.labels.gates import Gates, judge
from pmnbmix.mixture.row_density import RowDensity
from pmnbmix.selection.loo_terms import Terms, terms_of
from pmnbmix.tree.reading import Reading, read

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

# The elpd and Pareto k of all observations may take this many bytes.
LARGEST_RESULT = 1_000_000_000


def loo(tree: xr.DataTree, reff: float | None = None, diagnosis: Diagnosis | None = None) -> Any:
    """Estimate the expected log predictive density by Pareto-smoothed importance sampling.

    Identical rows have identical log densities, so their terms are computed once and counted as
    often as they were seen; the result is that of `arviz.loo` on all observations.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns.
    reff : float, optional
        Relative efficiency of the draws, effective over actual. By default from the ESS of the
        density of the rows, which no permutation of labels changes (ArviZ takes it from the
        parameters, which one does).
    diagnosis : Diagnosis, optional
        That of the same tree, if it has been made already; else its gate is judged here.

    Returns
    -------
    arviz_stats.ELPDData
        With one value per observation, as ``arviz.compare`` and ArviZ's plots need it. ``warning``
        is set if a Pareto k is above ``good_k`` (inf if ArviZ finds no tail to fit, as with a stuck
        chain) or the density gate fails; the latter also raises a UserWarning, unless the
        diagnosis was passed and so is known. If log densities of all rows would take more than 100
        MB, as with a distinct exposure for each of thousands of rows, terms are interpolated in log
        exposure [3]_, and ``elpd_i.attrs["interpolation_error"]`` is the root mean square error of
        a term in nats, measured on 64 rows.

    Raises
    ------
    ValueError
        If the tree does not say what its rows are, ``reff`` is not above 0, or the
        observations are so many that one value for each would take more than 1 GB.

    References
    ----------
    .. [1] A. Vehtari, A. Gelman, J. Gabry (2017), Practical Bayesian model evaluation using
       leave-one-out cross-validation and WAIC, Stat. Comput. 27, 1413-1432,
       https://doi.org/10.1007/s11222-016-9696-4
    .. [2] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry (2024), Pareto smoothed importance
       sampling, J. Mach. Learn. Res. 25(72), 1-58, https://jmlr.org/papers/v25/19-556.html
    .. [3] J.-P. Berrut, L. N. Trefethen (2004), Barycentric Lagrange interpolation, SIAM Rev. 46,
       501-517, https://doi.org/10.1137/S0036144502417715

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> elpd = nb.loo(tree)
    >>> round(elpd.elpd), round(elpd.se), elpd.warning
    (-372, 14, False)
    """
    if diagnosis is not None and not hasattr(diagnosis, "density_ok"):
        raise TypeError(f"diagnosis must be what diagnose returns; got {diagnosis!r}.")
    number = isinstance(reff, int | float | np.floating)
    if reff is not None and not (number and 0.0 < reff < np.inf):
        raise ValueError(
            f"reff must be a number above 0; got {reff!r}. Leave it out to have it computed."
        )
    reading = read(tree)
    verdict = diagnosis or judge(reading.density, reading.draws)
    elpd = loo_of_reading(reading, verdict.density_ok, reff)
    if isinstance(verdict, Gates) and not verdict.density_ok:
        warnings.warn(f"LOO of a posterior that failed its gate. {verdict.sentence}", stacklevel=2)
    return elpd


def loo_of_reading(
    reading: Reading, density_ok: bool, reff: float | None = None, terms: Terms | None = None
) -> Any:
    """`loo`, of a tree that has been read and whose density gate and perhaps terms are known."""
    if terms is None:
        terms = terms_of_reading(reading, reff)
    row, n_samples = reading.row_of_observation, reading.draws.n_samples
    return _expanded(terms, row, n_samples, reading.variable, doubtful=not density_ok)


def terms_of_reading(reading: Reading, reff: float | None = None) -> Terms:
    """Terms of the unique rows of a tree that has been read."""
    density = reading.density
    refuse_too_many(reading.table.n)
    if reff is None:
        rows, judged = density.judged
        reff = relative_efficiency(rows, judged.frequency)
    return terms_of(density, reff, _good_k(density.draws.n_samples))


def refuse_too_many(n: float) -> None:
    """Raise a ValueError if the result for so many observations would be too large."""
    if 16.0 * n > LARGEST_RESULT:
        raise ValueError(
            f"ArviZ's result has two numbers for each of {n:.3g} observations, {16e-9 * n:.0f} GB; "
            f"at most {LARGEST_RESULT / 1e9:.0f} GB are made. Fit a random sample of the counts."
        )


def elpd_of(
    density: RowDensity, row_of_obs: NDArray[np.int64], reff: float, name: str, doubtful: bool
) -> Any:
    """PSIS-LOO of unique rows, expanded to observations.

    Parameters
    ----------
    density : RowDensity
        If it is made at nodes, so are the terms; their error is measured on some rows, and it is an
        attribute of ``elpd_i``.
    row_of_obs : ndarray of int, shape (n,)
    reff : float
        Effective over actual draws.
    name : str
        Of the counts.
    doubtful : bool
        Whether to flag the result whatever its Pareto k.

    Returns
    -------
    arviz_stats.ELPDData
    """
    n_samples = density.draws.n_samples
    terms = terms_of(density, reff, _good_k(n_samples))
    return _expanded(terms, row_of_obs, n_samples, name, doubtful)


def _good_k(n_samples: int) -> float:
    """Pareto k above which a term is not trusted."""
    return float(min(1.0 - 1.0 / np.log10(n_samples), 0.7))


def _expanded(
    terms: Terms, row_of_obs: NDArray[np.int64], n_samples: int, name: str, doubtful: bool
) -> Any:
    """Terms of unique rows as ArviZ's result, with one for each observation."""
    import xarray as xr
    from arviz_stats.utils import ELPDDataLOO

    n, good_k = row_of_obs.size, _good_k(n_samples)
    frequency = np.bincount(row_of_obs, minlength=terms.elpd.size).astype(np.float64)
    total, elpd_i = float(frequency @ terms.elpd), terms.elpd[row_of_obs]
    obs = {"obs": np.arange(n)}
    exact = {} if terms.error is None else {"interpolation_error": terms.error}
    return ELPDDataLOO(
        elpd=total,
        se=float(np.sqrt(n) * elpd_i.std(ddof=1)) if n > 1 else 0.0,
        p=float(frequency @ terms.lpd) - total,
        n_samples=n_samples,
        n_data_points=n,
        scale="log",
        warning=bool((~(terms.pareto_k <= good_k)).any() or doubtful),
        good_k=good_k,
        elpd_i=xr.DataArray(elpd_i, dims="obs", coords=obs, name=name, attrs=exact),
        pareto_k=xr.DataArray(terms.pareto_k[row_of_obs], dims="obs", coords=obs, name=name),
    )


def relative_efficiency(log_density: Floats, frequency: Floats) -> float:
    """Mean over observations of ESS over number of draws, for the density of each row.

    Parameters
    ----------
    log_density : ndarray, shape (chain, draw, n_unique)
    frequency : ndarray, shape (n_unique,)

    Returns
    -------
    float
        1 for a single chain, as in ArviZ.
    """
    import arviz as az
    import xarray as xr

    n_chains, n_draws, _ = log_density.shape
    if n_chains == 1:
        return 1.0
    scaled = np.exp(log_density - log_density.max(axis=(0, 1)))
    changing = (scaled != scaled[:1, :1]).any(axis=(0, 1))
    efficiency = np.ones(frequency.size)
    if changing.any():
        data = xr.Dataset({"density": (("chain", "draw", "row"), scaled[:, :, changing])})
        ess = az.ess(data, method="mean")["density"].values
        efficiency[changing] = ess / (n_chains * n_draws)
    return float(frequency @ efficiency / frequency.sum())


def mcse_of_log_mean(log_density: Floats) -> float:
    """Monte Carlo standard error of the log of a mean density over draws, in nats.

    Parameters
    ----------
    log_density : ndarray, shape (chain, draw)

    Returns
    -------
    float
        By the delta method, with the effective sample size of the densities.
    """
    import arviz as az
    import xarray as xr

    density = np.exp(log_density - log_density.max())
    if density.std() == 0.0:
        return 0.0
    data = xr.Dataset({"density": (("chain", "draw"), density)})
    return float(az.mcse(data, method="mean")["density"]) / float(density.mean())
