"""The numbers of a model: which of them move, and what they add at each level.

A point is an array (n_terms, k): the terms of the weights, then of the means, then of the
dispersions, in logits, log means and log dispersions; a column belongs to a component. The first
row of each part is its intercept: the value at the centre of the covariates. The plain model has
the intercepts only, so that its point is (3, k): log weights, log means, log dispersions. Minus
infinity is a value like any other there: an empty component, a point mass at zero, a Poisson
component.

A level is a distinct pattern of covariates. What a term adds at a level stands in the matrix of
its part; at the plain model's one level that is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pmnbmix.mixture.levels import Terms
from pmnbmix.mixture.permute import canonical_order

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]

# A number that does not move has this in place of the number of a free coordinate.
HELD = -1


@dataclass(frozen=True, eq=False)
class Part:
    """The terms of the weights, of the means or of the dispersions.

    Attributes
    ----------
    terms : tuple of str
        Their names; the first is the intercept, "1".
    matrix : ndarray, shape (n_levels, n_terms)
        Centred and scaled; the first column is 1.
    shared : tuple of bool
        Which terms have one coefficient for all components.
    centre, scale : ndarray, shape (n_terms,), optional
        What was taken off the columns as the user gave them, and what they were then divided by;
        0 and 1 for the intercept, and for all if absent.
    """

    terms: tuple[str, ...] = ("1",)
    matrix: Floats = field(default_factory=lambda: np.ones((1, 1)))
    shared: tuple[bool, ...] = (False,)
    centre: Floats | None = None
    scale: Floats | None = None

    @property
    def to_given(self) -> Floats:
        """Coefficients on the scale of the user's covariates, of those in the design, (p, p)."""
        change = np.eye(len(self.terms))
        if self.centre is not None and self.scale is not None:
            change /= self.scale[:, None]
            change[0, 1:] = -self.centre[1:] / self.scale[1:]
        return change


