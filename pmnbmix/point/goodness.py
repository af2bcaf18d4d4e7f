"""Whether a fitted mixture describes the counts at all: a parametric bootstrap of their ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.density import component_cdf
from pmnbmix.mixture.levels import levels_of
from pmnbmix.mixture.params import MixtureParams, cdf_jump
from pmnbmix.point.fit import fit_em
from pmnbmix.point.optima import Status
from pmnbmix.point.replicates import check_n_boot, check_n_jobs, collect, draw_again
from pmnbmix.point.resample import redraw_rows, refit
from pmnbmix.point.result import PointFit
from pmnbmix.point.uncertainty import rivals_of
from pmnbmix.seeds import entropy_of, stream

Floats = NDArray[np.float64]

# Points of the unit interval at which distribution functions are compared.
_GRID = 100


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    """A test of the fit itself.

    Attributes
    ----------
    statistic : float
        Cramer-von Mises distance, times n, of the probability integral transform from uniform.
    null_statistics : ndarray, shape (n_boot,)
        The same of counts drawn from the fit and fitted again.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> fit = nb.fit_em(nb.load_dataset("crab_satellites"), 1, random_seed=1)
    >>> test = nb.goodness_of_fit(fit, n_boot=20, random_seed=1, n_jobs=1, progressbar=False)
    >>> round(test.statistic, 2), float(test.null_statistics.max().round(2))
    (0.44, 0.1)
    >>> round(test.p_value, 2)  # no counts drawn from the fit are as far from it
    0.05
    """

    statistic: float
    null_statistics: Floats = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"GoodnessOfFit(statistic={self.statistic:.4g}, p_value={self.p_value:.3g}, "
            f"replicates={self.null_statistics.size})"
        )

    @property
    def p_value(self) -> float:
        """Share of distances at least as large, the observed one among them."""
        larger = int((self.null_statistics >= self.statistic).sum())
        return (1 + larger) / (1 + self.null_statistics.size)


def goodness_of_fit(
    fit: PointFit,
    *,
    n_boot: int = 199,
    random_seed: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    progressbar: bool = True,
) -> GoodnessOfFit:
    """Test whether counts like these would come from the fitted mixture.

    The distance of the counts from the fit is compared with those of counts drawn from the fit,
    each fitted again, so that it counts how much a fit adapts to its data.

    Parameters
    ----------
    fit : PointFit
        From `fit_em`.
    n_boot : int
        Number of replicates.
    random_seed : int or numpy.random.Generator, optional
        The result does not depend on ``n_jobs``.
    n_jobs : int, optional
        Processes; all cores where absent and the work is worth starting them.
    progressbar : bool

    Returns
    -------
    GoodnessOfFit

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, a fit by `fit_map`, and counts too many to
        be drawn again.

    References
    ----------
    .. [1] C. Czado, T. Gneiting, L. Held (2009), Predictive model assessment for count data,
       Biometrics 65, 1254-1261, https://doi.org/10.1111/j.1541-0420.2009.01191.x

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> for k in (1, 2):
    ...     fit = nb.fit_em(counts, k, random_seed=1)
    ...     test = nb.goodness_of_fit(fit, n_boot=20, random_seed=1, n_jobs=1, progressbar=False)
    ...     print(k, round(test.p_value, 2))
    1 0.05
    2 0.19
    """
    if not isinstance(fit, PointFit):
        raise TypeError(f"fit must be a PointFit, as fit_em returns; got {type(fit).__name__}.")
    if fit.method != "em":
        raise ValueError(
            f"fit must be a maximum likelihood fit, as fit_em returns; got one by {fit.method!r}. "
            "What a prior does to the distance is not known."
        )
    check_n_boot(n_boot)
    check_n_jobs(n_jobs)
    entropy, counts, k = entropy_of(random_seed), fit.counts, fit.n_components
    params = fit.params
    if not fit.is_plain:
        statistic, replicate_at = _of_regression(fit)
        done = collect(
            lambda index: replicate_at(stream(entropy, index)),
            range(n_boot),
            n_jobs,
            progressbar,
            "goodness of fit",
        )
        return _result(statistic, done)

    def replicate(index: int) -> float:
        rng = stream(entropy, index)
        again = draw_again(counts, params, rng)
        refitted = fit_em(again, k, mixing=fit.mixing, start=params, random_seed=rng)
        if Status.INTERRUPTED in refitted.statuses:
            raise KeyboardInterrupt
        return distance_from_uniform(refitted.params, again.table)

    statistic = distance_from_uniform(params, counts.table)
    done = collect(replicate, range(n_boot), n_jobs, progressbar, "goodness of fit")
    return _result(statistic, done)


def _result(statistic: float, done: list[float]) -> GoodnessOfFit:
    if len(done) < 2:
        raise KeyboardInterrupt
    return GoodnessOfFit(statistic, np.array(done))


def _of_regression(fit: PointFit) -> tuple[float, Callable[[np.random.Generator], float]]:
    """The distance of a mixture of regressions, and a function that gives that of a replicate."""
    objective, points = fit._objective, [one.point for one in rivals_of(fit._optima)]

    def distance(table: CountTable, point: Floats) -> float:
        levels = levels_of(objective.terms, point)
        means, inv_disps, log_weights = (
            array[table.level] if len(array) > 1 else array
            for array in (levels.means, levels.inv_disps, levels.log_weights)
        )
        rate = table.exposure[:, None] * means
        lower, upper = (
            (component_cdf(values[:, None], rate, inv_disps) * np.exp(log_weights)).sum(axis=1)
            for values in (table.values - 1.0, table.values)
        )
        return _from_jumps(lower, upper, table)

    def replicate(rng: np.random.Generator) -> float:
        table = redraw_rows(objective, points[0], rng)
        return distance(table, refit(objective, points, table))

    return distance(objective.table, points[0]), replicate


def distance_from_uniform(params: MixtureParams, table: CountTable) -> float:
    """Cramer-von Mises distance of the mean probability integral transform from uniform, times n.

    The transform of a count spreads evenly over the jump of the distribution function at it, so
    that nothing is drawn at random.
    """
    return _from_jumps(*cdf_jump(params, table), table)


def _from_jumps(lower: Floats, upper: Floats, table: CountTable) -> float:
    grid = (np.arange(_GRID) + 0.5) / _GRID
    width = np.maximum(upper - lower, np.finfo(np.float64).tiny)
    share = np.clip((grid[:, None] - lower) / width, 0.0, 1.0) @ table.frequency / table.n
    return float(table.n * ((share - grid) ** 2).mean())
