"""The maximum likelihood fit as an estimator that scikit-learn's tools understand."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pmnbmix.data.checks import as_values, refuse_other_order, whole
from pmnbmix.data.counts import Counts
from pmnbmix.estimator.protocol import Protocol, RandomState, random_seed_of
from pmnbmix.estimator.tables import (
    as_table,
    checked_exposure,
    checked_frequency,
    refuse_entries,
)
from pmnbmix.point.fit import fit_em
from pmnbmix.point.result import PointFit

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class NegativeBinomialMixture(Protocol):
    """Mixture of negative binomials by maximum likelihood, as a scikit-learn estimator.

    Parameters
    ----------
    n_components : int
        1 or above.
    mixing : {"estimated", "equal"}
        "equal" fixes the weights at 1 / n_components.
    max_iter : int
        Limit on the Newton steps from each start.
    random_state : int, numpy.random.Generator, numpy.random.RandomState, optional
        Of the starts and of `sample`.

    Attributes
    ----------
    weights_, means_, dispersions_ : ndarray, shape (n_components,)
        As in `MixtureParams`, sorted by mean; means per unit of exposure.
    log_likelihood_ : float
        Of all counts fitted, in nats.
    status_ : str
        What kind of point the estimate is; `Status` explains the word.
    converged_ : bool
        Whether the estimate is an optimum, on an edge of the parameter space or not.
    n_iter_ : int
        EM and Newton iterations that led to the estimate.
    fit_ : PointFit
        Everything else: standard errors, other optima, goodness of fit.
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of object, shape (1,)
        Name of the column, if ``X`` had one that is a string.

    Notes
    -----
    Every method takes ``X`` of shape (n, 1), one column of counts, and ``exposure`` of shape (n,)
    or one number for all rows; 1 if absent. An estimator that was fitted with exposures needs them
    in every method. Every method raises

    - TypeError for sparse matrices and for entries that are not numbers,
    - ValueError for another shape, another column name than in ``fit``, and for counts, exposures
      or frequencies that `Counts` refuses,
    - NotFittedError before ``fit``: scikit-learn's own if that is loaded.

    scikit-learn passes exposures on if metadata routing is enabled and they are requested:
    ``set_fit_request(exposure=True).set_score_request(exposure=True)``.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> truth = nb.MixtureParams([0.6, 0.4], [2.0, 30.0], [0.2, 0.1])
    >>> X = truth.sample(300, random_seed=1)[0][:, None]
    >>> mixture = nb.NegativeBinomialMixture(n_components=2, random_state=1).fit(X)
    >>> mixture.means_.round(1), mixture.status_
    (array([ 2., 30.]), 'converged')
    >>> mixture.predict([[1], [40]])
    array([0, 1])
    >>> mixture.predict_proba([[1], [40]]).round(2)
    array([[1., 0.],
           [0., 1.]])
    >>> round(mixture.score(X), 2), mixture.score_samples([[1], [40]]).round(1)
    (-3.24, array([-1.9, -4.8]))
    >>> round(mixture.aic(X)), round(mixture.bic(X)), round(mixture.icl(X))
    (1957, 1975, 1981)
    >>> labels = mixture.fit_predict(X)
    >>> values, components = mixture.sample(5)
    >>> values.shape
    (5, 1)
    """

    def __init__(
        self,
        *,
        n_components: int = 2,
        mixing: Literal["estimated", "equal"] = "estimated",
        max_iter: int = 200,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.mixing = mixing
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit by `fit_em`.

        Parameters
        ----------
        X : array_like, shape (n, 1)
            Counts: non-negative integers, or floats that are integral.
        y : object
            Ignored.
        exposure : array_like, shape (n,), or float, optional
            Exposure of each count, above 0.
        sample_weight : array_like, shape (n,), optional
            How often each row was seen, non-negative integers; 2 is the row twice, 0 never.

        Returns
        -------
        NegativeBinomialMixture
            Itself.
        """
        refuse_other_order(X, exposure, "exposure")
        refuse_other_order(X, sample_weight, "sample_weight")
        values = self._column(X)
        times = checked_frequency(sample_weight, values.size)
        scale = None
        if exposure is not None:
            scale = checked_exposure(exposure, values.size, f"X has {values.size} rows")
        name = _column_name(X)
        counts = Counts(values, scale, times, name=name or "count")
        found = fit_em(
            counts,
            self.n_components,
            mixing=self.mixing,
            max_iter=self.max_iter,
            random_seed=random_seed_of(self.random_state),
        )
        self._keep(found, 1, None if name is None else [name])
        self.weights_ = found.params.weights
        self.means_ = found.params.means
        self.dispersions_ = found.params.dispersions
        return self

    def fit_predict(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> NDArray[np.intp]:
        """Fit and return the most probable component of each count, (n,)."""
        return self.fit(X, exposure=exposure, sample_weight=sample_weight).predict(
            X, exposure=exposure
        )

    def predict(self, X: ArrayLike, *, exposure: ArrayLike | None = None) -> NDArray[np.intp]:
        """Most probable component of each count, (n,)."""
        return self._fitted().predict(*self._rows(X, exposure))

    def predict_proba(self, X: ArrayLike, *, exposure: ArrayLike | None = None) -> Floats:
        """Probability of each component given the count, (n, n_components)."""
        return self._fitted().responsibilities(*self._rows(X, exposure))

    def score_samples(self, X: ArrayLike, *, exposure: ArrayLike | None = None) -> Floats:
        """Log density of each count, (n,) in nats."""
        return self._fitted().logpmf(*self._rows(X, exposure))

    def score(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean log density of a count, in nats; ``sample_weight`` as in `fit`."""
        total, n = self._log_likelihood(X, exposure, sample_weight)
        return total / n

    def aic(
        self,
        X: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Akaike's criterion on ``X``; smaller is better."""
        total, _ = self._log_likelihood(X, exposure, sample_weight)
        return -2.0 * total + 2.0 * self.fit_.n_parameters

    def bic(
        self,
        X: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Schwarz's criterion on ``X``; smaller is better."""
        total, n = self._log_likelihood(X, exposure, sample_weight)
        return -2.0 * total + math.log(n) * self.fit_.n_parameters

    def icl(
        self,
        X: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Integrated completed likelihood on ``X``, see `PointFit.icl`; smaller is better."""
        bic = self.bic(X, exposure=exposure, sample_weight=sample_weight)
        entropy = special.entr(self.predict_proba(X, exposure=exposure)).sum(axis=1)
        times = checked_frequency(sample_weight, entropy.size)
        return bic + 2.0 * float(entropy.sum() if times is None else times @ entropy)

    def sample(
        self, n_samples: int = 1, *, exposure: ArrayLike | None = None
    ) -> tuple[Integers, Integers]:
        """Draw counts, (n_samples, 1), and their components, (n_samples,), by ``random_state``.

        Raises
        ------
        TypeError, ValueError
            If ``n_samples`` is not a whole number of 1 or above, or a mean too large for a count.
        """
        fit = self._fitted()
        n_samples = whole(n_samples, "n_samples", 1)
        if exposure is not None:
            exposure = checked_exposure(exposure, n_samples, f"n_samples is {n_samples}")
        values, labels = fit.sample(n_samples, random_seed_of(self.random_state), exposure)
        return values[:, None], labels

    def _fitted(self) -> PointFit:
        self.check_fitted()
        return self.fit_

    def _rows(self, X: ArrayLike, exposure: ArrayLike | None) -> tuple[Integers, Floats | None]:
        """Checked counts and exposures of rows to be judged by the fit."""
        self.check_fitted()
        refuse_other_order(X, exposure, "exposure")
        values = self._column(X)
        name, fitted = _column_name(X), getattr(self, "feature_names_in_", None)
        # An array has no name, so it is accepted: a single column cannot be mixed up with others.
        if name is not None and fitted is not None and name != fitted[0]:
            raise ValueError(
                "The feature names should match those that were passed during fit: X has the "
                f"column {name!r}, the fit had {fitted[0]!r}. Pass that column, or rename it."
            )
        if exposure is None:
            return values, None
        return values, checked_exposure(exposure, values.size, f"X has {values.size} rows")

    def _log_likelihood(
        self, X: ArrayLike, exposure: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> tuple[float, int]:
        """Log likelihood of rows, and how many observations they are."""
        refuse_other_order(X, sample_weight, "sample_weight")
        each = self.score_samples(X, exposure=exposure)
        times = checked_frequency(sample_weight, each.size)
        if times is None:
            return float(each.sum()), each.size
        # A row that was never seen may have density 0, and 0 times minus infinity would be NaN.
        seen = times > 0
        return float(times[seen] @ each[seen]), int(times.sum())

    def _column(self, X: ArrayLike) -> Integers:
        """Counts of a table with one column; errors use scikit-learn's words."""
        table = as_table(X, type(self).__name__)
        if table.dtype.kind in "iuf":
            refuse_entries(
                table < 0,
                table,
                f"Negative values in data passed to {type(self).__name__}",
                "Counts need whole numbers from 0 up.",
            )
        if table.shape[1] != 1:
            raise ValueError(
                f"X has {table.shape[1]} features, but {type(self).__name__} is expecting 1 "
                "features as input: one column of counts. fit_columns fits each column of a "
                "matrix on its own."
            )
        return as_values(table[:, 0], "X")


def _column_name(X: Any) -> str | None:
    """Name of the only column of a data frame, if it is a string."""
    names = list(getattr(X, "columns", ()))
    return names[0] if names and isinstance(names[0], str) and names[0] else None
