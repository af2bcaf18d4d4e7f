"""A specification met with counts: what EM, NUTS, leave-one-out and bootstrap all work on."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pmnbmix.data.counts import Counts
from pmnbmix.data.covariates import distinct_rows
from pmnbmix.data.table import CountTable, collapse
from pmnbmix.mixture.design import Design
from pmnbmix.mixture.formulas import Formula, refuse_unknown
from pmnbmix.mixture.levels import Rows, rows_of
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.regressors import Regressors, formula_name
from pmnbmix.mixture.spec import MixtureSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Problem:
    """The rows to fit, the terms of the model, and the priors with their numbers.

    Attributes
    ----------
    spec : MixtureSpec
        Resolved.
    table : CountTable
    design : Design
        Its centre, scale and levels stay what they are when the table is replaced.
    regressors : Regressors or None
        How covariates become the matrices of the design; None if nothing follows covariates.
    """

    spec: MixtureSpec
    table: CountTable
    design: Design
    regressors: Regressors | None = None

    @classmethod
    def of(cls, counts: Counts, spec: MixtureSpec) -> Problem:
        """Resolve the specification against the counts, and lay out its terms.

        Rows are collapsed by the covariates that its formulas use.

        Raises
        ------
        ValueError
            If a formula names a column that is not there, or its columns do not determine their
            coefficients, and for subjects and counts that are not exact.
        """
        resolved = spec.resolve(counts)
        counts.refuse_observed("the fit")
        if spec.is_plain:
            return cls(resolved, counts.table, Design.of(spec.n_components))
        formulas, covariates = _formulas(spec), counts.covariates or {}
        for part, stated in formulas.items():
            for formula, shared in stated:
                refuse_unknown(formula, covariates, formula_name(part, shared))
        names = list(
            dict.fromkeys(n for stated in formulas.values() for f, _ in stated for n in f.names)
        )
        if not names:
            design = Design.of(spec.n_components, families=spec.families)
            return cls(resolved, counts.table, design)
        _notice_exposure(counts, names)
        rows, level = distinct_rows(covariates, names, counts.values.size, counts.frequency > 0)
        table, _ = collapse(counts.values, counts.exposure, counts.frequency, level)
        n_levels = int(level.max()) + 1
        shares = np.bincount(table.level, table.frequency, n_levels) / table.n
        regressors = Regressors.of(formulas, rows, n_levels, shares)
        design = Design.of(
            spec.n_components,
            regressors.weights,
            regressors.means,
            regressors.dispersions,
            spec.families,
        )
        return cls(resolved, table, design, regressors)

    def on(self, table: CountTable) -> Problem:
        """Return the same problem on other rows, for refits and squashed tables."""
        return dataclasses.replace(self, table=table)

    def of_levels_seen(self) -> Problem:
        """Return the same problem without the levels that no row has, for few of many rows."""
        seen, level = np.unique(self.table.level, return_inverse=True)
        table = dataclasses.replace(self.table, level=level)
        parts = {
            name: dataclasses.replace(part, matrix=np.ascontiguousarray(part.matrix[seen]))
            for name in ("weights", "means", "dispersions")
            if len((part := getattr(self.design, name)).matrix) > 1
        }
        return dataclasses.replace(
            self, table=table, design=dataclasses.replace(self.design, **parts)
        )

    @cached_property
    def rows(self) -> Rows:
        """The table as compiled code reads it."""
        return rows_of(self.table)

    def prior(self, exponent: float) -> Prior:
        """Return the priors as compiled code reads them, with this exponent of the weights."""
        design = self.design
        parts = (design.weights, design.means, design.dispersions)
        slopes = self.spec.slopes
        loc = np.full(design.free.shape, float(slopes.loc))
        precision = np.full(design.free.shape, slopes.scale**-2)
        loc[0] = precision[0] = 0.0
        first = len(design.weights.terms)
        for part, stated in zip(
            parts[1:], (self.spec.log_means, self.spec.log_dispersions), strict=True
        ):
            loc[first], precision[first] = float(stated.loc), stated.scale**-2
            first += len(part.terms)
        # A shared coefficient is counted in the column of every component where it moves.
        shared = np.concatenate([part.shared for part in parts])
        moves = np.isnan(design.pinned)
        precision[shared] /= np.maximum(moves[shared].sum(axis=1, keepdims=True), 1)
        precision[~moves] = 0.0
        return Prior(float(exponent), loc, precision)

    def flat_prior(self) -> Prior:
        """Return no prior at all, for maximum likelihood."""
        shape = self.design.free.shape
        return Prior(0.0, np.zeros(shape), np.zeros(shape))


def _notice_exposure(counts: Counts, names: list[str]) -> None:
    """Say of a covariate that it is the exposure, or its logarithm, which counts follow anyway."""
    covariates = counts.covariates or {}
    kinds = {"exposure": counts.exposure, "logarithm of the exposure": np.log(counts.exposure)}
    for name in names:
        column = covariates[name]
        for what, exposure in kinds.items():
            numbers = counts.has_exposure and isinstance(column, np.ndarray)
            if numbers and np.array_equal(column, exposure):
                _log.warning(
                    "covariate %r is the %s: its coefficient says how far expected counts are from "
                    "being in proportion to the exposure",
                    name,
                    what,
                )


def _formulas(spec: MixtureSpec) -> dict[str, tuple[tuple[Formula, bool], ...]]:
    """Formulas of each part, and whether their coefficients are shared by the components."""
    parts = {"weights": (False,), "means": (False, True), "dispersions": (False,)}
    return {
        part: tuple(
            (Formula.parse(getattr(spec, name), name), shared)
            for shared in kinds
            for name in (formula_name(part, shared),)
        )
        for part, kinds in parts.items()
    }
