"""What a fit says of counts: components, densities and rates, and what it expects of new rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.data.checks import as_array, as_exposure, as_size, as_values
from pmnbmix.data.counts import Counts
from pmnbmix.data.covariates import as_covariates, distinct_rows
from pmnbmix.mixture.coefficients import Coefficients, params_of
from pmnbmix.mixture.levels import Levels, Rows, mixture_rows, responsibilities_table, rows_of
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.seeds import as_rng

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
# A DataFrame, or columns by name; one row a count.
Covariates = Any


class Answers:
    """Questions to a `PointFit`; in a mixture of regressions each takes covariates too."""

    if TYPE_CHECKING:
        # What the fit has, for type checkers.
        counts: Counts
        params: MixtureParams

        @property
        def _coefficients(self) -> Coefficients: ...

    @property
    def coefficients(self) -> pd.DataFrame:
        """Every coefficient, on the scale of the covariates as they were given.

        Returns
        -------
        pandas.DataFrame
            One row a coefficient: part ("weights", "means", "shared" or "dispersions"), component
            (missing where all share it), term and estimate. Means and dispersions are in logs; the
            logits of the weights sum to zero over the components, so that the difference of two is
            a log odds.
        """
        return self._coefficients.table()

    def params_at(self, covariates: Covariates) -> MixtureParams:
        """Weights, means and dispersions at one row of covariates.

        Parameters
        ----------
        covariates : mapping, Series or DataFrame of one row
            A value for each covariate.

        Raises
        ------
        TypeError, ValueError
            As `expected_counts`, and for several rows.
        """
        if self._coefficients.regressors is None:
            return self.params
        if hasattr(covariates, "to_dict") and not hasattr(covariates, "columns"):
            covariates = covariates.to_dict()
        n, levels, _, _ = self._at(covariates, 1.0)
        if n != 1:
            raise ValueError(
                f"covariates must be one row; got {n}. Use expected_counts() for several."
            )
        return params_of(levels, 0)

    def expected_counts(
        self, covariates: Covariates = None, exposure: ArrayLike = 1.0
    ) -> pd.DataFrame:
        """Tabulate what the fit expects at rows of covariates.

        Parameters
        ----------
        covariates : DataFrame or mapping of columns, optional
            One row a count; the rows of the fit if absent, with their exposure.
        exposure : array_like, shape (n,), or float
            Exposure of each row.

        Returns
        -------
        pandas.DataFrame
            A row for each: mean[0], ..., the expected count of each component; weight[0], ...; and
            mean, that of the mixture.

        Raises
        ------
        TypeError, ValueError
            For a covariate that is missing, has missing values, or a category that was not there
            when the model was fitted; and as `Counts` for exposures.
        """
        import pandas as pd

        index = getattr(covariates, "index", None)
        n = None
        if covariates is None:
            n, covariates, exposure = (
                self.counts.values.size,
                self.counts.covariates,
                self.counts.exposure,
            )
        _, levels, level, scale = self._at(covariates, exposure, n)
        means = scale[:, None] * _taken(levels.means, level)
        weights = np.exp(_taken(levels.log_weights, level))
        k = means.shape[1]
        columns = {f"mean[{j}]": means[:, j] for j in range(k)}
        columns |= {f"weight[{j}]": weights[:, j] for j in range(k)}
        columns["mean"] = (weights * means).sum(axis=1)
        return pd.DataFrame(columns, index=index)

    def responsibilities(
        self,
        values: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        covariates: Covariates = None,
    ) -> Floats:
        """Probability of each component given the count, (n, n_components).

        Without arguments for the rows the fit was made on. Raises as `MixtureParams` and
        `expected_counts`, and where the fit had exposures but new values come without.
        """
        if values is None:
            if exposure is not None or covariates is not None:
                given = "an exposure was" if exposure is not None else "covariates were"
                raise ValueError(f"{given} given without values; pass them too, or neither.")
            if self._coefficients.regressors is None:
                return self.params.responsibilities(self.counts.values, self.counts.exposure)
            values, exposure = self.counts.values, self.counts.exposure
            covariates = self.counts.covariates
        elif self._coefficients.regressors is None:
            self._refuse_covariates(covariates)
            return self.params.responsibilities(values, self._needed(exposure))
        rows, levels = self._rows(values, exposure, covariates)
        table = responsibilities_table(rows, levels)
        impossible = np.flatnonzero(np.isnan(table[:, 0]))
        if impossible.size:
            raise ValueError(
                f"the count {rows.values[impossible[0]]:.0f} at index {impossible[0]} has "
                "probability 0 under every component, so it belongs to none."
            )
        return table

    def predict(
        self,
        values: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        covariates: Covariates = None,
    ) -> NDArray[np.intp]:
        """Most probable component of each count, (n,); arguments as in `responsibilities`."""
        return np.argmax(self.responsibilities(values, exposure, covariates), axis=1)

    def logpmf(
        self,
        values: ArrayLike,
        exposure: ArrayLike | None = None,
        covariates: Covariates = None,
    ) -> Floats:
        """Log density of new counts, (n,) in nats; raises as `responsibilities`."""
        if self._coefficients.regressors is None:
            self._refuse_covariates(covariates)
            return self.params.logpmf(values, self._needed(exposure))
        return mixture_rows(*self._rows(values, exposure, covariates))

    def quantile(
        self,
        probability: ArrayLike,
        exposure: ArrayLike | None = None,
        covariates: Covariates = None,
    ) -> NDArray[np.int64]:
        """Smallest new count with at least this probability at or below it, (n,).

        Raises as `MixtureParams.quantile` and `expected_counts`, and where the fit had exposures
        but none is given.
        """
        if self._coefficients.regressors is None:
            self._refuse_covariates(covariates)
            return self.params.quantile(probability, self._needed(exposure))
        n, levels, level, scale = self._at(covariates, self._needed(exposure))
        wanted = np.asarray(as_array(probability, "probability"))
        if wanted.ndim > 1 or wanted.size not in (1, n):
            raise ValueError(
                f"probability has {wanted.size} entries but there are {n} rows of covariates. Pass "
                "one for each row, or one for all."
            )
        wanted = np.broadcast_to(wanted, n)
        out = np.empty(n, dtype=np.int64)
        for which in np.unique(level):
            rows = np.flatnonzero(level == which)
            out[rows] = params_of(levels, int(which)).quantile(wanted[rows], scale[rows])
        return out

    def sample(
        self,
        n: int | None = None,
        random_seed: int | np.random.Generator | None = None,
        exposure: ArrayLike | None = None,
        covariates: Covariates = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw new counts and their components, (n,) each; raises as `MixtureParams.sample`.

        With covariates one count a row is drawn, and ``n`` may be left out.
        """
        if self._coefficients.regressors is None:
            self._refuse_covariates(covariates)
            return self.params.sample(as_size(n, "n"), random_seed, self._needed(exposure))
        size, levels, level, scale = self._at(covariates, self._needed(exposure))
        if n is not None and as_size(n, "n") != size:
            raise ValueError(
                f"n is {n} but covariates have {size} rows: one count a row is drawn. Leave n out."
            )
        return draw_counts(levels, level, scale, as_rng(random_seed))

    def rates(
        self,
        values: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        quantiles: tuple[float, ...] = (0.05, 0.5, 0.95),
        covariates: Covariates = None,
    ) -> pd.DataFrame:
        """Posterior of the rate behind each count, under the estimate: the denoised count.

        Parameters
        ----------
        values, exposure : array_like, shape (n,), optional
            As in `responsibilities`.
        quantiles : tuple of float
            Probabilities, between 0 and 1.
        covariates : DataFrame or mapping, optional
            As in `responsibilities`.

        Returns
        -------
        pandas.DataFrame
            A row for each count, in counts per unit of exposure: mean, sd, and a column for each
            quantile ("5%", ...). The uncertainty of the estimate itself is not in it; NaN for a
            row that was never seen (frequency 0).

        Raises
        ------
        TypeError, ValueError
            As `responsibilities`, and for quantiles that are no different numbers between 0 and 1.
        """
        from pmnbmix.point.rates import rate_table, rate_table_at

        if values is None and (exposure is not None or covariates is not None):
            given = "an exposure was" if exposure is not None else "covariates were"
            raise ValueError(f"{given} given without values; pass both, or neither.")
        if self._coefficients.regressors is None:
            self._refuse_covariates(covariates)
            counts = self.counts
            if values is not None:
                rows = as_array(values, "values").size
                counts = Counts(values, as_exposure(self._needed(exposure), rows))
            return rate_table(self.params, counts, quantiles)
        if values is None:
            values, exposure = self.counts.values, self.counts.exposure
            covariates = self.counts.covariates
        return rate_table_at(*self._rows(values, exposure, covariates), quantiles)

    def _rows(
        self, values: ArrayLike, exposure: ArrayLike | None, covariates: Covariates
    ) -> tuple[Rows, Levels]:
        """Rows of counts with their levels, and the parameters at these."""
        from pmnbmix.data.table import CountTable

        checked = as_values(values).astype(np.float64)
        n, levels, level, scale = self._at(covariates, self._needed(exposure), checked.size)
        table = CountTable(checked, scale, level, np.arange(n), np.ones(n))
        return rows_of(table), levels

    def _at(
        self, covariates: Covariates, exposure: ArrayLike | None, size: int | None = None
    ) -> tuple[int, Levels, NDArray[np.intp], Floats]:
        """Number of rows, parameters at their distinct covariates, level and exposure of each."""
        coefficients = self._coefficients
        if coefficients.regressors is None:
            size = size or (1 if covariates is None else n_rows_of(covariates))
            level = np.zeros(size, np.intp)
            return size, coefficients.levels_at(None, size), level, as_exposure(exposure, size)
        names = coefficients.regressors.names
        if covariates is None:
            raise ValueError(
                f"the fit has covariates ({', '.join(names)}), so new rows need theirs: pass "
                "covariates=..., a DataFrame or columns by name."
            )
        n = n_rows_of(covariates) if size is None else size
        needed = needed_columns(covariates, names)
        rows, level = distinct_rows(as_covariates(needed, n), names, n, np.ones(n, bool))
        levels = coefficients.levels_at(rows, int(level.max()) + 1)
        return n, levels, level, as_exposure(exposure, n)

    def _needed(self, exposure: ArrayLike | None) -> ArrayLike | None:
        """The exposure of new counts, which a fit with exposures cannot do without."""
        if self.counts.has_exposure and exposure is None:
            raise ValueError(
                "the fit was made with exposures, so new values need theirs: pass exposure=..., or "
                "exposure=1 for counts at unit exposure."
            )
        return exposure

    def _refuse_covariates(self, covariates: Covariates) -> None:
        if covariates is not None:
            raise ValueError(
                "the fit has no covariates, but covariates were given. Leave them out, or fit with "
                'a formula: MixtureSpec(2, mean_formula="age").'
            )


