"""Parameters of a mixture of negative binomials, and the only place that converts them.

The same three numbers have contradicting names elsewhere; with mean m = exposure * mean and
variance m + dispersion m^2:

===============================  =========================  ======================================
package                          mean                       what it writes
===============================  =========================  ======================================
pmnbmix                          ``means``                  ``dispersions``; ``inv_disps`` = 1 / it
Stan ``neg_binomial_2``          mu                         phi = inv_disps
PyMC, PreliZ, Bambi              mu                         alpha = inv_disps
statsmodels NB2                  exp(x'beta)                alpha = dispersions
edgeR, DESeq2, glmGamPoi         mu                         dispersion = dispersions
scipy ``nbinom``, R ``rnbinom``  n (1 - p) / p              n = inv_disps, p = n / (n + mean)
===============================  =========================  ======================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.data.checks import LARGEST_COUNT, as_array, as_exposure, as_size, as_values
from pmnbmix.data.table import CountTable
from pmnbmix.html import html_table
from pmnbmix.mixture.density import component_cdf
from pmnbmix.mixture.levels import (
    Levels,
    Rows,
    component_table,
    mixture_rows,
    one_level,
    responsibilities_table,
    rows_at,
)
from pmnbmix.mixture.per_component import dispersions_from, non_negative, numbers
from pmnbmix.mixture.permute import canonical_order
from pmnbmix.seeds import as_rng

Floats = NDArray[np.float64]

# The parameters of a mixture, in the order that every table has.
PARAMETERS = ("weights", "means", "dispersions")


@dataclass(frozen=True, eq=False)
class MixtureParams:
    """Weights, means and dispersions of a mixture of negative binomials.

    Parameters
    ----------
    weights : array_like, shape (n_components,)
        Mixing proportions, non-negative, summing to 1.
    means : array_like, shape (n_components,)
        Expected count of each component per unit of exposure, 0 or above.
    dispersions : array_like, shape (n_components,)
        Variance of a component is m + dispersion m^2; 0 is a Poisson component.

    Raises
    ------
    TypeError
        If an argument does not hold numbers.
    ValueError
        If shapes differ, weights are negative or do not sum to 1 within 1e-9, or means or
        dispersions are negative or not finite.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> params = nb.MixtureParams([0.4, 0.6], [9.0, 1.0], [0.0, 0.5]).sorted()
    >>> params
    MixtureParams(weights=[0.6, 0.4], means=[1., 9.], dispersions=[0.5, 0. ])
    >>> params.permuted([1, 0]).means
    array([9., 1.])
    >>> params.logpmf([0, 9]).round(2)
    array([-1.32, -2.94])
    >>> params.component_logpmf([0], exposure=2.0).round(2)
    array([[ -1.39, -18.  ]])
    >>> params.responsibilities([0, 4, 9]).round(2)
    array([[1.  , 0.  ],
           [0.55, 0.45],
           [0.  , 1.  ]])
    >>> params.cdf([3, 9]).round(2), params.component_cdf([3]).round(2)
    (array([0.58, 0.83]), array([[0.95, 0.02]]))
    >>> params.quantile([0.5, 0.975])
    array([ 2, 14])
    >>> values, labels = params.sample(1000, random_seed=1)
    >>> print(f"{labels.mean():.1f}")
    0.4

    Other packages write the same mixture in their own terms:

    >>> params.to_scipy()["p"].round(2), params.to_pymc()["alpha"], params.to_stan()["phi"]
    (array([0.67, 1.  ]), array([ 2., inf]), array([ 2., inf]))
    >>> params.to_statsmodels()["alpha"], params.to_edger()["dispersion"]
    (array([0.5, 0. ]), array([0.5, 0. ]))
    >>> nb.MixtureParams.from_scipy([1.0], n=[2.0], p=[0.4])
    MixtureParams(weights=[1.], means=[3.], dispersions=[0.5])
    >>> nb.MixtureParams.from_pymc([1.0], mu=[3.0], alpha=[2.0]).dispersions
    array([0.5])
    >>> nb.MixtureParams.from_stan([1.0], mu=[3.0], phi=[2.0]).dispersions
    array([0.5])
    >>> nb.MixtureParams.from_statsmodels([1.0], mu=[3.0], alpha=[0.5]).dispersions
    array([0.5])
    >>> nb.MixtureParams.from_edger([1.0], mu=[3.0], dispersion=[0.5]).dispersions
    array([0.5])
    """

    weights: Floats
    means: Floats
    dispersions: Floats

    def __init__(self, weights: ArrayLike, means: ArrayLike, dispersions: ArrayLike) -> None:
        arrays = {"weights": weights, "means": means, "dispersions": dispersions}
        checked = {name: non_negative(name, array) for name, array in arrays.items()}
        sizes = {name: array.size for name, array in checked.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(
                f"weights, means and dispersions must have one entry a component; got {sizes}."
            )
        with np.errstate(over="ignore"):
            total = checked["weights"].sum()
        if abs(total - 1.0) > 1e-9:
            raise ValueError(
                f"weights must sum to 1; they sum to {float(total)!r}. Divide them by their sum."
            )
        for name, array in checked.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.weights.size

    @property
    def inv_disps(self) -> Floats:
        """Inverse dispersions, (n_components,); inf is Poisson."""
        with np.errstate(divide="ignore", over="ignore"):
            return 1.0 / self.dispersions

    @property
    def log_weights(self) -> Floats:
        """Logarithms of the weights, (n_components,); minus infinity for an empty component."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights)

    @property
    def levels(self) -> Levels:
        """The parameters as compiled code reads them, at the one level of the plain model."""
        return one_level(self.log_weights, self.means, self.inv_disps)

    def permuted(self, order: ArrayLike) -> MixtureParams:
        """Reorder the components: the new component j is the old component ``order[j]``.

        Raises
        ------
        ValueError
            If ``order`` is not a permutation of 0 to n_components - 1.
        """
        index = as_array(order, "order")
        # Booleans and floats can equal 0 to n_components - 1, but are another kind of index.
        if (
            index.dtype.kind not in "iu"
            or index.shape != (self.n_components,)
            or not np.array_equal(np.sort(index), np.arange(self.n_components))
        ):
            raise ValueError(
                f"order must be a permutation of 0 to {self.n_components - 1}; got {order!r}."
            )
        return MixtureParams(self.weights[index], self.means[index], self.dispersions[index])

    def sorted(self) -> MixtureParams:
        """Reorder the components by mean, then weight."""
        return self.permuted(canonical_order(self.weights, self.means))

    def component_logpmf(self, values: ArrayLike, exposure: ArrayLike | None = None) -> Floats:
        """Log density of counts under each component, without its weight.

        Parameters
        ----------
        values : array_like, shape (n,)
            Counts.
        exposure : array_like, shape (n,), or float, optional
            Exposure of each count; 1 if absent.

        Returns
        -------
        ndarray, shape (n, n_components)
            In nats; minus infinity if a component cannot produce the count.

        Raises
        ------
        TypeError, ValueError
            For the same reasons as `Counts`.

        Notes
        -----
        Relative error below 1e-14 for counts of 0 to 1e9 and inverse dispersions from 1e-6 to
        infinity; the formula is given in `pmnbmix.mixture.density`.
        """
        return component_table(_rows(values, exposure), self.levels)

    def logpmf(self, values: ArrayLike, exposure: ArrayLike | None = None) -> Floats:
        """Log density of counts under the mixture, (n,) in nats; see `component_logpmf`."""
        return mixture_rows(_rows(values, exposure), self.levels)

    def responsibilities(self, values: ArrayLike, exposure: ArrayLike | None = None) -> Floats:
        """Probability of each component given the count, (n, n_components); rows sum to 1.

        Raises
        ------
        ValueError
            If a count has probability 0 under every component, besides the reasons of `Counts`.
        """
        rows = _rows(values, exposure)
        table = responsibilities_table(rows, self.levels)
        impossible = np.flatnonzero(np.isnan(table[:, 0]))
        if impossible.size:
            raise ValueError(
                f"the count {rows.values[impossible[0]]:.0f} at index {impossible[0]} has "
                "probability 0 under every component (all means are 0), so it belongs to none. "
                "Use parameters fitted to counts of this kind."
            )
        return table

    def cdf(self, values: ArrayLike, exposure: ArrayLike | None = None) -> Floats:
        """Probability that a count is at most each of ``values``, under the mixture, (n,)."""
        return _weighted(self.component_cdf(values, exposure), self.weights)

    def component_cdf(self, values: ArrayLike, exposure: ArrayLike | None = None) -> Floats:
        """Probability that a count is at most each of ``values``, per component, (n, k)."""
        rows = _rows(values, exposure)
        means = rows.exposure[:, None] * self.means
        return component_cdf(rows.values[:, None], means, self.inv_disps)

    def quantile(
        self, probability: ArrayLike, exposure: ArrayLike | None = None
    ) -> NDArray[np.int64]:
        """Smallest count with at least this probability at or below it, under the mixture.

        Parameters
        ----------
        probability : array_like, shape (n,), or float
            0 or above and below 1.
        exposure : array_like, shape (n,), or float, optional
            Exposure of each count; 1 if absent.

        Returns
        -------
        ndarray of int, shape (n,)

        Raises
        ------
        ValueError
            For a probability outside [0, 1), and a count above 2**53.
        """
        wanted = np.atleast_1d(as_array(probability, "probability"))
        if wanted.dtype.kind not in "iuf" or wanted.ndim != 1:
            raise TypeError(f"probability must be numbers; got {probability!r}.")
        wrong = np.flatnonzero(~((wanted >= 0) & (wanted < 1)))
        if wrong.size:
            raise ValueError(
                f"probability must be 0 or above and below 1; got {wanted[wrong[0]].item()!r} at "
                f"index {wrong[0]}."
            )
        size = wanted.size
        if exposure is not None and np.ndim(as_array(exposure, "exposure")) == 1 and size == 1:
            size = np.size(exposure)
        scale = as_exposure(exposure, size)
        wanted = np.broadcast_to(wanted.astype(np.float64), size)
        rate = scale[:, None] * self.means

        def enough(values: Floats) -> NDArray[np.bool_]:
            of_each = component_cdf(values[:, None], rate, self.inv_disps)
            below = _weighted(of_each, self.weights)
            return np.asarray(below >= wanted)

        # The answer is above ``low`` and at most ``high``; both are counts.
        low, high = np.full(size, -1.0), np.full(size, 1.0)
        while not (done := enough(high)).all():
            low, high = np.where(done, low, high), np.where(done, high, 2.0 * high)
            if high.max() > LARGEST_COUNT:
                raise ValueError(
                    f"the quantile at probability {wanted[~done][0].item()!r} is above 2**53. Use "
                    "a smaller probability or exposure."
                )
        while (wide := high - low > 1).any():
            middle = np.where(wide, np.floor(0.5 * (low + high)), high)
            above = enough(middle)
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return high.astype(np.int64)

    def sample(
        self,
        n: int,
        random_seed: int | np.random.Generator | None = None,
        exposure: ArrayLike | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw counts: first the component, then its gamma rate, then the Poisson count.

        Parameters
        ----------
        n : int
            How many.
        random_seed : int or numpy.random.Generator, optional
        exposure : array_like, shape (n,), or float, optional
            Exposure of each count; 1 if absent.

        Returns
        -------
        values : ndarray of int, shape (n,)
        labels : ndarray of int, shape (n,)
            Component that each count came from.

        Raises
        ------
        ValueError
            If ``n`` is not a whole number from 1 to 2**31, or a rate is too large for a count.
        """
        n = as_size(n, "n")
        scale = as_exposure(exposure, n)
        rng = as_rng(random_seed)
        labels = rng.choice(self.n_components, size=n, p=self.weights / self.weights.sum())
        rate = self.means[labels].copy()
        spread = self.dispersions[labels] > 0
        inv_disp = self.inv_disps[labels][spread]
        finite = np.isfinite(inv_disp)
        index = np.flatnonzero(spread)[finite]
        rate[index] *= rng.gamma(inv_disp[finite]) / inv_disp[finite]
        expected = scale * rate
        if expected.max() > 2.0**52:
            raise ValueError(
                f"an expected count of {expected.max():.4g} cannot be drawn; at most 2**52. "
                "Use smaller means or exposures."
            )
        return rng.poisson(expected).astype(np.int64), labels.astype(np.int64)

    def to_scipy(self) -> dict[str, Floats]:
        """Parameters n and p of `scipy.stats.nbinom` at exposure 1 (n = inf for Poisson)."""
        inv_disps = self.inv_disps
        with np.errstate(invalid="ignore"):
            success = np.where(np.isinf(inv_disps), 1.0, inv_disps / (inv_disps + self.means))
        return {"weights": self.weights, "n": inv_disps, "p": success}

    def to_pymc(self) -> dict[str, Floats]:
        """Parameters mu and alpha of `pymc.NegativeBinomial` at exposure 1."""
        return {"weights": self.weights, "mu": self.means, "alpha": self.inv_disps}

    def to_stan(self) -> dict[str, Floats]:
        """Parameters mu and phi of Stan's ``neg_binomial_2`` at exposure 1."""
        return {"weights": self.weights, "mu": self.means, "phi": self.inv_disps}

    def to_statsmodels(self) -> dict[str, Floats]:
        """Mean mu and parameter alpha of statsmodels' NB2 at exposure 1."""
        return {"weights": self.weights, "mu": self.means, "alpha": self.dispersions}

    def to_edger(self) -> dict[str, Floats]:
        """Mean mu and dispersion of edgeR, DESeq2 and glmGamPoi at exposure 1."""
        return {"weights": self.weights, "mu": self.means, "dispersion": self.dispersions}

    @classmethod
    def from_scipy(cls, weights: ArrayLike, n: ArrayLike, p: ArrayLike) -> MixtureParams:
        """Parameters from n and p of `scipy.stats.nbinom`.

        Raises
        ------
        ValueError
            If n is not positive and finite or p is outside (0, 1]; a Poisson component has no
            mean in this form.
        """
        if np.isinf(numbers("n", n)).any():
            raise ValueError(
                "n = inf is a Poisson component, whose mean n and p do not tell; use "
                "MixtureParams(weights, means, dispersions) with dispersion 0."
            )
        number, success = non_negative("n", n), non_negative("p", p)
        if (number <= 0).any() or (success <= 0).any() or (success > 1).any():
            raise ValueError(
                f"n must be above 0 and p above 0 and at most 1; got n={n!r}, p={p!r}."
            )
        if number.size != success.size:
            raise ValueError(
                f"n and p must have one entry a component; got {number.size} and {success.size}."
            )
        with np.errstate(over="ignore"):
            means, dispersions = number * (1.0 - success) / success, 1.0 / number
        if not (np.isfinite(means).all() and np.isfinite(dispersions).all()):
            raise ValueError(
                f"n and p must give a finite mean n (1 - p) / p and dispersion 1 / n; got n={n!r}, "
                f"p={p!r}."
            )
        return cls(weights, means, dispersions)

    @classmethod
    def from_pymc(cls, weights: ArrayLike, mu: ArrayLike, alpha: ArrayLike) -> MixtureParams:
        """Parameters from mu and alpha of `pymc.NegativeBinomial` (alpha = inf is Poisson)."""
        return cls(weights, mu, dispersions_from("alpha", alpha))

    @classmethod
    def from_stan(cls, weights: ArrayLike, mu: ArrayLike, phi: ArrayLike) -> MixtureParams:
        """Parameters from mu and phi of Stan's ``neg_binomial_2`` (phi = inf is Poisson)."""
        return cls(weights, mu, dispersions_from("phi", phi))

    @classmethod
    def from_statsmodels(cls, weights: ArrayLike, mu: ArrayLike, alpha: ArrayLike) -> MixtureParams:
        """Parameters from the mean and alpha of statsmodels' NB2."""
        return cls(weights, mu, alpha)

    @classmethod
    def from_edger(cls, weights: ArrayLike, mu: ArrayLike, dispersion: ArrayLike) -> MixtureParams:
        """Parameters from the mean and dispersion of edgeR, DESeq2 and glmGamPoi."""
        return cls(weights, mu, dispersion)

    def _repr_html_(self) -> str:
        columns = [[f"{x:.4g}" for x in getattr(self, name)] for name in PARAMETERS]
        rows = [(f"component {j}", *row) for j, row in enumerate(zip(*columns, strict=True))]
        return html_table("mixture of negative binomials", rows, ("", *PARAMETERS))

    def __repr__(self) -> str:
        rows = [
            f"{name}={np.array2string(getattr(self, name), precision=6, separator=', ')}"
            for name in ("weights", "means", "dispersions")
        ]
        return f"MixtureParams({', '.join(rows)})"


def _rows(values: ArrayLike, exposure: ArrayLike | None) -> Rows:
    checked = as_values(values)
    return rows_at(checked.astype(np.float64), as_exposure(exposure, checked.size))


def _weighted(of_each: Floats, weights: Floats) -> Floats:
    """Sum over components, whose rounding does not depend on how many rows there are."""
    return np.asarray((of_each * weights).sum(axis=1))


def cdf_jump(params: MixtureParams, table: CountTable) -> tuple[Floats, Floats]:
    """P(count < value) and P(count <= value) of each row, (n_unique,)."""
    means = table.exposure[:, None] * params.means
    # ``values - 1`` may be -1, which `MixtureParams.cdf` would refuse as a count.
    below, at_most = (
        component_cdf(values[:, None], means, params.inv_disps) @ params.weights
        for values in (table.values - 1.0, table.values)
    )
    return below, at_most
