"""From formulas to the parts of a design: the covariates of these rows, and of new ones.

Columns are centred at their mean over the observations, so that an intercept is the value at the
centre, where priors are stated. Numbers are divided by their standard deviation; 0/1 columns are
not: a rare category would get a prior much wider than that of a common one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from pmnbmix.mixture.design import Part
from pmnbmix.mixture.formulas import Coding, Formula, code
from pmnbmix.mixture.levels import Terms

Floats = NDArray[np.float64]

# Columns that are this close to a combination of others, relatively, are made up of them.
_DEPENDENT = 1e-10
# An error lists at most this many columns.
_LISTED = 8


@dataclass(frozen=True, eq=False)
class Regressors:
    """The covariates of a model: how their columns are made, and the parts for the rows fitted.

    Attributes
    ----------
    weights, means, dispersions : Part
        At the levels of the table.
    names : tuple of str
        Covariates that some formula uses.
    """

    weights: Part
    means: Part
    dispersions: Part
    names: tuple[str, ...]
    _codings: tuple[tuple[Coding, ...], ...]

    @classmethod
    def of(
        cls,
        formulas: Mapping[str, tuple[tuple[Formula, bool], ...]],
        rows: Mapping[str, Any],
        n_levels: int,
        shares: Floats,
    ) -> Regressors:
        """Evaluate formulas on the distinct rows of covariates.

        Parameters
        ----------
        formulas : mapping
            For "weights", "means" and "dispersions", each formula and whether its coefficients
            are shared by the components.
        rows : mapping
            Columns of the covariates, one entry a level.
        n_levels : int
        shares : ndarray, shape (n_levels,)
            Share of the observations at each level.

        Raises
        ------
        ValueError
            If a column is constant or made up of others, or a term is both own and shared.
        """
        parts, codings = {}, []
        for part, stated in formulas.items():
            made = [
                (formula, shared, *code(formula, rows, formula_name(part, shared)))
                for formula, shared in stated
                if not formula.is_constant
            ]
            codings.append(tuple(coding for _, _, coding, _ in made))
            parts[part] = _part(part, [(s, c, m) for _, s, c, m in made], n_levels, shares)
        names = [
            name for stated in formulas.values() for formula, _ in stated for name in formula.names
        ]
        return cls(
            parts["weights"],
            parts["means"],
            parts["dispersions"],
            tuple(dict.fromkeys(names)),
            tuple(codings),
        )

    def terms_at(self, rows: Mapping[str, Any], n_rows: int) -> Terms:
        """Terms at new rows of covariates, as compiled code reads them.

        Raises
        ------
        ValueError
            For a column that is missing or has missing values, and a category that was not there
            when the model was fitted.
        """
        matrices = []
        for part, codings in zip(
            (self.weights, self.means, self.dispersions), self._codings, strict=True
        ):
            if part.centre is None or part.scale is None:
                matrices.append(np.ones((1, 1)))
                continue
            columns = [coding.matrix(rows, n_rows)[:, 1:] for coding in codings]
            given = np.column_stack([np.ones(n_rows), *columns])
            matrices.append(np.ascontiguousarray((given - part.centre) / part.scale))
        return Terms(*matrices)


def formula_name(part: str, shared: bool) -> str:
    """Name of the formula of a part, as `MixtureSpec` has it."""
    return "shared_formula" if shared else f"{part[:-1]}_formula"


def _part(
    part: str, made: list[tuple[bool, Coding, Floats]], n_levels: int, shares: Floats
) -> Part:
    """Part whose columns are those of its codings, centred and scaled."""
    if not made:
        return Part()
    terms, shared, numeric = ["1"], [False], [False]
    columns = [np.ones((n_levels, 1))]
    for is_shared, coding, matrix in made:
        for term, is_number in zip(coding.terms[1:], coding.numeric[1:], strict=True):
            if term in terms:
                raise ValueError(
                    f"the term {term!r} is in mean_formula and in shared_formula: its coefficient "
                    "cannot be own and shared at once. Leave it out of one of them."
                )
            terms.append(term)
            shared.append(is_shared)
            numeric.append(is_number)
        columns.append(matrix[:, 1:])
    given = np.column_stack(columns)
    centre = shares @ given
    centre[0] = 0.0
    spread = np.sqrt(shares @ (given - centre) ** 2)
    where = " and ".join(dict.fromkeys(formula_name(part, is_shared) for is_shared, _, _ in made))
    _refuse_constant(terms, given, spread, where)
    scale = np.where(numeric, spread, 1.0)
    scale[0] = 1.0
    matrix = np.ascontiguousarray((given - centre) / scale)
    matrix[:, 0] = 1.0
    _refuse_dependent(terms, matrix / np.where(spread > 0, spread / scale, 1.0), shares, where)
    return Part(tuple(terms), matrix, tuple(shared), centre, scale)


def _refuse_constant(terms: list[str], given: Floats, spread: Floats, where: str) -> None:
    for column in range(1, len(terms)):
        largest = float(np.abs(given[:, column]).max())
        if not spread[column] > 1e-12 * largest:
            raise ValueError(
                f"{where}: {terms[column]} is {given[0, column]:g} in every row, so its "
                "coefficient cannot be told from the intercept. Leave it out."
            )


def _refuse_dependent(terms: list[str], matrix: Floats, shares: Floats, where: str) -> None:
    """Refuse columns that others make up; the text names them."""
    weighted = np.sqrt(shares)[:, None] * matrix
    root, order = linalg.qr(weighted, mode="r", pivoting=True)
    diagonal = np.zeros(len(terms))
    found = np.abs(np.diag(root))
    diagonal[: found.size] = found
    dependent = np.flatnonzero(~(diagonal > _DEPENDENT * found[0]))
    if not dependent.size:
        return
    kept = order[: dependent[0]]
    first = int(order[dependent[0]])
    weights = linalg.lstsq(weighted[:, kept], weighted[:, first])[0]
    makers = [terms[i] for i, weight in zip(kept, weights, strict=True) if abs(weight) > 1e-6]
    named = ["the intercept" if term == "1" else term for term in makers]
    made_of = ", ".join(named) if 0 < len(named) <= _LISTED else "the others"
    raise ValueError(
        f"{where} has {len(terms)} columns, but only {dependent[0]} are independent over the "
        f"{matrix.shape[0]} distinct rows of covariates: {terms[first]} follows from {made_of}. "
        f"Leave out {dependent.size} of them."
    )