def draw_counts(
    levels: Levels, level: NDArray[np.intp], exposure: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw a count for each row: its component, then its gamma rate, then the Poisson count."""
    n = level.size
    cumulated = np.cumsum(np.exp(_taken(levels.log_weights, level)), axis=1)
    drawn = rng.random(n) * cumulated[:, -1]
    labels = np.minimum((drawn[:, None] >= cumulated).sum(axis=1), cumulated.shape[1] - 1)
    row = np.arange(n)
    rate = _taken(levels.means, level)[row, labels] * exposure
    inv_disp = _taken(levels.inv_disps, level)[row, labels]
    finite = np.isfinite(inv_disp)
    rate[finite] *= rng.gamma(inv_disp[finite]) / inv_disp[finite]
    if rate.max() > 2.0**52:
        raise ValueError(
            f"an expected count of {rate.max():.4g} cannot be drawn; at most 2**52. Use smaller "
            "exposures, or covariates nearer to those of the fit."
        )
    return rng.poisson(rate).astype(np.int64), labels.astype(np.int64)


def _taken(array: Floats, level: NDArray[np.intp]) -> Floats:
    """Rows of a table by level (or of its one row), for each row of counts."""
    return array[level] if len(array) > 1 else np.broadcast_to(array, (level.size, array.shape[1]))


def n_rows_of(covariates: Covariates) -> int:
    """Number of rows of covariates; a mapping of single values is one row."""
    if hasattr(covariates, "columns"):
        return len(covariates)
    if not isinstance(covariates, Mapping) or not covariates:
        raise TypeError(
            "covariates must be a DataFrame or a mapping from names to columns; got "
            f"{type(covariates).__name__}."
        )
    first = next(iter(covariates.values()))
    return 1 if np.ndim(first) == 0 else len(first)


def needed_columns(covariates: Covariates, names: tuple[str, ...]) -> dict[str, Any]:
    """The columns that the fit uses; numbers on their own are columns of one row."""
    missing = [name for name in names if name not in covariates]
    if missing:
        there = ", ".join(str(name) for name in covariates)
        raise ValueError(
            f"covariates lack {missing[0]!r}, which the fit uses; there are: {there or 'none'}."
        )
    found = {name: covariates[name] for name in names}
    return {name: [cell] if np.ndim(cell) == 0 else cell for name, cell in found.items()}
