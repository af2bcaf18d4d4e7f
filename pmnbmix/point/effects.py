"""`effects`: what a change of a covariate does to expected counts, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmnbmix.data.checks import fraction
from pmnbmix.data.covariates import as_covariates, distinct_rows
from pmnbmix.mixture.average_effects import Change, average_effect, changes_of
from pmnbmix.point.answers import n_rows_of, needed_columns
from pmnbmix.point.coefficient_errors import rivals_flag
from pmnbmix.point.newton import moving
from pmnbmix.point.result import PointFit
from pmnbmix.point.uncertainty import entry_covariance

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

# Step of the central differences, in coefficients of covariates that are scaled.
_STEP = 1e-5


def effects(fit: PointFit, covariates: Any = None, *, level: float = 0.95) -> pd.DataFrame:
    """Tabulate what a change of each covariate does to expected counts, on average.

    For a number the change is one unit; for categories, from the first to each of the others. All
    other covariates stay what they are, and the change is averaged over the observations.

    Parameters
    ----------
    fit : PointFit
        Of a mixture of regressions.
    covariates : DataFrame or mapping of columns, optional
        Rows to average over; those of the fit if absent.
    level : float
        Confidence of the intervals, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        A row for each change and component, and one for the mixture, where component is missing:
        covariate, change, component, difference (of the expected count at one unit of exposure),
        se, lower, upper, the rate ratio as ratio, ratio_lower, ratio_upper, and a flag that says
        why the intervals are not to be used. Intervals are by the delta method, on the log scale
        for ratios.

    Raises
    ------
    TypeError, ValueError
        If it is no fit, or one without covariates; and as `PointFit.expected_counts`.

    Examples
    --------
    >>> import numpy as np
    >>> import pmnbmix as nb
    >>> rng = np.random.default_rng(0)
    >>> age = rng.normal(40, 10, 400)
    >>> values = rng.poisson(np.exp(0.03 * age) * rng.choice([0.5, 3.0], 400))
    >>> counts = nb.Counts(values, covariates={"age": age})
    >>> spec = nb.MixtureSpec(2, mean_formula="1", shared_formula="age")
    >>> table = nb.effects(nb.fit_em(counts, spec, random_seed=1))
    >>> print(table[["covariate", "change", "component", "ratio"]].round(2).to_string(index=False))
    covariate change  component  ratio
          age     +1          0   1.03
          age     +1          1   1.03
          age     +1       <NA>   1.03
    """
    import pandas as pd

    if not isinstance(fit, PointFit):
        raise TypeError(
            f"fit must be a PointFit, as fit_em and fit_map return; got {type(fit).__name__}."
        )
    fraction(level, "level")
    objective = fit._objective
    regressors = objective.problem.regressors
    if regressors is None:
        raise ValueError(
            "the fit has no covariates, so there is nothing whose effect could be told. Fit with a "
            'formula: MixtureSpec(2, mean_formula="age").'
        )
    given, frequency = fit.counts.covariates, fit.counts.frequency
    if covariates is not None:
        needed = needed_columns(covariates, regressors.names)
        n = n_rows_of(covariates)
        given = as_covariates(needed, n)
        frequency = np.ones(n, np.int64)
    assert given is not None
    rows, which = distinct_rows(given, regressors.names, frequency.size, frequency > 0)
    shares = np.bincount(which[which >= 0], frequency[which >= 0]) / frequency.sum()
    point = fit._optima[0].point
    covariance = entry_covariance(objective, point, False)
    quantile = float(special.ndtri(0.5 + 0.5 * level))
    tables = []
    for change in changes_of(regressors, rows, shares.size):
        found = average_effect(change, point, shares)
        gradient = _gradient(change, fit, point, shares)
        known = np.isfinite(gradient).all(axis=-1)
        gradient[~known] = 0.0
        variance = np.einsum("...i,ij,...j->...", gradient, covariance.entries, gradient)
        loads = np.abs(gradient[..., _unknown(fit, covariance.undetermined)]) > 0
        se = np.where(known & ~loads.any(axis=-1), np.sqrt(np.maximum(variance, 0.0)), np.inf)
        k = point.shape[1]
        half = quantile * se
        tables.append(
            pd.DataFrame(
                {
                    "covariate": change.covariate,
                    "change": change.what,
                    "component": pd.array([*range(k), None], dtype="Int64"),
                    "difference": found[:, 0],
                    "se": se[:, 0],
                    "lower": found[:, 0] - half[:, 0],
                    "upper": found[:, 0] + half[:, 0],
                    "ratio": np.exp(found[:, 1]),
                    "ratio_lower": np.exp(found[:, 1] - half[:, 1]),
                    "ratio_upper": np.exp(found[:, 1] + half[:, 1]),
                    "flag": rivals_flag(fit._optima),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _unknown(fit: PointFit, undetermined: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Entries that move in the design but that the data do not determine."""
    return (
        undetermined
        & (fit._objective.free.ravel() >= 0)
        & np.isfinite(fit._optima[0].point.ravel())
    )


def _gradient(change: Change, fit: PointFit, point: Floats, shares: Floats) -> Floats:
    """Derivatives of the average effect by the entries of the point, (k + 1, 2, n_terms k)."""
    numbers = moving(fit._objective.terms, fit._objective.free, point)
    gradient = np.zeros((point.shape[1] + 1, 2, point.size))
    for entry in np.flatnonzero(numbers >= 0):
        sides = []
        for sign in (1.0, -1.0):
            moved = point.copy()
            moved.flat[entry] += sign * _STEP
            sides.append(average_effect(change, moved, shares))
        # Next to the largest float a difference is none; its standard error is infinite then.
        with np.errstate(over="ignore", invalid="ignore"):
            gradient[..., entry] = (sides[0] - sides[1]) / (2.0 * _STEP)
    return gradient
