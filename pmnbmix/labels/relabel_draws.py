"""Relabelling of plain arrays: draws of any finite mixture, from any sampler."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pmnbmix.data.checks import LARGEST_COUNT, as_array, one_of, whole
from pmnbmix.labels.ecr import Expected, Sampled, ecr, ecr_iterative
from pmnbmix.labels.relabelling import METHODS, Relabelling, by_parameter, identity, pra
from pmnbmix.labels.stephens import stephens_best_of
from pmnbmix.mixture.spec import LARGEST_N_COMPONENTS

Floats = NDArray[np.float64]
Method = Literal["stephens", "ecr", "ecr-iterative-1", "ecr-iterative-2", "pra", "order"]

_NEEDS = {
    "stephens": ("p",),
    "ecr": ("z",),
    "ecr-iterative-1": ("z",),
    "ecr-iterative-2": ("z", "p"),
    "pra": ("draws",),
    "order": ("draws",),
}
_MEANING = {
    "p": "responsibilities (draw, observation, component)",
    "z": "allocations (draw, observation), labels from 0 to k - 1",
    "draws": "parameters (draw, component, parameter)",
}
# A result from another start than the labels as they are must be better by this share, or the
# numbering would depend on rounding.
_TOLERANCE = 1e-3
# Sums of the squares of larger parameters could overflow.
_LARGEST = 1e150
# At most this many draws are tried as pivots if none is given, and at most this many are starts of
# the iterative forms.
_TRIED, _STARTS = 20, 3


def relabel_draws(
    p: ArrayLike | None = None,
    z: ArrayLike | None = None,
    draws: ArrayLike | None = None,
    method: Method = "stephens",
    *,
    pivot: ArrayLike | int | None = None,
    by: int = 0,
    frequency: ArrayLike | None = None,
    n_components: int | None = None,
) -> NDArray[np.intp]:
    """Find one permutation of the components for each draw of a mixture.

    Parameters
    ----------
    p : array, shape (n_samples, n, k), optional
        Responsibilities: P(observation i belongs to component j) under each draw.
    z : array of int, shape (n_samples, n), optional
        Allocations, labels from 0 to k - 1.
    draws : array, shape (n_samples, k, n_parameters), optional
        Parameters of the components, on scales on which distances mean something ("pra").
    method : str
        "stephens" (from ``p``) minimises the Kullback-Leibler divergence from the mean
        responsibilities; "ecr" (``z``) the observations allocated otherwise than in a pivot;
        "ecr-iterative-1" (``z``) elects the pivot by the votes of the relabelled draws,
        "ecr-iterative-2" (``z``, ``p``) by their responsibilities; "pra" (``draws``) minimises the
        distance from a pivot; "order" (``draws``) sorts by one parameter.
    pivot : array or int, optional
        For "ecr" an allocation (n,), for "pra" parameters (k, n_parameters), or the number of the
        draw to take; by custom that of the highest posterior density. If absent, the one among
        20 evenly spaced draws that costs least.
    by : int
        For "order": which parameter of ``draws`` to sort by.
    frequency : array, shape (n,), optional
        How many observations each one stands for; 1 if absent.
    n_components : int, optional
        Needed only if ``z`` is given alone and some label never occurs.

    Returns
    -------
    ndarray of int, shape (n_samples, k)
        Gathers: the new component j of draw s is the old ``order[s, j]``. So
        ``np.take_along_axis(means, order, axis=1)`` relabels means (n_samples, k), and
        ``np.take_along_axis(np.argsort(order, axis=1), z, axis=1)`` allocations.

    Raises
    ------
    TypeError, ValueError
        If an array that the method needs is missing, has another shape than expected or holds
        something else.

    References
    ----------
    .. [1] M. Stephens (2000), Dealing with label switching in mixture models, J. R. Stat. Soc. B
       62, 795-809, https://doi.org/10.1111/1467-9868.00265
    .. [2] P. Papastamoulis, G. Iliopoulos (2010), J. Comput. Graph. Stat. 19, 313-331,
       https://doi.org/10.1198/jcgs.2010.09008
    .. [3] P. Papastamoulis (2016), J. Stat. Softw. 69 (Code Snippet 1),
       https://doi.org/10.18637/jss.v069.c01
    .. [4] J.-M. Marin, K. Mengersen, C. P. Robert (2005), Handbook of Statistics 25, 459-507,
       https://doi.org/10.1016/S0169-7161(05)25016-2

    Examples
    --------
    In the second of three draws, the labels of two observations are exchanged:

    >>> import pmnbmix as nb
    >>> p = [[[0.9, 0.1], [0.2, 0.8]], [[0.2, 0.8], [0.7, 0.3]], [[0.8, 0.2], [0.1, 0.9]]]
    >>> nb.relabel_draws(p)
    array([[0, 1],
           [1, 0],
           [0, 1]])
    """
    given = {"p": p, "z": z, "draws": draws}
    one_of(method, "method", METHODS)
    for name, number, least in (("by", by, 0), ("n_components", n_components, 1)):
        if number is not None:
            whole(number, name, least)
    for name in _NEEDS[method]:
        if given[name] is None:
            raise ValueError(f"method={method!r} needs {name}: {_MEANING[name]}.")
    p_, draws_ = _checked_p(p), _checked_draws(draws)
    k = _n_components(p_, z, draws_, n_components)
    z_ = _checked_z(z, k)
    sizes = {"p": p_, "z": z_, "draws": draws_}
    lengths = {name: len(array) for name, array in sizes.items() if array is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"arrays have different numbers of draws: {lengths}.")
    if p_ is not None and z_ is not None and p_.shape[1] != z_.shape[1]:
        raise ValueError(
            f"p has {p_.shape[1]} observations and z {z_.shape[1]}; pass the same in both."
        )
    weight = _checked_frequency(frequency, p_, z_)
    found = _run(method, p_, z_, draws_, pivot, by, weight, k)
    return found.order


def _run(
    method: str,
    p: Floats | None,
    z: NDArray[np.integer] | None,
    draws: Floats | None,
    pivot: ArrayLike | int | None,
    by: int,
    frequency: Floats,
    k: int,
) -> Relabelling:
    if pivot is not None and method not in ("ecr", "pra"):
        raise ValueError(f"method={method!r} has no pivot; leave pivot out.")
    if method == "order":
        assert draws is not None
        if isinstance(by, bool) or not isinstance(by, int | np.integer):
            raise TypeError(f"by must be the number of a parameter in draws; got {by!r}.")
        if not 0 <= by < draws.shape[2]:
            raise ValueError(f"by must be from 0 to {draws.shape[2] - 1}; got {by!r}.")
        return by_parameter(draws[:, :, by])
    if method == "pra":
        assert draws is not None
        _refuse_huge(draws, "draws")
        if pivot is None:
            tried = (pra(draws, draws[s]) for s in _evenly(len(draws), _TRIED))
            return min(tried, key=lambda found: found.loss)
        chosen = _chosen_pivot(pivot, draws, np.float64)
        _refuse_huge(chosen, "pivot")
        return pra(draws, chosen)
    if method == "stephens":
        assert p is not None
        starts = [identity(len(p), k), by_parameter(np.einsum("i,sij->sj", frequency, p)).order]
        if draws is not None:
            starts += [by_parameter(draws[:, :, c]).order for c in range(draws.shape[2])]
        rows = slice(0, p.shape[1])
        return stephens_best_of(lambda: [(rows, p)], frequency, starts, _TOLERANCE)
    assert z is not None
    allocations = Sampled(z, k, frequency)
    if method == "ecr" and pivot is not None:
        labels = _chosen_pivot(pivot, z, np.intp)
        if labels.min() < 0 or labels.max() >= k:
            raise ValueError(
                f"pivot holds labels from {labels.min()} to {labels.max()}; expected 0 to {k - 1}."
            )
        return ecr(allocations, labels)
    if method == "ecr":
        tried = (ecr(allocations, z[s]) for s in _evenly(len(z), _TRIED))
        return min(tried, key=lambda found: found.loss)
    start = [ecr(allocations, z[s]).order for s in _evenly(len(z), _STARTS)]
    votes = None
    if method == "ecr-iterative-2":
        assert p is not None
        rows = slice(0, p.shape[1])
        votes = Expected(lambda: [(rows, p)], frequency, (len(p), k)).votes
    return ecr_iterative(allocations, [identity(len(z), k), *start], votes)


def _evenly(n: int, most: int) -> list[int]:
    return list(dict.fromkeys(np.linspace(0, n - 1, min(most, n)).astype(int).tolist()))


def _refuse_huge(array: Floats, name: str) -> None:
    if np.abs(array).max() > _LARGEST:
        raise ValueError(
            f"{name} holds {np.abs(array).max():g}; distances need numbers below {_LARGEST:g}. "
            "Pass logarithms."
        )


def _chosen_pivot[T: np.generic](
    pivot: ArrayLike | int, array: NDArray[np.generic], kind: type[T]
) -> NDArray[T]:
    if isinstance(pivot, int | np.integer) and not isinstance(pivot, bool):
        if not 0 <= pivot < len(array):
            raise ValueError(f"pivot {pivot} is no draw; there are {len(array)}.")
        return np.asarray(array[pivot], kind)
    given = as_array(pivot, "pivot")
    if given.shape != array.shape[1:]:
        raise ValueError(f"pivot has shape {given.shape}; expected {array.shape[1:]}.")
    if np.issubdtype(kind, np.integer):
        _refuse_fractions(given, "pivot")
    elif given.dtype.kind not in "iuf":
        raise TypeError(f"pivot must hold numbers; got {given.dtype}.")
    elif not np.isfinite(given).all():
        raise ValueError("pivot holds values that are not finite.")
    return given.astype(kind)


def _n_components(
    p: Floats | None, z: ArrayLike | None, draws: Floats | None, n_components: int | None
) -> int:
    known = {}
    if p is not None:
        known["p"] = p.shape[2]
    if draws is not None:
        known["draws"] = draws.shape[1]
    if n_components is not None:
        known["n_components"] = n_components
    if len(set(known.values())) > 1:
        raise ValueError(f"numbers of components differ: {known}.")
    if n_components is not None and n_components > LARGEST_N_COMPONENTS:
        raise ValueError(
            f"n_components must be at most {LARGEST_N_COMPONENTS}; got {n_components!r}."
        )
    if known:
        return int(next(iter(known.values())))
    labels = as_array([] if z is None else z, "z")
    if labels.dtype.kind not in "iuf":
        raise TypeError(f"z must hold whole numbers (labels); got {labels.dtype}.")
    if labels.size and not np.isfinite(labels).all():
        raise ValueError("z must hold whole numbers (labels); some are not finite.")
    if labels.size and labels.min() == 1:
        raise ValueError(
            f"z holds labels from 1 to {labels.max()}; expected 0 to k - 1. Subtract 1, or pass "
            "n_components where component 0 is empty in every draw."
        )
    k = int(labels.max()) + 1 if labels.size else 0
    if k > LARGEST_N_COMPONENTS:
        raise ValueError(
            f"z holds the label {k - 1}; labels are 0 to k - 1, of at most {LARGEST_N_COMPONENTS} "
            "components. Check the array, or number its labels anew."
        )
    return k


def _checked_p(p: ArrayLike | None) -> Floats | None:
    if p is None:
        return None
    array = _numbers(p, "p", 3)
    if (array < 0).any() or not np.allclose(array.sum(axis=2), 1.0, atol=1e-6):
        worst = np.unravel_index(np.abs(array.sum(axis=2) - 1.0).argmax(), array.shape[:2])
        raise ValueError(
            "p must be probabilities that sum to 1 over components; draw "
            f"{worst[0]}, observation {worst[1]} has {array[worst]}."
        )
    return np.ascontiguousarray(array)


def _checked_draws(draws: ArrayLike | None) -> Floats | None:
    if draws is None:
        return None
    array = as_array(draws, "draws")
    # One parameter alone may come without its axis.
    return _numbers(array[..., None] if array.ndim == 2 else array, "draws", 3)


def _numbers(given: ArrayLike, name: str, n_dims: int) -> Floats:
    array = as_array(given, name)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise TypeError(f"{name} must hold numbers; got {array.dtype}.")
    if array.ndim != n_dims or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected {_MEANING[name]}.")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} holds {array[where]} at {where}; expected finite numbers.")
    return array.astype(np.float64, copy=False)


def _checked_z(z: ArrayLike | None, k: int) -> NDArray[np.integer] | None:
    if z is None:
        return None
    array = as_array(z, "z")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"z has shape {array.shape}; expected {_MEANING['z']}.")
    _refuse_fractions(array, "z")
    if array.min() < 0 or array.max() >= k:
        raise ValueError(
            f"z holds labels from {array.min()} to {array.max()}; expected 0 to {k - 1}."
        )
    return array if np.issubdtype(array.dtype, np.integer) else array.astype(np.intp)


def _refuse_fractions(array: NDArray[np.generic], name: str) -> None:
    numeric = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if not numeric:
        raise TypeError(f"{name} must hold whole numbers (labels); got {array.dtype}.")
    numbers = array.astype(np.float64)
    # Floats above this limit cannot hold every whole number, and infinite ones are none.
    fractional = np.argwhere(~((numbers == np.floor(numbers)) & (np.abs(numbers) < LARGEST_COUNT)))
    if fractional.size:
        where = tuple(fractional[0].tolist())
        raise TypeError(f"{name} must hold whole numbers (labels); {array[where]} at {where}.")


def _checked_frequency(
    frequency: ArrayLike | None, p: Floats | None, z: NDArray[np.integer] | None
) -> Floats:
    n = p.shape[1] if p is not None else z.shape[1] if z is not None else 0
    if frequency is None:
        return np.ones(n)
    array = as_array(frequency, "frequency")
    if array.shape != (n,):
        raise ValueError(f"frequency has shape {array.shape}; expected ({n},).")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"frequency must hold numbers; got {array.dtype}.")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
    if bad.size:
        raise ValueError(
            f"frequency must be finite and 0 or more; entry {bad[0]} is {array[bad[0]]}."
        )
    # The sum of entries near the largest float is infinite, which is refused below.
    with np.errstate(over="ignore"):
        total = array.sum(dtype=np.float64)
    if total > LARGEST_COUNT:
        raise ValueError(
            f"frequency sums to {total:g}; at most 2**53 observations can be told apart."
        )
    return array.astype(np.float64)
