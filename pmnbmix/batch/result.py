"""What `fit_columns` returns: a Dataset of columns by components that can be handed on."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pmnbmix.batch.fitting import FAILED, FAULTS, PER_COLUMN, PER_COMPONENT, WORDS, Results
from pmnbmix.batch.sources import open_source
from pmnbmix.data.counts import as_exposure
from pmnbmix.mixture.params import PARAMETERS, MixtureParams
from pmnbmix.point.optima import Status

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "nb"
_INTEGERS = ("n_components", "times_reached", "n_starts")
_EXPECTED = {
    "missing": "counts cannot be missing: drop or fill them",
    "infinite": "counts are finite",
    "negative": "counts are whole numbers from 0 up; is this a matrix of scaled values?",
    "fractional": "counts are whole numbers from 0 up; is this a normalised matrix?",
    "too-large": "counts above 2**53 cannot be told apart as floats",
}


class ColumnFits(xr.Dataset):  # type: ignore[no-untyped-call]
    """Mixtures of many columns, one a column: a Dataset with ways to hand it on.

    Dimensions are ``column``, ``mixture_component`` (sorted by mean; NaN beyond ``n_components``)
    and ``candidate`` (numbers of components that were tried).

    Variables of (column, mixture_component): ``weights``, ``means`` (counts per unit exposure),
    ``dispersions``, their Wald standard errors ``weights_se``, ``means_se``, ``dispersions_se``
    (infinite where the data do not determine the parameter, a dispersion of 0 among them),
    ``separation`` (how much better than chance observations are assigned to the component, 1 is
    without doubt) and ``overlap`` (share of its observations that the nearest other claims).

    Variables of (column,): ``n_components``, ``log_likelihood``, ``aic``, ``bic``, ``icl`` and
    ``entropy`` (nats), ``status`` (the most serious) and ``statuses`` (all that hold, divided by
    commas), ``reason`` (why a column could not be fitted), ``times_reached`` (how many of the
    ``n_starts`` starts that were run led to the best optimum). ``candidate_criterion`` (column,
    candidate) is what the number of components was chosen by.
    """

    __slots__ = ()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ColumnFits:
        """Read fits that `fit_columns` wrote to ``out``, finished or not.

        Raises
        ------
        TypeError, ValueError
            Where there is no such folder, or it holds no fits.
        """
        from pmnbmix.batch.store import read_fits

        return read_fits(path)

    def params(self, column: Hashable) -> MixtureParams:
        """Parameters of one column, by name; raises KeyError, or ValueError if it has no fit."""
        one = self.sel(column=column)
        if one["status"].ndim:
            raise ValueError(
                f"{one.sizes['column']} columns are called {column!r}. Use .isel(column=index)."
            )
        k = int(one["n_components"])
        if k == 0:
            raise ValueError(
                f"column {column!r} has no fit: its status is {one['status'].item()!r}. "
                f"{one['reason'].item()}"
            )
        return MixtureParams(*(one[name].to_numpy()[:k] for name in PARAMETERS))

    def responsibilities(
        self,
        matrix: Any,
        columns: Sequence[Hashable],
        exposure: ArrayLike | str | None = None,
        *,
        layer: str | None = None,
    ) -> xr.DataArray:
        """Probability of each component given the counts, for chosen columns.

        Parameters
        ----------
        matrix
            The container that was fitted, or new observations of the same columns.
        columns : sequence
            Names of columns.
        exposure : array_like, shape (n,), or str, optional
            As in `fit_columns`; needed where the fit was made with exposures.
        layer : str, optional
            Layer of an AnnData.

        Returns
        -------
        DataArray
            Of (obs, column, mixture_component); NaN beyond the components of a column.

        Raises
        ------
        KeyError, TypeError, ValueError
            For a column that does not exist or has no fit, counts that are none, and exposures
            that are missing or of another length.
        """
        if isinstance(columns, str) or not isinstance(columns, Sequence | np.ndarray):
            raise TypeError(f"columns must be a list of names; got {columns!r}.")
        source = open_source(matrix, layer)
        if source.names.size != self.sizes["column"]:
            raise ValueError(
                f"matrix has {source.names.size} columns but {self.sizes['column']} were fitted."
            )
        if self.attrs["has_exposure"] and exposure is None:
            raise ValueError(
                "the fits were made with exposures: pass exposure=..., or exposure=1 for counts "
                "at unit exposure."
            )
        checked = as_exposure(exposure_of(matrix, exposure), source.n)
        chosen = [(name, self.params(name)) for name in columns]
        index = {name: at for at, name in enumerate(self["column"].to_numpy().tolist())}
        held = np.full((source.n, len(chosen), self.sizes["mixture_component"]), np.nan)
        for at, (name, params) in enumerate(chosen):
            position = index[name]
            block = next(iter(source.blocks([(position, position + 1)])))
            counts = np.zeros(source.n)
            counts[block.rows] = block.values
            held[:, at, : params.n_components] = params.responsibilities(counts, checked)
        return xr.DataArray(
            held,
            dims=("obs", "column", "mixture_component"),
            coords={"column": list(columns)},
            name="responsibilities",
        )

    def to_frame(self) -> pd.DataFrame:
        """Tabulate one row a column; what belongs to a component is numbered, "means[0]"."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: self[name].to_numpy()
            for name in ("status", "statuses", "reason", *_INTEGERS, *PER_COLUMN)
        }
        for name in PER_COMPONENT:
            for j in range(self.sizes["mixture_component"]):
                columns[f"{name}[{j}]"] = self[name].to_numpy()[:, j]
        return pd.DataFrame(columns, index=pd.Index(self["column"].to_numpy(), name="column"))

    def to_anndata(self, adata: Any, key_added: str = PREFIX) -> None:
        """Write the fits to an AnnData: numbers by gene to .var, those by component to .varm.

        Parameters
        ----------
        adata : AnnData
            With the genes that were fitted, in the same order. Changed in place.
        key_added : str
            Prefix of the names: "nb" writes .var["nb_status"] and .varm["nb_means"].

        Raises
        ------
        TypeError, ValueError
            For something that is no AnnData, and where its genes are others.
        """
        if not hasattr(adata, "varm") or not hasattr(adata, "var_names"):
            raise TypeError(f"adata must be an AnnData; got {type(adata).__name__}.")
        names = adata.var_names.to_numpy(dtype=str)
        own = self["column"].to_numpy().astype(str)
        if names.size != own.size or (names != own).any():
            raise ValueError(
                f"the AnnData has {names.size} genes, the fits have {own.size}, and they must be "
                "the same in the same order. Pass the AnnData that was fitted."
            )
        for name in ("status", "statuses", "reason", *_INTEGERS, *PER_COLUMN):
            adata.var[f"{key_added}_{name}"] = self[name].to_numpy()
        for name in PER_COMPONENT:
            adata.varm[f"{key_added}_{name}"] = self[name].to_numpy()


