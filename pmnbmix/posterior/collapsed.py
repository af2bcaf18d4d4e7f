"""Counts in a pm.Model, and the unique rows that stand for them in its log density.

PyMC wants a log density for every observation. Their sum is that of the unique rows, each times
its frequency, and it is all that a sampler asks for. So the log density of the observations is a
node of its own, `Expanded`, which holds both; whatever sums it gets the sum of the unique rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.tensor.math import Sum
from pytensor.tensor.rewriting.basic import register_canonicalize, register_specialize

from pmnbmix.data.counts import Counts
from pmnbmix.mixture.priors import NormalPrior
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.likelihood import FusedLogLikelihood


class CollapsedData:
    """Counts and exposures of a model, with their unique rows as variables that follow them.

    Attributes
    ----------
    counts, exposure : SharedVariable
        Data of the model, (n,).
    """

    def __init__(self, counts: Any, exposure: Any, n_components: int, *, fused: bool) -> None:
        self.counts, self.exposure = counts, exposure
        self._n_components, self._fused = n_components, fused
        # Their contents are set by `update`.
        empty = np.zeros(0)
        self._values = pytensor.shared(empty.astype(np.int64), name="unique_values")
        self._exposures = pytensor.shared(empty, name="unique_exposures")
        self._frequency = pytensor.shared(empty, name="frequency")
        self._row = pytensor.shared(empty.astype(np.int64), name="row_of_obs")
        self._buffer = pytensor.shared(empty, name="table")
        self._doubt = pytensor.shared(np.float64(0.0), name="rows_that_do_not_fit")
        counts.tag.collapsed = self
        self.update(counts.get_value(), exposure.get_value())

    def update(self, counts: ArrayLike, exposure: ArrayLike) -> None:
        """Collapse other data; a ValueError if they are no counts with exposures.

        If there are more of the one than of the other, the log density is NaN until both fit again,
        because PyMC changes one after the other.
        """
        values, scale = np.asarray(counts), np.asarray(exposure, np.float64)
        if values.shape != scale.shape:
            self._doubt.set_value(np.float64(np.nan))
            return
        new = Counts(values, scale)
        table = new.table
        self._values.set_value(table.values.astype(np.int64))
        self._exposures.set_value(table.exposure)
        self._frequency.set_value(table.frequency)
        self._row.set_value(new.expanded_inverse())
        if self._fused:
            spec = _sampled(self._n_components)
            self._buffer.set_value(make_target(Problem.of(new, spec)).buffer)
        self._doubt.set_value(np.float64(0.0))

    def log_density(self, weights: Any, means: Any, dispersions: Any) -> Any:
        """Log density of every observation under parameters (k,), as a node that can be summed."""
        components = pm.NegativeBinomial.dist(
            mu=self._exposures[:, None] * means, alpha=1.0 / dispersions
        )
        mixture = pm.Mixture.dist(w=weights, comp_dists=components, shape=self._values.shape)
        rows = pm.logp(mixture, self._values)
        if self._fused:
            logs = (pt.log(weights), pt.log(means), pt.log(dispersions))
            total, *_ = FusedLogLikelihood()(*logs, self._buffer)
        else:
            total = (self._frequency * rows).sum()
        return Expanded()(total + self._doubt, rows + self._doubt, self._row)


def collapsed_data(counts: Any, exposure: Any) -> CollapsedData | None:
    """Return the unique rows of a variable of counts, if it has some and they have this exposure.

    In a copy of a model the variables are others, which nothing follows, so their rows are not
    collapsed.
    """
    while counts.owner is not None and len(counts.owner.inputs) == 1:
        # PyMC casts the data to the type of the random variable.
        (counts,) = counts.owner.inputs
    found: CollapsedData | None = getattr(counts.tag, "collapsed", None)
    if found is None or found.counts is not counts or found.exposure is not exposure:
        return None
    return found


class Expanded(Op):  # type: ignore[misc, unused-ignore]
    """Log density of every observation, with its sum at hand.

    Inputs are the sum (), the log density of the unique rows (u,) and the row of each observation
    (n,); the output is that of the observations (n,).
    """

    __props__ = ()

    def make_node(self, total: Any, rows: Any, row: Any) -> Any:
        """Build the node of the graph."""
        inputs = [pt.as_tensor_variable(entry) for entry in (total, rows, row)]
        return Apply(self, inputs, [pt.dvector()])

    def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
        """Carry it out without a compiled graph around it."""
        outputs[0][0] = inputs[1][inputs[2]]

    def infer_shape(self, node: Any, shapes: Any) -> Any:
        """Shape of the output."""
        return [shapes[2]]

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Gradient of what is no plain sum, by the rows."""
        _, rows, row = inputs
        slope = pt.inc_subtensor(pt.zeros_like(rows)[row], cotangents[0])
        return [disconnected_type(), slope, disconnected_type()]

    def connection_pattern(self, node: Any) -> list[list[bool]]:
        """Tell that the output depends on the rows."""
        return [[False], [True], [False]]


@register_canonicalize  # type: ignore[untyped-decorator]
@node_rewriter([Sum])  # type: ignore[untyped-decorator]
def _sum_of_expanded(fgraph: Any, node: Any) -> Any:
    """Replace a sum over all observations by that at hand, before gradients are taken."""
    (summed,) = node.inputs
    if summed.owner is None or not isinstance(summed.owner.op, Expanded):
        return None
    return [summed.owner.inputs[0].astype(node.outputs[0].dtype)]


@register_specialize  # type: ignore[untyped-decorator]
@node_rewriter([Expanded])  # type: ignore[untyped-decorator]
def _expand(fgraph: Any, node: Any) -> Any:
    """Replace what is left by indexing, which every backend knows."""
    _, rows, row = node.inputs
    return [rows[row].astype(node.outputs[0].dtype)]


def _sampled(n_components: int) -> MixtureSpec:
    """Return a specification with proper priors; the fused log likelihood does not use them."""
    return MixtureSpec(n_components, log_means=NormalPrior(0.0, 1.0))
