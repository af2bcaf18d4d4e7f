"""A point estimate and everything that can be asked of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.draws import fingerprint
from pmnbmix.mixture.params import PARAMETERS, MixtureParams
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.objective import Objective, unpack_point
from pmnbmix.point.optima import Optimum, Status
from pmnbmix.point.search import Squashing
from pmnbmix.point.uncertainty import Wald, wald

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

# Observations that a tree lists one by one, at most.
_LARGEST_OBSERVED = 12_500_000


@dataclass(frozen=True, eq=False)
class PointFit:
    """A point estimate and what was found on the way to it.

    Attributes
    ----------
    method : {"em", "map"}
    params : MixtureParams
        Components sorted by mean, then weight.
    counts : Counts
    spec : MixtureSpec or None
        Resolved priors of a MAP; None for maximum likelihood.
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
        k = self.n_components
        return 2 * k if self.mixing == "equal" else 3 * k - 1

    @property
    def optima(self) -> pd.DataFrame:
        """Every distinct stationary point that the starts led to, best first.

        Returns
        -------
        pandas.DataFrame
            Columns log_likelihood, log_density (nats), times_reached (starts that ended there),
            status, and weights, means, dispersions as tuples.
        """
        import pandas as pd

        rows = []
        for optimum in self._optima:
            params = unpack_point(optimum.point)
            rows.append(
                {
                    "log_likelihood": optimum.log_likelihood,
                    "log_density": optimum.log_density,
                    "times_reached": optimum.times_reached,
                    "status": str(optimum.status),
                    **{name: tuple(getattr(params, name).tolist()) for name in PARAMETERS},
                }
            )
        return pd.DataFrame(rows)

    @property
    def entropy(self) -> float:
        """Entropy of the responsibilities in nats, summed over the observations; 0 is certain."""
        table = self.counts.table
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

    def standard_errors(self) -> pd.DataFrame:
        """Tabulate Wald standard errors and 95 % intervals from the observed information.

        Returns
        -------
        pandas.DataFrame
            Indexed by parameter ("weights[0]", ...): estimate, se, lower, upper, flag. ``flag``
            says why a row is not to be used and what to use instead; it is empty where Wald holds.
        """
        import pandas as pd

        errors = self._wald()
        return pd.DataFrame(
            {
                "estimate": errors.estimate.ravel(),
                "se": errors.se.ravel(),
                "lower": errors.lower.ravel(),
                "upper": errors.upper.ravel(),
                "flag": [flag for row in errors.flag for flag in row],
            },
            index=pd.Index(self._parameter_names(), name="parameter"),
        )

    def responsibilities(
        self, values: ArrayLike | None = None, exposure: ArrayLike | None = None
    ) -> Floats:
        """Probability of each component given the count, (n, n_components).

        Without arguments for the rows the fit was made on. Raises as `MixtureParams`, and where
        the fit had exposures but new values come without.
        """
        if values is None:
            if exposure is not None:
                raise ValueError("an exposure was given without values; pass both, or neither.")
            return self.params.responsibilities(self.counts.values, self.counts.exposure)
        if self.counts.has_exposure and exposure is None:
            raise ValueError(
                "the fit was made with exposures, so new values need theirs: pass exposure=..., or "
                "exposure=1 for counts at unit exposure."
            )
        return self.params.responsibilities(values, exposure)

    def predict(
        self, values: ArrayLike | None = None, exposure: ArrayLike | None = None
    ) -> NDArray[np.intp]:
        """Most probable component of each count, (n,); arguments as in `responsibilities`."""
        return np.argmax(self.responsibilities(values, exposure), axis=1)

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
        import xarray as xr

        k, errors, names = self.n_components, self._wald(), self._parameter_names()
        component = {"mixture_component": np.arange(k)}
        sample = {"chain": [0], "draw": [0], **component}
        posterior = xr.Dataset(
            {
                name: (
                    ("chain", "draw", "mixture_component"),
                    getattr(self.params, name)[None, None],
                )
                for name in PARAMETERS
            },
            coords=sample,
            attrs={"sample_dims": ["chain", "draw"], "inference_library": "pmnbmix"},
        )
        fit = xr.Dataset(
            {
                "mean_vector": ("rows", errors.estimate.ravel()),
                "standard_error": ("rows", errors.se.ravel()),
                "covariance_matrix": (("rows", "columns"), errors.covariance),
                "flag": ("rows", np.array([flag for row in errors.flag for flag in row])),
            },
            coords={"rows": names, "columns": names},
        )
        points = np.exp([optimum.point for optimum in self._optima])
        optima = xr.Dataset(
            {
                "log_likelihood": ("optimum", [o.log_likelihood for o in self._optima]),
                "log_density": ("optimum", [o.log_density for o in self._optima]),
                "times_reached": ("optimum", [o.times_reached for o in self._optima]),
                "status": ("optimum", [str(o.status) for o in self._optima]),
                **{
                    name: (("optimum", "mixture_component"), points[:, row])
                    for row, name in enumerate(PARAMETERS)
                },
            },
            coords={"optimum": np.arange(len(self._optima)), **component},
        )
        result = xr.Dataset(
            {
                "success": self.status is not Status.MAX_ITER,
                "message": self.status.sentence,
                "nit": self.n_iter,
                "fun": -self.log_density,
                "log_likelihood": self.log_likelihood,
                "log_density": self.log_density,
            },
            attrs={"method": self.method, "status": str(self.status), "mixing": self.mixing},
        )
        groups = {"posterior": posterior}
        if self.counts.n <= _LARGEST_OBSERVED:
            values = np.repeat(self.counts.values, self.counts.frequency)
            groups["observed_data"] = xr.Dataset({self.counts.variable: ("obs", values)})
        groups |= {"fit": fit, "optima": optima, "optimizer_result": result}
        tree: xr.DataTree = xr.DataTree.from_dict(groups)
        tree.attrs.update(fingerprint(self.counts))
        return tree

    def _wald(self) -> Wald:
        return wald(self._objective, self._optima[0].point)

    def _parameter_names(self) -> list[str]:
        return [f"{name}[{j}]" for name in PARAMETERS for j in range(self.n_components)]
