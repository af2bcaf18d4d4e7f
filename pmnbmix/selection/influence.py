"""Which observations a difference of elpd rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# One or two observations matter if without them the difference or its standard error changes by
# more than half; a difference below this many nats is not worth a word.
_MOST = 2
_HALF = 0.5
_WORTH = 1.0


@dataclass(frozen=True)
class Influence:
    """A difference of elpd that rests on one or two observations.

    Attributes
    ----------
    observations : tuple of int
        Their places, the most influential first.
    difference, error : float
        Of all observations; the standard error is sqrt(n) times the standard deviation.
    without, error_without : float
        The same without these observations.
    """

    observations: tuple[int, ...]
    difference: float
    error: float
    without: float
    error_without: float


def influence(terms: Floats) -> Influence | None:
    """Find the one or two observations that most of a difference of elpd rests on.

    Parameters
    ----------
    terms : ndarray, shape (n,)
        Difference of the log predictive densities of each observation.

    Returns
    -------
    Influence or None
        None if no one or two of them make most of the sum or of its standard error, or if the sum
        is less than a nat.

    Examples
    --------
    >>> import numpy as np
    >>> from pmnbmix.selection.influence import influence
    >>> found = influence(np.append(np.tile([0.1, -0.1], 50), 40.0))
    >>> found.observations, round(found.without, 1)
    ((100,), 0.0)
    """
    n, total = terms.size, float(terms.sum())
    if n < 2 * _MOST + 1 or abs(total) < _WORTH:
        return None
    error = _error(terms)
    order = np.argsort(-np.abs(terms), kind="stable")
    for number in range(1, _MOST + 1):
        rest = np.delete(terms, order[:number])
        without, error_without = float(rest.sum()), _error(rest)
        if abs(total - without) > _HALF * abs(total) or error_without < _HALF * error:
            observations = tuple(int(i) for i in order[:number])
            return Influence(observations, total, error, without, error_without)
    return None


def _error(terms: Floats) -> float:
    return float(np.sqrt(terms.size) * terms.std(ddof=1))
