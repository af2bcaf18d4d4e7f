"""Formulas met with covariates: the columns that a part of the model has at each of their patterns.

A formula is read by `pmnbmix.mixture.formula_parser`, which refuses whatever is not in its grammar,
and its arithmetic is computed by `pmnbmix.mixture.formula_terms`. The package formulaic codes
categories so that the columns are independent, and makes splines and polynomials. It evaluates
Python that it finds in a formula, so it is handed terms that are written anew here, of columns
that are named anew: no word of the user's text reaches it but checked numbers and options.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.covariates import as_column, label
from pmnbmix.mixture.formula_parser import parse
from pmnbmix.mixture.formula_terms import CENTRE, Factor, Term

Floats = NDArray[np.float64]
# An error lists this many names of columns or categories.
_LISTED = 20


@dataclass(frozen=True)
class Formula:
    """A formula that was checked.

    Attributes
    ----------
    text : str
        As it was written; "1" is the intercept alone, which every formula has.
    names : tuple of str
        Columns that it uses, in the order of their first use.
    terms : tuple of Term
        Besides the intercept, those of fewer factors first. What ``*``, ``/``, ``**`` and ``-``
        stand for is written out.
    """

    text: str
    names: tuple[str, ...]
    terms: tuple[Term, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str, where: str) -> Formula:
        """Check a formula; nothing of it is evaluated.

        Parameters
        ----------
        text : str
            Columns (in back quotes if their names are not words), ``+ - : * / ** ( )``, and the
            functions ``C I log log1p log2 log10 exp sqrt center scale poly bs cr cs cc``.
        where : str
            What errors call it, such as "mean_formula".

        Raises
        ------
        TypeError
            If it is no text.
        ValueError
            For anything else in it, which the error names: a response, a formula without
            intercept, other functions, attributes, brackets, and text that is too long.
        """
        if not isinstance(text, str):
            raise TypeError(
                f'{where} must be a formula as text, such as "age + C(sex)"; got {text!r}. Write '
                '"1" for the intercept alone.'
            )
        terms, names = parse(text.strip(), where)
        return cls(text.strip() if terms else "1", names, terms)

    @property
    def is_constant(self) -> bool:
        """Whether it is the intercept alone."""
        return not self.terms


@dataclass(frozen=True, eq=False)
class Coding:
    """A formula met with covariates, which codes other rows in the same way.

    Attributes
    ----------
    terms : tuple of str
        Names of the columns of the matrix. The first is "1", the intercept. A column of numbers
        has its own name, arithmetic and transforms have their text (``log(age)``,
        ``bs(age, df=4)[1]``); an indicator names the category that is compared with the first one,
        ``sex[T.m]``, whether or not the formula says ``C(sex)``; interactions are joined by colons.
    numeric : tuple of bool
        Whether the column is a number to be scaled, not made of 0 and 1 only.
    """

    terms: tuple[str, ...]
    numeric: tuple[bool, ...]
    _formula: Formula = field(repr=False)
    _where: str = field(repr=False)
    # Categories of each factor that is coded by indicators, the one they are compared with first.
    _categories: Mapping[Factor, tuple[str, ...]] = field(repr=False)
    # What formulaic remembers; it lives in memory only.
    _spec: Any = field(repr=False)

    def matrix(self, rows: Mapping[str, Any], n_rows: int) -> Floats:
        """Code other rows.

        Parameters
        ----------
        rows : mapping or DataFrame
            Columns by name; those that the formula does not use may be missing.
        n_rows : int

        Returns
        -------
        ndarray, shape (n_rows, n_terms)
            Neither centred nor scaled; the first column is 1.

        Raises
        ------
        ValueError, TypeError
            If a column is missing or of another kind, for missing values, for a category that was
            not there when the formula was coded, and where a function has no finite value.
        """
        if self._formula.is_constant:
            return np.ones((n_rows, 1))
        given = _columns(self._formula, rows, n_rows, self._where)
        cells = {}
        for factor in _factors(self._formula):
            if factor in self._categories:
                column = _labels(given[str(factor.node)])
                cells[factor] = _known(column, self._categories[factor], factor, self._where)
            else:
                cells[factor] = _numbers(factor, given, n_rows, self._where, tell_row=True)
        return _coded(self._spec, cells, self._where, given)[0]


def code(formula: Formula, rows: Mapping[str, Any], where: str) -> tuple[Coding, Floats]:
    """Code the distinct patterns of covariates.

    Splines, polynomials and scales look at the patterns, each once, however often it was seen.

    Parameters
    ----------
    formula : Formula
    rows : mapping
        Columns by name, one entry a pattern.
    where : str
        What errors call the formula.

    Returns
    -------
    coding : Coding
    matrix : ndarray, shape (n_patterns, n_terms)

    Raises
    ------
    ValueError
        If there is no such column (the text names those near it), if arithmetic meets text, if a
        column has one category only, or where a function has no finite value.
    """
    n_rows = len(next(iter(rows.values()))) if len(rows) else 1
    if formula.is_constant:
        return Coding(("1",), (False,), formula, where, {}, None), np.ones((n_rows, 1))
    given = _columns(formula, rows, n_rows, where)
    categories, cells = {}, {}
    for factor in _factors(formula):
        is_text = factor.kind == "column" and not isinstance(given[str(factor.node)], np.ndarray)
        if is_text or factor.kind == "categories":
            column = _labels(given[str(factor.node)])
            categories[factor] = _ordered(column, factor, where)
            cells[factor] = _known(column, categories[factor], factor, where)
        else:
            cells[factor] = _numbers(factor, given, n_rows, where, tell_row=False)
    matrix, spec, terms = _coded(formula, cells, where, given)
    twice = [name for name in terms if terms.count(name) > 1]
    if twice:
        raise ValueError(
            f"{where}: two columns would be called {twice[0]!r}. Write the column in one way only, "
            f"as {twice[0].split('[')[0]!r} or with C(...)."
        )
    numeric = ~((matrix == 0.0) | (matrix == 1.0)).all(axis=0)
    return Coding(terms, tuple(numeric.tolist()), formula, where, categories, spec), matrix


def _factors(formula: Formula) -> list[Factor]:
    return list(dict.fromkeys(factor for term in formula.terms for factor in term))


def refuse_unknown(formula: Formula, rows: Mapping[str, Any], where: str) -> None:
    """Refuse a formula with a column that is not there; the text names those near it.

    Raises
    ------
    ValueError
    """
    names = list(rows)
    for name in formula.names:
        if name in names:
            continue
        folded = {str(other).casefold(): str(other) for other in names}
        near = difflib.get_close_matches(name.casefold(), folded, n=3)
        hint = f" Near it: {', '.join(repr(folded[one]) for one in near)}." if near else ""
        there = f"Columns there are: {_listed(names)}" if names else "There are no covariates"
        raise ValueError(
            f"{where}: there is no column {name!r}.{hint} {there}. Pass it with the covariates, or "
            "write another formula."
        )


def _columns(formula: Formula, rows: Mapping[str, Any], n_rows: int, where: str) -> dict[str, Any]:
    """Columns that a formula uses, checked."""
    refuse_unknown(formula, rows, where)
    return {name: as_column(rows[name], f"covariate {name!r}", n_rows) for name in formula.names}


def _listed(names: Any) -> str:
    names = list(names)
    more = f", ... ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(map(repr, names[:_LISTED])) + more


def _numbers(
    factor: Factor, given: Mapping[str, Any], n_rows: int, where: str, *, tell_row: bool
) -> Floats:
    """What a factor of numbers is, or is computed from, in each row."""

    def column(name: str) -> Floats:
        cells = given[name]
        if not isinstance(cells, np.ndarray):
            raise ValueError(
                f"{where}: {factor.label} needs numbers, and column {name!r} holds text, such as "
                f"{cells[0]!r}. Pass numbers, or let the formula take its categories: {name!r} "
                "alone."
            )
        return cells.astype(np.float64)

    numbers = np.broadcast_to(factor.node.evaluate(column), (n_rows,))
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        row = bad[0]
        names = dict.fromkeys(factor.node.columns())
        values = ", ".join(f"{name} = {given[name][row].item()!r}" for name in names)
        place = f" in row {row}" if tell_row else ""
        raise ValueError(
            f"{where}: {factor.label} is {numbers[row]} where {values}{place}. Leave such rows "
            "out, or write what is finite there, such as log1p(x) in place of log(x)."
        )
    return numbers


def _labels(column: Any) -> Any:
    """Any column as categories: numbers in their order, and false before true."""
    import pandas as pd

    if not isinstance(column, np.ndarray):
        return column
    codes, values = pd.factorize(column, sort=True)
    return pd.Categorical.from_codes(codes, categories=pd.Index([label(value) for value in values]))


def _ordered(column: Any, factor: Factor, where: str) -> tuple[str, ...]:
    """Categories that occur, the one that the others are compared with first."""
    name, options = str(factor.node), dict(factor.options)
    used = list(column.remove_unused_categories().categories)
    if len(used) == 1:
        raise ValueError(
            f"{where}: column {name!r} is {used[0]!r} in every row, so it has no effect that could "
            "be estimated. Leave it out of the formula."
        )
    if "levels" in options:
        stated = [label(level) for level in options["levels"]]  # type: ignore[union-attr]
        left_out = [category for category in used if category not in stated]
        if left_out or len(set(stated)) < len(stated):
            raise ValueError(
                f"{where}: levels of column {name!r} must name each category once; got "
                f"{_listed(stated)}, and the categories are {_listed(used)}."
            )
        used = [category for category in stated if category in used]
    if "base" in options:
        base = label(options["base"])
        if base not in used:
            raise ValueError(
                f"{where}: column {name!r} has no category {base!r} to compare with. Its "
                f"categories are {_listed(used)}."
            )
        used = [base, *(category for category in used if category != base)]
    return tuple(used)


def _known(column: Any, categories: tuple[str, ...], factor: Factor, where: str) -> Any:
    """A column with the categories that are known; formulaic takes others for the first."""
    known = column.set_categories(categories)
    unknown = np.flatnonzero(known.codes < 0)
    if unknown.size:
        row = unknown[0]
        raise ValueError(
            f"{where}: column {factor.node!s} has the category {column[row]!r} in row {row}, which "
            f"was not there when the model was fitted. Its categories are {_listed(categories)}."
        )
    return known


def _coded(
    terms: Any, cells: dict[Factor, Any], where: str, given: Mapping[str, Any]
) -> tuple[Floats, Any, tuple[str, ...]]:
    """Matrix of a formula, or of what formulaic remembers of one, with that and its terms."""
    import pandas as pd
    from formulaic import Formula as TermsOfFormulaic
    from formulaic import ModelSpec

    factors = list(cells)
    stem = "x"
    # The names of the columns are found again in what formulaic makes of them, so that no
    # category may look like one.
    said = [category for column in cells.values() for category in getattr(column, "categories", ())]
    while any(f"_{stem}" in category for category in said):
        stem += "x"
    alias = {factor: f"_{stem}{j}_" for j, factor in enumerate(factors)}

    def named(text: str) -> str:
        def word(found: re.Match[str]) -> str:
            factor = factors[int(found[1])]
            return str(factor.node) if factor.kind == "transform" else factor.label

        return re.sub(rf"_{stem}(\d+)_", word, text.replace(f", {CENTRE}", ""))

    if isinstance(terms, Formula):
        written = [
            ":".join(factor.written(alias[factor]) for factor in term) for term in terms.terms
        ]
        terms = ModelSpec.from_spec(
            TermsOfFormulaic(["1", *written]), na_action="ignore", output="numpy"
        )
    frame = pd.DataFrame({alias[factor]: column for factor, column in cells.items()})
    try:
        with np.errstate(all="ignore"):
            made = terms.get_model_matrix(frame)
    # Transforms of formulaic raise errors of many classes.
    except Exception as error:
        raise ValueError(f"{where}: {named(str(error)).rstrip('.')}.") from None
    matrix = np.ascontiguousarray(made, dtype=np.float64)
    names = tuple(
        "1" if name == "Intercept" else named(name) for name in made.model_spec.column_names
    )
    bad = np.argwhere(~np.isfinite(matrix))
    if bad.size:
        row, column = bad[0]
        values = ", ".join(f"{name} = {_plain(cells[row])}" for name, cells in given.items())
        raise ValueError(
            f"{where}: {names[column]} has no finite value where {values}. A column of one value "
            "only can be neither scaled nor bent; otherwise write another formula."
        )
    return matrix, made.model_spec, names


def _plain(cell: Any) -> str:
    return repr(cell.item() if isinstance(cell, np.generic) else cell)
