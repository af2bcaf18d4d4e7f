"""A mixture of regressions as a regressor that scikit-learn's tools understand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.data.checks import as_values, refuse_other_order
from pmnbmix.data.counts import Counts
from pmnbmix.estimator.protocol import Protocol, RandomState, random_seed_of
from pmnbmix.estimator.tables import as_table, checked_exposure, checked_frequency
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.fit import fit_em

Floats = NDArray[np.float64]


class NegativeBinomialMixtureRegressor(Protocol):
    """Mixture of negative binomial regressions by maximum likelihood, as a scikit-learn regressor.

    The log mean of each component follows the columns of ``X``, each with coefficients of its own.
    For shared coefficients, weights that follow covariates and transformed columns, use `fit_em`.

    Parameters
    ----------
    n_components : int
        1 or above.
    families : str or sequence of str
        "nb", "poisson" or "zero", for all or for each component.
    max_iter : int
        Limit on the Newton steps from each start.
    random_state : int, numpy.random.Generator, numpy.random.RandomState, optional
        Of the starts.

    Attributes
    ----------
    log_likelihood_ : float
        Of all counts fitted, in nats.
    status_ : str
        What kind of point the estimate is; `Status` explains the word.
    converged_ : bool
        Whether the estimate is an optimum, on an edge of the parameter space or not.
    n_iter_ : int
        EM and Newton iterations that led to the estimate.
    fit_ : PointFit
        Everything else: coefficients, standard errors, other optima.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of object, shape (n_features_in_,)
        Their names, if all are strings.

    Notes
    -----
    ``X`` has shape (n, n_features): numbers, or a data frame whose columns of text are categories.
    ``y`` has shape (n,), counts. ``exposure`` has shape (n,) or is one number for all rows; 1 if
    absent. Every method raises

    - TypeError for sparse matrices,
    - ValueError for other shapes or names of columns than in ``fit``, and for what `Counts` and
      `fit_em` refuse,
    - NotFittedError before ``fit``: scikit-learn's own if that is loaded.

    Examples
    --------
    >>> import numpy as np
    >>> import pmnbmix as nb
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(400, 1))
    >>> y = rng.poisson(np.exp(np.where(rng.random(400) < 0.5, 0.5 + X[:, 0], 3.0)))
    >>> model = nb.NegativeBinomialMixtureRegressor(n_components=2, random_state=1).fit(X, y)
    >>> model.predict([[0.0], [1.0]]).round()  # expected counts
    array([11., 12.])
    >>> model.predict_component([[0.0], [0.0]], [1, 30])
    array([0, 1])
    >>> model.predict_component_proba([[0.0]]).round(1), model.predict_component_proba(X, y).shape
    (array([[0.5, 0.5]]), (400, 2))
    >>> bool(np.isclose(model.score(X, y), model.logpmf(X, y).mean()))
    True
    """

    def __init__(
        self,
        *,
        n_components: int = 2,
        families: str | Sequence[str] = "nb",
        max_iter: int = 200,
        random_state: RandomState = None,
    ) -> None:
        self.n_components = n_components
        self.families = families
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit by `fit_em`.

        Parameters
        ----------
        X : array_like, shape (n, n_features)
        y : array_like, shape (n,)
            Counts: non-negative integers, or floats that are integral.
        exposure : array_like, shape (n,), or float, optional
        sample_weight : array_like, shape (n,), optional
            How often each row was seen, non-negative integers; 2 is the row twice, 0 never.

        Returns
        -------
        NegativeBinomialMixtureRegressor
            Itself.
        """
        for beside, argument in (
            (y, "y"),
            (exposure, "exposure"),
            (sample_weight, "sample_weight"),
        ):
            refuse_other_order(X, beside, argument)
        rows = len(as_table(X, type(self).__name__))
        if rows == 1:
            raise ValueError(
                "X has 1 sample, from which no coefficient can be told. Pass more rows than "
                "columns."
            )
        names = _names(X)
        columns = _columns(X, names)
        spec = MixtureSpec(
            self.n_components,
            mean_formula=" + ".join(f"`{name}`" for name in columns),
            families=self.families,
        )
        counts = Counts(
            _counts(y, rows),
            None if exposure is None else checked_exposure(exposure, rows, f"X has {rows} rows"),
            checked_frequency(sample_weight, rows),
            covariates=columns,
        )
        found = fit_em(
            counts, spec, max_iter=self.max_iter, random_seed=random_seed_of(self.random_state)
        )
        self._keep(found, len(columns), names)
        return self

    def predict(self, X: ArrayLike, *, exposure: ArrayLike | None = None) -> Floats:
        """Expected count of each row, (n,)."""
        columns, scale = self._rows(X, exposure)
        expected = self.fit_.expected_counts(columns, 1.0 if scale is None else scale)
        return expected["mean"].to_numpy()

    def predict_component(
        self, X: ArrayLike, y: ArrayLike | None = None, *, exposure: ArrayLike | None = None
    ) -> NDArray[np.intp]:
        """Most probable component of each row, (n,), given its count too where ``y`` is passed."""
        return np.argmax(self.predict_component_proba(X, y, exposure=exposure), axis=1)

    def predict_component_proba(
        self, X: ArrayLike, y: ArrayLike | None = None, *, exposure: ArrayLike | None = None
    ) -> Floats:
        """Probability of each component, (n, n_components), given the count where it is passed."""
        columns, scale = self._rows(X, exposure)
        if y is None:
            expected = self.fit_.expected_counts(columns)
            weights = [f"weight[{j}]" for j in range(self.fit_.n_components)]
            return expected[weights].to_numpy()
        return self.fit_.responsibilities(_counts(y, _length(columns)), scale, columns)

    def logpmf(self, X: ArrayLike, y: ArrayLike, *, exposure: ArrayLike | None = None) -> Floats:
        """Log density of each count, (n,) in nats."""
        columns, scale = self._rows(X, exposure)
        return self.fit_.logpmf(_counts(y, _length(columns)), scale, columns)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        exposure: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Mean log density of a count, in nats; ``sample_weight`` as in `fit`."""
        refuse_other_order(X, sample_weight, "sample_weight")
        each = self.logpmf(X, y, exposure=exposure)
        times = checked_frequency(sample_weight, each.size)
        if times is None:
            return float(each.mean())
        # A row that was never seen may have density 0, and 0 times minus infinity would be NaN.
        seen = times > 0
        return float(times[seen] @ each[seen]) / int(times.sum())

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags(poor_score=True)
        tags.target_tags.required = True
        tags.target_tags.positive_only = True
        tags.input_tags.positive_only = False
        return tags

    def _rows(
        self, X: ArrayLike, exposure: ArrayLike | None
    ) -> tuple[dict[str, Any], Floats | None]:
        """Checked columns and exposures of rows to be judged by the fit."""
        self.check_fitted()
        refuse_other_order(X, exposure, "exposure")
        table = as_table(X, type(self).__name__)
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {table.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input. Pass the columns of the fit."
            )
        names, fitted = _names(X), getattr(self, "feature_names_in_", None)
        if names is not None and fitted is not None and names != list(fitted):
            raise ValueError(
                "The feature names should match those that were passed during fit: X has the "
                f"columns {names}, the fit had {list(fitted)}. Pass these, in this order."
            )
        columns = _columns(X, names if fitted is None else list(fitted))
        rows = len(table)
        if exposure is None:
            return columns, None
        return columns, checked_exposure(exposure, rows, f"X has {rows} rows")


def _names(X: Any) -> list[str] | None:
    """Names of the columns of a data frame, if all are strings."""
    names = list(getattr(X, "columns", ()))
    return names if names and all(isinstance(name, str) and name for name in names) else None


def _columns(X: Any, names: list[str] | None) -> dict[str, Any]:
    """Columns of a table by name; those of an array are called x0, x1, ..."""
    if hasattr(X, "iloc"):
        table = [X.iloc[:, j] for j in range(X.shape[1])]
    else:
        array = np.asarray(X)
        table = [array[:, j] for j in range(array.shape[1])]
    names = [f"x{j}" for j in range(len(table))] if names is None else names
    return dict(zip(names, table, strict=True))


def _length(columns: dict[str, Any]) -> int:
    return len(next(iter(columns.values())))


def _counts(y: ArrayLike, rows: int) -> NDArray[np.int64]:
    if y is None:
        raise ValueError(
            "requires y to be passed, but the target y is None: the counts that X tells of. For "
            "counts without covariates there is NegativeBinomialMixture."
        )
    given = np.asarray(y)
    values = as_values(given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given, "y")
    if values.size != rows:
        raise ValueError(f"y has {values.size} counts but X has {rows} rows. Both must match.")
    return values
