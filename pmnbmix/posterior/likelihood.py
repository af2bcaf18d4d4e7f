"""The fused log likelihood as a PyTensor operation, for models that build on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type, grad_not_implemented
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from pmnbmix.compiled import SOURCE_DIGEST, compiled
from pmnbmix.mixture.fused import log_likelihood


class FusedLogLikelihood(Op):  # type: ignore[misc, unused-ignore]
    """Log likelihood of a table, with its derivatives as further outputs.

    Inputs are log weights, log means and log dispersions (k,) and the buffer of a
    `pmnbmix.mixture.target.Target`; outputs the log likelihood and its derivatives by each of the
    first three (k,), log weights taken each on its own. With numba as backend the whole is machine
    code; with PyTensor's C or Python backend it is a call of the same function. JAX cannot run it.
    """

    __props__ = ()

    def make_node(self, log_weights: Any, log_means: Any, log_dispersions: Any, buffer: Any) -> Any:
        """Build the node of the graph."""
        inputs = [
            pt.as_tensor_variable(entry, dtype="float64")
            for entry in (log_weights, log_means, log_dispersions, buffer)
        ]
        return Apply(self, inputs, [pt.dscalar(), pt.dvector(), pt.dvector(), pt.dvector()])

    def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
        """Carry it out without a compiled graph around it."""
        for place, value in zip(outputs, _evaluate(*inputs), strict=True):
            place[0] = value

    def infer_shape(self, node: Any, shapes: Any) -> Any:
        """Shapes of the outputs."""
        return [(), shapes[0], shapes[1], shapes[2]]

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Gradient, from the outputs that hold it; whatever asks for a second one fails."""
        if not all(isinstance(entry.type, DisconnectedType) for entry in cotangents[1:]):
            instead = "Second derivatives: use build_model(..., likelihood='pymc')."
            refused = [
                grad_not_implemented(self, i, entry, instead) for i, entry in enumerate(inputs[:3])
            ]
            return [*refused, disconnected_type()]
        return [cotangents[0] * slope for slope in outputs[1:]] + [disconnected_type()]

    def connection_pattern(self, node: Any) -> list[list[bool]]:
        """Tell that every output depends on every input but the data."""
        return [[True] * 4] * 3 + [[False] * 4]


@compiled
def _evaluate(
    log_weights: np.ndarray, log_means: np.ndarray, log_dispersions: np.ndarray, buffer: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    k = log_weights.size
    points, slopes = np.empty((3, k, 1)), np.zeros((3, k, 1))
    points[0, :, 0], points[1, :, 0], points[2, :, 0] = log_weights, log_means, log_dispersions
    # The buffer is work space, so it is copied for chains that run at once.
    work = buffer.copy()
    value = log_likelihood(points[0], points[1], points[2], work, slopes[0], slopes[1], slopes[2])
    return np.asarray(value), slopes[0, :, 0].copy(), slopes[1, :, 0].copy(), slopes[2, :, 0].copy()


@register_funcify_default_op_cache_key(FusedLogLikelihood)  # type: ignore[untyped-decorator]
def _numba_fused(op: Any, node: Any = None, **kwargs: Any) -> Any:
    # PyTensor keeps machine code under the class of an operation and this number.
    return _evaluate, int(SOURCE_DIGEST[:12], 16)
