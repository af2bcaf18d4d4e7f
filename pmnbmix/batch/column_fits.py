"""What `fit_columns` returns: a Dataset of columns by components that can be handed on."""

from __future__ import annotations

import difflib
import os
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pmnbmix.batch.fitting import FAILED, FAULTS, PER_COLUMN, PER_COMPONENT, WORDS, Results
from pmnbmix.batch.sources import Source, column_of, open_source
from pmnbmix.batch.store import read_store
from pmnbmix.data.checks import as_exposure, refuse_other_order
from pmnbmix.mixture.params import PARAMETERS, MixtureParams
from pmnbmix.point.optima import Status

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "nb"
_INTEGERS = ("n_components", "times_reached", "n_starts")
_EXPECTED = {
    "missing": "counts cannot be missing: drop or fill them.",
    "infinite": "counts are finite.",
    "negative": "counts are whole numbers from 0 up; is this a matrix of scaled values?",
    "fractional": "counts are whole numbers from 0 up; is this a normalised matrix?",
    "too-large": "counts above 2**53 cannot be told apart as floats.",
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

    Examples
    --------
    >>> import anndata
    >>> import pandas as pd
    >>> import pmnbmix as nb
    >>> truth = nb.MixtureParams([0.6, 0.4], [2.0, 30.0], [0.2, 0.1])
    >>> genes = pd.DataFrame({"a": truth.sample(300, random_seed=1)[0], "b": 0.5})
    >>> fits = nb.fit_columns(genes, out="fits", n_jobs=1, progressbar=False)
    >>> fits.to_frame()["status"].to_list()
    ['converged', 'fractional']
    >>> fits = nb.ColumnFits.read("fits")
    >>> fits.params("a").means.round(), fits.sel(column="b")["reason"].item()[:18]
    (array([ 2., 30.]), 'Row 0 (from 0) has')
    >>> fits.responsibilities(genes.head(3), ["a"]).sel(column="a").round(2).to_numpy()
    array([[1., 0.],
           [0., 1.],
           [1., 0.]])
    >>> adata = anndata.AnnData(var=genes.T[[]])
    >>> fits.to_anndata(adata)
    >>> adata.var["nb_n_components"].to_list()
    [2, 0]
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
        return as_fits(*read_store(path))

    def params(self, column: Hashable) -> MixtureParams:
        """Parameters of one column, by name; raises ValueError if it has no fit."""
        return _params_at(self._columns(), self._position(column), column)

    def _columns(self) -> ColumnFits:
        """These fits with their dimension, which selecting one column takes away."""
        return self if "column" in self.dims else self.expand_dims("column")

    def _position(self, column: Hashable) -> int:
        return _position_of(column, self._columns()["column"].to_numpy(), "fits")

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
            The container that was fitted, or new observations. Columns are found by name; where
            the container has no names, by position.
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
        TypeError, ValueError
            For a column that does not exist or has no fit, counts that are none, and exposures
            that are missing, not called for, or of another length.
        """
        source = open_source(matrix, layer)
        wanted = as_names(columns)
        fits = self._columns()
        if self.attrs["has_exposure"] and exposure is None:
            raise ValueError(
                "the fits were made with exposures: pass exposure=..., or exposure=1 for counts "
                "at unit exposure."
            )
        if exposure is not None and not self.attrs["has_exposure"]:
            raise ValueError("the fits were made without exposures: leave exposure out.")
        checked = as_exposure(exposure_of(matrix, exposure), source.n)
        own = fits["column"].to_numpy()
        chosen = [(name, fits.params(name), _place_in(source, own, name)) for name in wanted]
        held = np.full((source.n, len(chosen), fits.sizes["mixture_component"]), np.nan)
        for at, (name, params, position) in enumerate(chosen):
            counts = column_of(source, position)
            try:
                held[:, at, : params.n_components] = params.responsibilities(counts, checked)
            except ValueError as error:
                raise ValueError(f"column {name!r}: {error}") from None
        return xr.DataArray(
            held,
            dims=("obs", "column", "mixture_component"),
            coords={"column": wanted, "mixture_component": fits["mixture_component"].to_numpy()},
            name="responsibilities",
        )

    def to_frame(self) -> pd.DataFrame:
        """Tabulate one row a column; what belongs to a component is numbered, "means[0]"."""
        import pandas as pd

        fits = self._columns()
        columns: dict[str, Any] = {
            name: fits[name].to_numpy()
            for name in ("status", "statuses", "reason", *_INTEGERS, *PER_COLUMN)
        }
        for name in PER_COMPONENT:
            for j in range(fits.sizes["mixture_component"]):
                columns[f"{name}[{j}]"] = fits[name].to_numpy()[:, j]
        return pd.DataFrame(columns, index=pd.Index(fits["column"].to_numpy(), name="column"))

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
    """Exposures, which may be a column of the observations of an AnnData."""
    if not isinstance(exposure, str):
        refuse_other_order(matrix, exposure, "exposure")
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


def as_names(columns: Any) -> list[Any]:
    """Check a list of names of columns."""
    if isinstance(columns, str | bytes) or not hasattr(columns, "__iter__"):
        raise TypeError(f"columns must be a list of names; got {columns!r}.")
    names = [name.item() if isinstance(name, np.generic) else name for name in columns]
    for name in names:
        if not isinstance(name, Hashable):
            raise TypeError(f"columns must be a list of names; got {name!r} in it.")
    return names


def _position_of(column: Hashable, names: NDArray[Any], where: str) -> int:
    found = [at for at, name in enumerate(names.tolist()) if name == column]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{len(found)} columns of the {where} are called {column!r}. Make the names unique."
        )
    close = difflib.get_close_matches(str(column), names.astype(str).tolist(), 3)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise ValueError(f"there is no column {column!r} among the {names.size} of the {where}.{hint}")


def _place_in(source: Source, own: NDArray[Any], column: Any) -> int:
    """Where a fitted column is in a matrix: by name, by position where there are no names."""
    numbered = source.names.dtype.kind in "iu"
    if numbered and own.dtype.kind in "iu":
        if 0 <= column < source.names.size:
            return int(column)
        raise ValueError(f"there is no column {column!r} in a matrix of {source.names.size}.")
    if numbered or own.dtype.kind in "iu":
        if source.names.size != own.size:
            raise ValueError(
                f"matrix has {source.names.size} columns but {own.size} were fitted, and there are "
                "no names to find them by."
            )
        return _position_of(column, own, "fits")
    return _position_of(column, source.names, "matrix")


def _params_at(fits: ColumnFits, position: int, column: Hashable) -> MixtureParams:
    one = fits.isel(column=position)
    k = int(one["n_components"])
    if k == 0:
        raise ValueError(
            f"column {column!r} has no fit: its status is {one['status'].item()!r}. "
            f"{one['reason'].item()}"
        )
    return MixtureParams(*(one[name].to_numpy()[:k] for name in PARAMETERS))


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
    return f"Row {row} (from 0) has {found}; {_EXPECTED[word]}"
