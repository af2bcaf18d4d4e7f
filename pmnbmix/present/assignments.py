"""Which component each row of the counts belongs to, with what probability."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.table import CountTable
from pmnbmix.mixture.draws import Draws
from pmnbmix.study import Fitted
from pmnbmix.tree.reading import read

Floats = NDArray[np.float64]

# Probabilities are averaged over so many draws, and written with so many decimals.
_DRAWS = 400
_DECIMALS = 4
# Up to this count it is looked for where one component becomes more likely than another.
_LARGEST = 2000


def mean_responsibilities(draws: Draws, table: CountTable) -> Floats:
    """Probability of each component for each row, averaged over draws, (n_unique, k)."""
    few = draws.thinned(_DRAWS)
    means = np.empty((table.values.size, draws.n_components))
    for rows, held in few.responsibility_blocks(table):
        means[rows] = held.mean(axis=0)
    return means


def are_assignable(fitted: Fitted) -> bool:
    """Whether rows may be given to components: there are several, and chains agree on them."""
    return fitted.n_components > 1 and fitted.diagnosis.components_ok


def assignments(fitted: Fitted, keep: dict[str, Any] | None = None) -> bytes:
    """Table of the rows of the counts, as csv: their components with their probabilities.

    Parameters
    ----------
    fitted : Fitted
        Of which `are_assignable` is true.
    keep : dict, optional
        Columns of identifiers by name, arrays of pyarrow with one entry a row of the counts.

    Returns
    -------
    bytes
        In the order of the rows: the columns kept, count, exposure and frequency where there are
        any, the probability of each component by the posterior, and the most probable one.
    """
    import pyarrow as pa
    from pyarrow import csv

    reading, counts = read(fitted.tree), fitted.em.counts
    nodes = reading.density.nodes
    at_nodes = mean_responsibilities(reading.draws, nodes.table)
    held = np.column_stack([nodes.spread(np.ascontiguousarray(p)) for p in at_nodes.T])
    held = np.clip(held, 0.0, 1.0)
    held = (held / held.sum(axis=1, keepdims=True))[counts.inverse]
    # A row that was never seen stands in no table, so its cells stay empty.
    never = counts.inverse < 0
    columns: dict[str, Any] = {counts.name: counts.values}
    if counts.has_exposure:
        columns["exposure"] = counts.exposure
    if (counts.frequency != 1).any():
        columns["frequency"] = counts.frequency
    for j in range(fitted.n_components):
        columns[f"p_component_{j}"] = pa.array(np.round(held[:, j], _DECIMALS), mask=never)
    columns["component"] = pa.array(held.argmax(axis=1), mask=never)
    table = pa.table({**(keep or {}), **columns})
    with io.BytesIO() as buffer:
        csv.write_csv(table, buffer)
        return buffer.getvalue()


def turning_points(fitted: Fitted) -> str:
    """From which count each component is more likely than the one before, as a sentence.

    Empty if there is none, or if it may not be said; with exposures, at their median.
    """
    if not are_assignable(fitted) or "weak-labels" in fitted.diagnosis.findings:
        return ""
    table = fitted.em.counts.table
    exposure = float(np.median(fitted.em.counts.exposure))
    support = np.arange(min(float(table.values.max()), _LARGEST) + 1.0)
    rows = CountTable.plain(support, np.full(support.size, exposure), np.ones(support.size))
    held = mean_responsibilities(read(fitted.tree).draws, rows)
    parts = []
    for j in range(1, fitted.n_components):
        behind = np.flatnonzero(held[:, j] <= held[:, j - 1])
        start = 0 if not behind.size else int(behind[-1]) + 1
        if 0 < start < support.size:
            parts.append(f"from a count of {start:,} on, component {j} is more likely than {j - 1}")
    if not parts:
        return ""
    at = f"at an exposure of {exposure:.3g}, " if fitted.em.counts.has_exposure else ""
    text = f"{at}{'; '.join(parts)}."
    return f"{text[0].upper()}{text[1:]}"
