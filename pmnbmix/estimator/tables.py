"""Tables, exposures and frequencies as scikit-learn hands them over; errors in its words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from pmnbmix.data.checks import as_array, as_exposure, as_frequency

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def as_table(X: Any, whose: str) -> NDArray[Any]:
    """Check that ``X`` is a dense table (n, n_features) with no missing or infinite number.

    Raises
    ------
    TypeError
        For a sparse matrix.
    ValueError
        For another shape, no row or column, complex, missing and infinite numbers.
    """
    if sparse.issparse(X):
        raise TypeError(
            f"Sparse data was passed for X ({type(X).__name__}), but {whose} needs dense columns. "
            "Use X.toarray()."
        )
    try:
        table = X if np.ma.isMaskedArray(X) else np.asarray(X)
    except ValueError:
        raise ValueError(
            "X must have shape (n, n_features); its rows have different lengths. Reshape your data."
        ) from None
    if table.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {table.ndim}D array instead (shape={table.shape}). "
            "Reshape your data to columns: X.reshape(-1, 1), or X.to_frame() in pandas."
        )
    for size, thing in zip(table.shape, ("sample(s)", "feature(s)"), strict=True):
        if size == 0:
            raise ValueError(
                f"Found array with 0 {thing} (shape={table.shape}) while a minimum of 1 is "
                "required. Pass at least one column and one row."
            )
    if table.dtype.kind == "c":
        raise ValueError("Complex data not supported: pass the real part of X.")
    if table.dtype.kind in "iuf":
        refuse_entries(np.isnan(table), table, "Input X contains NaN", "Drop these rows first.")
        refuse_entries(
            np.isinf(table), table, "Input X contains infinity", "Drop these rows first."
        )
    return np.asanyarray(table)


def refuse_entries(wrong: NDArray[np.bool_], table: NDArray[Any], text: str, advice: str) -> None:
    """Refuse a table with wrong entries; the text has the first of them and its place."""
    where = np.argwhere(np.asarray(wrong))
    if where.size:
        row, column = where[0].tolist()
        raise ValueError(
            f"{text}: {len(where)} in all, the first is {table[row, column].item()!r} at row "
            f"{row}, column {column}. {advice}"
        )


def checked_exposure(exposure: ArrayLike, rows: int, whose: str) -> Floats:
    """Check an exposure, one entry a row or one for all."""
    _check_length(exposure, rows, "exposure", whose)
    return as_exposure(exposure, rows)


def checked_frequency(sample_weight: ArrayLike | None, rows: int) -> Integers | None:
    """Check frequencies; at least one row was seen."""
    if sample_weight is None:
        return None
    times = as_frequency(sample_weight, "sample_weight")
    _check_length(times, rows, "sample_weight", f"X has {rows} rows")
    if not times.any():
        raise ValueError(
            "every sample_weight is zero, so no observation is left. Check the weights, or leave "
            "them out."
        )
    return times


def _check_length(data: ArrayLike, rows: int, argument: str, whose: str) -> None:
    if as_array(data, argument).ndim == 1 and np.size(data) != rows:
        raise ValueError(
            f"{argument} has {np.size(data)} entries but {whose}. Both must come from the same "
            "rows."
        )
