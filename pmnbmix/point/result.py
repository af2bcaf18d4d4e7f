"""A point estimate and everything that can be asked of it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.data.checks import fraction, one_of
from pmnbmix.data.counts import Counts
from pmnbmix.mixture.coefficients import Coefficients
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.answers import Answers
from pmnbmix.point.as_json import read_fit, write_fit
from pmnbmix.point.as_table import optima_table, parameter_table
from pmnbmix.point.coefficient_errors import coefficient_table
from pmnbmix.point.coefficient_profile import profile_table
from pmnbmix.point.found import Search, Squashing
from pmnbmix.point.objective import Objective, unpack_point
from pmnbmix.point.optima import Optimum, Status
from pmnbmix.point.printed import Printed
from pmnbmix.point.profile import Profile, profile
from pmnbmix.point.uncertainty import Wald, rivals_of, wald, with_doubts, with_rivals

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pmnbmix.point.resample import Bootstrap

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PointFit(Answers, Printed):
    """A point estimate and what was found on the way to it.

    Attributes
    ----------
    method : {"em", "map"}
    params : MixtureParams
        Components sorted by mean, then weight; in a mixture of regressions at the centre of the
        covariates, their mean over the observations.
    counts : Counts
    spec : MixtureSpec or None
        What was fitted, its priors resolved; None for maximum likelihood of the plain model.
    mixing : {"estimated", "equal"}
        "equal": weights fixed at 1 / n_components.
    log_likelihood : float
        In nats, with every constant.
    log_density : float
        Log likelihood plus log prior density of (weights, log means, log dispersions); equal to
        ``log_likelihood`` for maximum likelihood.
    log_likelihood_path, log_density_path : ndarray, shape (n_iter + 1,)
        Along the iterations that led to the estimate. The density never falls; the likelihood
        never falls for maximum likelihood.
    status : Status
        What kind of point this is; ``statuses`` has all that apply.
    squashing : Squashing or None
        Where the search ran on a squashed table, its error; None where it ran on all rows.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> nb.fit_em(nb.load_dataset("crab_satellites"), random_seed=1).write("fit.json")
    >>> fit = nb.PointFit.read("fit.json")
    >>> fit.responsibilities([0, 6]).round(2).tolist(), fit.predict([0, 6]).tolist()
    ([[0.95, 0.05], [0.0, 1.0]], [0, 1])
    >>> fit.logpmf([0, 6]).round(1), fit.quantile([0.5, 0.95]), fit.rates([6])["mean"].item()
    (array([-1. , -2.7]), array([2, 9]), 5.2...)
    >>> values, components = fit.sample(500, random_seed=1)
    >>> float(components.mean().round(1)), list(fit.to_datatree())[:2]
    (0.6, ['posterior', 'observed_data'])
    >>> again = fit.bootstrap(n_boot=20, random_seed=1, n_jobs=1).table
    >>> tables = fit.standard_errors(), fit.profile_intervals(), again
    >>> [table.loc["means[1]", ["lower", "upper"]].round(1).to_list() for table in tables]
    [[4.0, 5.4], [4.0, 5.5], [3.9, 5.7]]
    """

    method: Literal["em", "map"]
    params: MixtureParams
    counts: Counts
    spec: MixtureSpec | None
    mixing: Literal["estimated", "equal"]
    log_likelihood: float
    log_density: float
    log_likelihood_path: Floats = field(repr=False)
    log_density_path: Floats = field(repr=False)
    status: Status
    statuses: tuple[Status, ...]
    squashing: Squashing | None
    _optima: tuple[Optimum, ...] = field(repr=False)
    _objective: Objective = field(repr=False)
    _quick: Objective = field(repr=False)

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.params.n_components

    @property
    def n_iter(self) -> int:
        """Number of EM and Newton iterations that led to the estimate."""
        return self.log_density_path.size - 1

    @property
    def n_parameters(self) -> int:
        """Number of free parameters, on an edge or not."""
        design = self._objective.problem.design
        of_weights = len(design.weights.terms) * (self.n_components - 1)
        return design.size - (of_weights if self.mixing == "equal" else 0)

    @property
    def is_plain(self) -> bool:
        """Whether nothing follows covariates and every component is negative binomial."""
        return self._objective.problem.design.is_plain

    @property
    def _coefficients(self) -> Coefficients:
        problem = self._objective.problem
        return Coefficients(problem.design, problem.regressors, self._optima[0].point)

    @property
    def optima(self) -> pd.DataFrame:
        """Every distinct stationary point that the starts led to, best first.

        Returns
        -------
        pandas.DataFrame
            Columns log_likelihood, log_density (nats), times_reached (starts that ended there),
            status (the most serious), statuses (all, divided by commas), and weights, means,
            dispersions as tuples.
        """
        return optima_table(self._optima, self._objective.problem.design)

    @property
    def entropy(self) -> float:
        """Entropy of the responsibilities in nats, summed over the observations; 0 is certain."""
        table = self._objective.table
        held = self._objective.responsibilities(self._optima[0].point)
        if self.is_plain:
            held = self.params.responsibilities(table.values, table.exposure)
        return float(table.frequency @ special.entr(held).sum(axis=1))

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 log likelihood + 2 parameters; smaller is better."""
        return -2.0 * self.log_likelihood + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 log likelihood + log(n) parameters; smaller is better."""
        return -2.0 * self.log_likelihood + math.log(self.counts.n) * self.n_parameters

    @property
    def icl(self) -> float:
        """Integrated completed likelihood, BIC + 2 entropy; smaller is better.

        C. Biernacki, G. Celeux, G. Govaert 2000, IEEE Trans. Pattern Anal. Mach. Intell. 22,
        719-725, doi:10.1109/34.865189.
        """
        return self.bic + 2.0 * self.entropy

    def standard_errors(
        self, level: float = 0.95, kind: Literal["information", "sandwich"] = "information"
    ) -> pd.DataFrame:
        """Tabulate Wald standard errors and intervals, with their doubts.

        Parameters
        ----------
        level : float
            Confidence of the intervals, between 0 and 1.
        kind : {"information", "sandwich"}
            Inverse of the observed information; or sandwich, which does not rely on the model
            being right (maximum likelihood only).

        Returns
        -------
        pandas.DataFrame
            Indexed by parameter ("weights[0]", ...): estimate, se, lower, upper, flag. In a mixture
            of regressions the rows are those of ``coefficients``, with these columns. ``flag``
            says why a row is not to be used and what to use instead: where the data do not
            determine the parameter, where the interval differs from the profile interval, where
            another optimum is close. It is empty where Wald holds.

        Raises
        ------
        ValueError
            For a level outside (0, 1), another kind, or a sandwich of a MAP.
        """
        fraction(level, "level")
        one_of(kind, "kind", ("information", "sandwich"))
        if kind == "sandwich" and self.method == "map":
            raise ValueError(
                "the sandwich is for maximum likelihood: under a prior the scores of the rows are "
                'not all there is. Use kind="information", or sample().'
            )
        if not self.is_plain:
            return coefficient_table(
                self._objective, self._coefficients, self._optima, level, kind == "sandwich"
            )
        errors = self._wald(level, kind == "sandwich")
        point = self._optima[0].point
        return parameter_table(point, errors.lower, errors.upper, errors.flag, errors.se)

    def profile_intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Tabulate profile-likelihood intervals.

        Parameters
        ----------
        level : float
            Confidence, between 0 and 1.

        Returns
        -------
        pandas.DataFrame
            Indexed by parameter: estimate, lower, upper, flag. An end is 0, 1 or infinite where
            the likelihood never falls low enough on that side. Other optima within 4 nats are
            followed too. For a MAP it is the log posterior density that is profiled.

        References
        ----------
        .. [1] D. J. Venzon, S. H. Moolgavkar (1988), A method for computing profile-likelihood
           based confidence intervals, J. R. Stat. Soc. C 37, 87-94,
           https://doi.org/10.2307/2347496
        """
        fraction(level, "level")
        if not self.is_plain:
            points = [optimum.point for optimum in rivals_of(self._optima)]
            se = self.standard_errors()["se"].to_numpy()
            return profile_table(self._objective, self._coefficients, points, se, level)
        found = self._profile(level)
        flag = [list(row) for row in found.flag]
        flag = with_rivals(flag, len(rivals_of(self._optima)) - 1, found)
        return parameter_table(self._optima[0].point, found.lower, found.upper, flag)

    def bootstrap(
        self,
        *,
        n_boot: int = 199,
        kind: Literal["parametric", "nonparametric"] = "parametric",
        level: float = 0.95,
        random_seed: int | np.random.Generator | None = None,
        n_jobs: int | None = None,
        progressbar: bool = False,
    ) -> Bootstrap:
        """Refit repeated data and tabulate the scatter of the estimates.

        Each replicate is fitted from the estimate and from every other optimum within 4 nats of
        it, not from the whole pool of starts.

        Parameters
        ----------
        n_boot : int
            Number of replicates, 2 or above.
        kind : {"parametric", "nonparametric"}
            Draw counts from the fitted mixture, or rows of the data with replacement.
        level : float
            Confidence of the percentile intervals.
        random_seed : int or numpy.random.Generator, optional
            The result does not depend on ``n_jobs``.
        n_jobs : int, optional
            Processes; all cores where absent and the work is worth starting them.
        progressbar : bool

        Returns
        -------
        Bootstrap
            ``table`` of estimate, se, lower, upper and flag, and every replicate, its components
            matched to those of the fit.

        Raises
        ------
        ValueError
            For arguments out of range, for a MAP, whose uncertainty is the posterior's, and where
            the fit cannot be drawn from.
        KeyboardInterrupt
            Where interrupted before two replicates are done.

        References
        ----------
        .. [1] B. Efron, R. J. Tibshirani (1993), An Introduction to the Bootstrap,
           https://doi.org/10.1201/9780429246593
        """
        from pmnbmix.point.replicates import check_n_boot, check_n_jobs
        from pmnbmix.point.resample import (
            Bootstrap,
            bootstrap_estimates,
            edge_flags,
            replicate_table,
        )

        fraction(level, "level")
        check_n_boot(n_boot)
        one_of(kind, "kind", ("parametric", "nonparametric"))
        if self.method == "map":
            raise ValueError(
                "repeated data do not measure the uncertainty of a MAP, its posterior does: use "
                "sample(), or fit_em for the bootstrap."
            )
        check_n_jobs(n_jobs)
        points = [optimum.point for optimum in rivals_of(self._optima)]
        replicates, complete = bootstrap_estimates(
            self._objective, points, self.counts, kind, n_boot, random_seed, n_jobs, progressbar
        )
        tail = 0.5 * (1.0 - level)
        if not self.is_plain:
            estimates = self._coefficients.estimates_at(replicates)
            table = replicate_table(self._coefficients, estimates, tail)
            return Bootstrap(kind, table, estimates, complete)
        point, estimates = points[0], np.exp(replicates)
        lower, upper = np.quantile(estimates, [tail, 1.0 - tail], axis=0)
        flag = edge_flags(np.exp(point), estimates)
        table = parameter_table(point, lower, upper, flag, estimates.std(axis=0, ddof=1))
        return Bootstrap(kind, table, estimates, complete)

    def to_datatree(self) -> xr.DataTree:
        """Lay the estimate out as ``pm.find_MAP(return_inferencedata=True)`` does.

        Returns
        -------
        xarray.DataTree
            ``posterior`` with 1 chain and 1 draw of weights, means and dispersions; ``fit`` with
            ``mean_vector`` and ``covariance_matrix`` on the natural scales and the flag of each
            parameter; ``optima`` and ``optimizer_result``; ``observed_data``, every observation,
            below 100 MB.
        """
        from pmnbmix.point.as_tree import point_tree

        if not self.is_plain:
            raise ValueError(
                "a mixture of regressions has no tree yet. Use coefficients, standard_errors() "
                "and write()."
            )
        return point_tree(
            self.counts, self.method, self.mixing, self._optima, self.status, self._wald()
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the fit to a JSON file, counts included, replacing it; `read` gives it back."""
        complete = Status.INTERRUPTED not in self.statuses
        found = Search(list(self._optima), complete, self.squashing, self._quick)
        write_fit(path, self.method, self.counts, self.spec, self.mixing, found)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> PointFit:
        """Read a fit that `write` wrote; nothing in the file is run.

        Raises
        ------
        TypeError, ValueError
            Where the file is missing, is not JSON, or does not hold a whole and consistent fit;
            the text says what is wrong.
        """
        return as_fit(*read_fit(path))

    def _wald(self, level: float = 0.95, sandwich: bool = False) -> Wald:
        errors = wald(self._objective, self._optima[0].point, level, sandwich)
        rivals = len(rivals_of(self._optima)) - 1
        return with_doubts(errors, self._profile(level), rivals)

    def _profile(self, level: float) -> Profile:
        points = [optimum.point for optimum in rivals_of(self._optima)]
        return profile(self._quick, points, wald(self._objective, points[0]).spread, level)


def as_fit(
    method: Literal["em", "map"],
    counts: Counts,
    spec: MixtureSpec | None,
    mixing: Literal["estimated", "equal"],
    objective: Objective,
    found: Search,
) -> PointFit:
    """Make a fit of what a search found; ``spec`` is the resolved one of a MAP."""
    best = found.optima[0]
    # An interrupted search is the most serious of all, for nothing is known of the other starts.
    statuses = best.statuses if found.complete else (*best.statuses, Status.INTERRUPTED)
    return PointFit(
        method=method,
        params=unpack_point(objective.problem.design.at_centre(best.point)),
        counts=counts,
        spec=spec,
        mixing=mixing,
        log_likelihood=best.log_likelihood,
        log_density=best.log_density,
        log_likelihood_path=best.likelihood_path,
        log_density_path=best.density_path,
        status=best.status if found.complete else Status.INTERRUPTED,
        statuses=statuses,
        squashing=found.squashing,
        _optima=tuple(found.optima),
        _objective=objective,
        _quick=found.quick,
    )