@dataclass(frozen=True, eq=False)
class Design:
    """The terms of a model, and where each of its numbers is found.

    Attributes
    ----------
    n_components : int
    weights, means, dispersions : Part
    free : ndarray of int, shape (n_terms, k)
        Number of the free coordinate that an entry of the point follows; entries that share a
        coefficient have the same one, and -1 is for an entry that does not move.
    pinned : ndarray, shape (n_terms, k)
        Value of the entries that never move; NaN elsewhere.
    """

    n_components: int
    weights: Part
    means: Part
    dispersions: Part
    free: Whole
    pinned: Floats

    @classmethod
    def of(
        cls,
        n_components: int,
        weights: Part | None = None,
        means: Part | None = None,
        dispersions: Part | None = None,
        families: Sequence[str] = (),
    ) -> Design:
        """Lay out the terms; the plain model is that of no part.

        Parameters
        ----------
        n_components : int
        weights, means, dispersions : Part, optional
            The intercept alone if absent.
        families : tuple of str
            "nb", "poisson" or "zero" for each component; "nb" for all if empty. A Poisson component
            has its dispersion pinned at 0, a point mass at zero its mean besides.
        """
        parts = [Part() if part is None else part for part in (weights, means, dispersions)]
        shared = np.concatenate([part.shared for part in parts])
        n_terms = shared.size
        pinned = np.full((n_terms, n_components), np.nan)
        of_means = len(parts[0].terms)
        of_dispersions = of_means + len(parts[1].terms)
        for j, family in enumerate(families):
            # What a pinned intercept leaves no meaning to is pinned too.
            if family != "nb":
                pinned[of_dispersions, j], pinned[of_dispersions + 1 :, j] = -np.inf, 0.0
            if family == "zero":
                pinned[of_means, j], pinned[of_means + 1 : of_dispersions, j] = -np.inf, 0.0
        # Entries that share a coefficient get one coordinate; numbers follow the order of rows.
        entry = np.arange(n_terms * n_components).reshape(n_terms, n_components)
        entry[shared] = entry[shared, :1]
        moves = np.isnan(pinned)
        free = np.full(entry.shape, HELD)
        free[moves] = np.unique(entry[moves], return_inverse=True)[1]
        return cls(n_components, parts[0], parts[1], parts[2], free, pinned)

    @property
    def n_terms(self) -> int:
        """Number of terms of all parts."""
        return int(self.free.shape[0])

    @cached_property
    def is_plain(self) -> bool:
        """Whether there is nothing but an intercept in each part, and none is pinned."""
        return self.n_terms == 3 and bool((self.free >= 0).all())

    @cached_property
    def family(self) -> Whole:
        """Number of the family of each component, (k,): components of one may trade places."""
        _, means, dispersions = np.isneginf(self.at_centre(self.pinned))
        return np.asarray(means.astype(np.intp) + dispersions)

    @property
    def terms_of(self) -> tuple[tuple[str, ...], ...]:
        """Names of the terms of the weights, means and dispersions."""
        return self.weights.terms, self.means.terms, self.dispersions.terms

    @property
    def intercepts(self) -> tuple[int, int, int]:
        """Rows of a point that are the intercepts of the weights, means and dispersions."""
        return 0, len(self.weights.terms), self.n_terms - len(self.dispersions.terms)

    def at_centre(self, points: Floats) -> Floats:
        """Log weights, log means and log dispersions (..., 3, k) at the centre of covariates."""
        return points if self.n_terms == 3 else points[..., self.intercepts, :]

    def slopes_of(self, point: Floats) -> Floats:
        """Rows of a point that are no intercepts, (n_terms - 3, k)."""
        return np.delete(point, self.intercepts, axis=0)

    def canonical_order(self, point: Floats) -> Whole:
        """Order of the components by mean, then weight, at the centre; families keep their places.

        Parameters
        ----------
        point : ndarray, shape (n_terms, k)

        Returns
        -------
        ndarray of int, shape (k,)
        """
        weights, means, _ = np.exp(self.at_centre(point))
        if self.is_plain:
            return canonical_order(weights, means)
        order = np.arange(self.n_components)
        family = self.family
        for kind in np.unique(family):
            alike = np.flatnonzero(family == kind)
            order[alike] = alike[canonical_order(weights[alike], means[alike])]
        return order

    @property
    def size(self) -> int:
        """Number of coordinates of NUTS: the free ones, the weights counted as log ratios."""
        return int(self.place.max(initial=-1)) + 1

    @cached_property
    def terms(self) -> Terms:
        """The matrices as compiled code reads them."""
        return Terms(
            *(
                np.ascontiguousarray(part.matrix)
                for part in (self.weights, self.means, self.dispersions)
            )
        )

    @cached_property
    def place(self) -> Whole:
        """Which coordinate of NUTS an entry of the point follows, (n_terms, k).

        The weights of each term are stated by their differences from the last component, which has
        -1, as pinned entries have.
        """
        k, of_weights = self.n_components, len(self.weights.terms)
        place = np.full(self.free.shape, HELD)
        ratios = np.arange(of_weights * (k - 1)).reshape(of_weights, k - 1)
        place[:of_weights, :-1] = ratios
        rest = self.free[of_weights:]
        moves = rest >= 0
        place[of_weights:][moves] = ratios.size + np.unique(rest[moves], return_inverse=True)[1]
        return place

    @cached_property
    def _jacobian(self) -> Floats:
        """Derivatives of the entries of a point by the coordinates of NUTS, (n_terms k, size)."""
        of_weights, k = len(self.weights.terms), self.n_components
        jacobian = np.zeros((*self.place.shape, self.size))
        rows, columns = np.nonzero(self.place >= 0)
        jacobian[rows, columns, self.place[rows, columns]] = 1.0
        slopes = jacobian[1:of_weights]
        slopes -= slopes.mean(axis=1, keepdims=True)
        return jacobian.reshape(self.n_terms * k, self.size)

    def pull_gradient(self, gradient: Floats) -> Floats:
        """Gradient (size,) in the coordinates of NUTS, from that in the entries of a point."""
        return self._jacobian.T @ gradient

    def pull_hessian(self, hessian: Floats) -> Floats:
        """Hessian (size, size) in the coordinates of NUTS, from that in the entries of a point."""
        return self._jacobian.T @ hessian @ self._jacobian

    def pack(self, points: Floats) -> Floats:
        """Coordinates of NUTS (..., size) of points (..., n_terms, k)."""
        of_weights = len(self.weights.terms)
        points = points.copy()
        points[..., :of_weights, :] -= points[..., :of_weights, -1:]
        packed = np.empty((*points.shape[:-2], self.size))
        moves = self.place >= 0
        packed[..., self.place[moves]] = points[..., moves]
        return packed

    def unpack(self, packed: Floats) -> Floats:
        """Points (..., n_terms, k) of coordinates of NUTS (..., size).

        Weights sum to 1 at the centre, and their slopes to 0 over the components.
        """
        of_weights = len(self.weights.terms)
        points = np.broadcast_to(self.pinned, (*packed.shape[:-1], *self.pinned.shape)).copy()
        moves = self.place >= 0
        points[..., moves] = packed[..., self.place[moves]]
        points[..., :of_weights, -1] = 0.0
        points[..., 0, :] -= np.logaddexp.reduce(points[..., 0, :], axis=-1)[..., None]
        slopes = points[..., 1:of_weights, :]
        slopes -= slopes.mean(axis=-1, keepdims=True)
        return points