def exposure_of(matrix: Any, exposure: ArrayLike | str | None) -> ArrayLike | None:
    """Exposures, where they are a column of the observations of an AnnData."""
    if not isinstance(exposure, str):
        return exposure
    if not hasattr(matrix, "obs"):
        raise TypeError(
            f"exposure={exposure!r} names a column of .obs of an AnnData, but matrix is a "
            f"{type(matrix).__name__}. Pass the numbers."
        )
    if exposure not in matrix.obs:
        listed = ", ".join(repr(name) for name in matrix.obs.columns) or "none"
        raise ValueError(f"there is no column {exposure!r} in .obs; it has {listed}.")
    numbers: NDArray[Any] = matrix.obs[exposure].to_numpy()
    return numbers


def as_fits(results: Results, names: NDArray[Any], attrs: dict[str, Any]) -> ColumnFits:
    """Label the numbers of all columns."""
    bits = results["statuses"].astype(np.int64)
    statuses = {int(code): _words(int(code)) for code in np.unique(bits)}
    listed = [statuses[int(code)] for code in bits]
    data: dict[str, Any] = {
        name: (("column", "mixture_component"), results[name]) for name in PER_COMPONENT
    }
    data |= {name: ("column", results[name]) for name in (*PER_COLUMN, *_INTEGERS)}
    data["candidate_criterion"] = (("column", "candidate"), results["candidate_criterion"])
    data["status"] = ("column", np.array([words[-1] for words in listed], dtype=np.str_))
    data["statuses"] = ("column", np.array([", ".join(words) for words in listed], dtype=np.str_))
    reasons = [
        _reason(words[-1], int(row), float(value))
        for words, row, value in zip(
            listed, results["fault_row"], results["fault_value"], strict=True
        )
    ]
    data["reason"] = ("column", np.array(reasons, dtype=np.str_))
    coords = {
        "column": names,
        "mixture_component": np.arange(results["weights"].shape[1]),
        "candidate": attrs["candidates"],
    }
    return ColumnFits(data, coords=coords, attrs=attrs)


def _words(bits: int) -> list[str]:
    held = [word for at, word in enumerate(WORDS) if bits >> at & 1]
    return held or [str(Status.CONVERGED)]


def _reason(word: str, row: int, value: float) -> str:
    if word == FAILED:
        return "The fit gave no finite numbers; try fit_em on this column."
    if word not in FAULTS:
        return ""
    found = f"{value:g}" if word != "missing" else "no number"
    return f"Row {row} (from 0) has {found}; {_EXPECTED[word]}."
