"""A specification met with counts: what EM, NUTS, leave-one-out and bootstrap all work on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.mixture.design import Design
from pmnbmix.mixture.levels import Rows, rows_of
from pmnbmix.mixture.priors import Prior
from pmnbmix.mixture.spec import MixtureSpec


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
    """

    spec: MixtureSpec
    table: CountTable
    design: Design

    @classmethod
    def of(cls, counts: Counts, spec: MixtureSpec) -> Problem:
        """Resolve the specification against the counts, and lay out its terms."""
        return cls(spec.resolve(counts), counts.table, Design.of(spec.n_components))

    def on(self, table: CountTable) -> Problem:
        """Return the same problem on other rows, for refits and squashed tables."""
        return dataclasses.replace(self, table=table)

    @cached_property
    def rows(self) -> Rows:
        """The table as compiled code reads it."""
        return rows_of(self.table)

    def prior(self, exponent: float) -> Prior:
        """Return the priors as compiled code reads them, with this exponent of the weights."""
        design = self.design
        parts = (design.weights, design.means, design.dispersions)
        # Covariates are scaled to a spread of about 1, so a slope of 1, a factor of e, is large.
        loc = np.zeros(design.free.shape)
        precision = np.ones(design.free.shape)
        precision[0] = 0.0
        first = len(design.weights.terms)
        for part, stated in zip(
            parts[1:], (self.spec.log_means, self.spec.log_dispersions), strict=True
        ):
            loc[first], precision[first] = float(stated.loc), stated.scale**-2
            first += len(part.terms)
        # A shared coefficient is counted in the column of every component, so its share is 1 / k.
        shared = np.concatenate([part.shared for part in parts])
        precision[shared] /= design.n_components
        precision[~np.isnan(design.pinned)] = 0.0
        return Prior(float(exponent), loc, precision)

    def flat_prior(self) -> Prior:
        """Return no prior at all, for maximum likelihood."""
        shape = self.design.free.shape
        return Prior(0.0, np.zeros(shape), np.zeros(shape))
