"""A point fit as JSON: numbers and words only, checked when they come back."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.squash import squash
from pmnbmix.files import as_file, read_json, write_whole
from pmnbmix.mixture.design import Design
from pmnbmix.mixture.params import PARAMETERS, MixtureParams
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.found import Search, Squashing
from pmnbmix.point.objective import (
    Objective,
    likelihood_objective,
    pack_point,
    prior_objective,
)
from pmnbmix.point.optima import Optimum, Status

Floats = NDArray[np.float64]

_FORMAT = "pmnbmix point fit"
_VERSION = 1
_STUDY = "study"
_LARGEST_FILE = 2**30
_PATHS = ("likelihood_path", "density_path")


class Stored(NamedTuple):
    """What a fit is made of again."""

    method: Literal["em", "map"]
    counts: Counts
    spec: MixtureSpec | None
    mixing: Literal["estimated", "equal"]
    objective: Objective
    found: Search


def write_fit(
    path: str | os.PathLike[str],
    method: Literal["em", "map"],
    counts: Counts,
    spec: MixtureSpec | None,
    mixing: Literal["estimated", "equal"],
    found: Search,
) -> None:
    """Write a fit; see `PointFit.write`."""
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "method": method,
        "mixing": mixing,
        "spec": None if spec is None else spec.to_dict(),
        "counts": {
            "name": counts.name,
            "values": counts.values.tolist(),
            "exposure": counts.exposure.tolist() if counts.has_exposure else None,
            "frequency": counts.frequency.tolist() if (counts.frequency != 1).any() else None,
            **({} if counts.covariates is None else {"covariates": _columns(counts.covariates)}),
        },
        "complete": found.complete,
        "squashing": None if found.squashing is None else vars(found.squashing),
        "optima": [
            _optimum_to_dict(optimum, found.quick.problem.design) for optimum in found.optima
        ],
    }
    write_whole(path, json.dumps(data, allow_nan=False))


def read_fit(path: str | os.PathLike[str]) -> Stored:
    """Read what a fit is made of; see `PointFit.read`."""
    file = as_file(path)
    data = read_json(file, _FORMAT, _VERSION, _LARGEST_FILE)
    try:
        return _stored_from_dict(data)
    except KeyError as error:
        raise ValueError(f"{file}: {error} is missing. Write the fit again.") from None
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{file}: this is not a whole fit ({error}). Write it again.") from None


def mark_study(path: str | os.PathLike[str], study: str | None) -> None:
    """Write into a stored fit to which study it belongs; it stays a fit as any other."""
    file = as_file(path)
    data = read_json(file, _FORMAT, _VERSION, _LARGEST_FILE)
    write_whole(file, json.dumps({**data, _STUDY: study}, allow_nan=False))


def study_of(path: str | os.PathLike[str]) -> Any:
    """The study that a stored fit says it belongs to; None if it says nothing."""
    return read_json(as_file(path), _FORMAT, _VERSION, _LARGEST_FILE).get(_STUDY)


def _columns(covariates: Any) -> dict[str, Any]:
    """Covariates as lists; categories as their names and the number of each row's."""
    return {
        name: column.tolist()
        if isinstance(column, np.ndarray)
        else {"categories": list(column.categories), "codes": column.codes.tolist()}
        for name, column in covariates.items()
    }


def _covariates(columns: Any) -> dict[str, Any]:
    import pandas as pd

    return {
        name: pd.Categorical.from_codes(column["codes"], categories=column["categories"])
        if isinstance(column, dict)
        else column
        for name, column in columns.items()
    }


def _optimum_to_dict(optimum: Optimum, design: Design) -> dict[str, Any]:
    centre = np.exp(design.at_centre(optimum.point))
    coefficients = {}
    if not design.is_plain:
        # JSON has no infinity, which is where a coefficient at an edge lies.
        cells = [[x if math.isfinite(x) else None for x in row] for row in optimum.point.tolist()]
        coefficients = {"point": cells}
    return {
        **{name: centre[row].tolist() for row, name in enumerate(PARAMETERS)},
        **coefficients,
        "log_likelihood": optimum.log_likelihood,
        "log_density": optimum.log_density,
        "times_reached": optimum.times_reached,
        "statuses": [str(status) for status in optimum.statuses],
        "likelihood_path": optimum.likelihood_path.tolist(),
        "density_path": optimum.density_path.tolist(),
        "family": optimum.family,
    }


def _stored_from_dict(data: dict[str, Any]) -> Stored:
    given = dict(data["counts"])
    if "covariates" in given:
        given["covariates"] = _covariates(given["covariates"])
    counts = Counts(**given)
    method, mixing = data["method"], data["mixing"]
    if (method, mixing) not in (("em", "estimated"), ("em", "equal"), ("map", "estimated")):
        raise ValueError(f"method {method!r} with mixing {mixing!r} is not known")
    if method == "map" and data["spec"] is None:
        raise ValueError("a MAP has priors, a fit by EM has none")
    if not isinstance(data["complete"], bool):
        raise ValueError(f"complete is {data['complete']!r}, not true or false")
    if not data["optima"]:
        raise ValueError("there is no optimum in it")
    k = len(data["optima"][0]["weights"])
    spec = None if data["spec"] is None else MixtureSpec.from_dict(data["spec"])
    if method == "em" and spec is not None and spec.is_plain:
        raise ValueError("a MAP has priors, a fit by EM has none")
    if method == "map":
        assert spec is not None
        objective = prior_objective(counts, spec.resolve(counts), sampling_density=False)
    else:
        objective = likelihood_objective(counts, spec or k, mixing == "equal")
    optima = [_optimum_from_dict(entry, objective) for entry in data["optima"]]
    if any(other.log_density > optima[0].log_density for other in optima):
        raise ValueError("the first optimum is not the best")
    squashing, quick = None, objective
    if data["squashing"] is not None:
        squashing = _squashing_from_dict(data["squashing"])
        quick = objective.on(squash(counts.table, squashing.width, squashing.nodes))
    found = Search(optima, bool(data["complete"]), squashing, quick)
    return Stored(method, counts, spec, mixing, objective, found)


def _params(entry: dict[str, Any]) -> MixtureParams:
    weights = np.asarray(entry["weights"], dtype=np.float64)
    # exp(log(w)) may miss the sum by rounding; MixtureParams refuses anything more.
    total = math.fsum(weights)
    if abs(total - 1.0) < 1e-12:
        weights = weights / total
    return MixtureParams(weights, entry["means"], entry["dispersions"])


def _point(cells: Any, objective: Objective) -> Floats:
    point = np.array([[-math.inf if x is None else x for x in row] for row in cells], np.float64)
    pinned = objective.problem.design.pinned
    if point.shape != pinned.shape or not (np.isnan(pinned) | (point == pinned)).all():
        raise ValueError("an optimum has not the coefficients of its formulas and families")
    return point


def _squashing_from_dict(entry: dict[str, Any]) -> Squashing:
    found = Squashing(
        n_rows=int(entry["n_rows"]),
        n_squashed=int(entry["n_squashed"]),
        width=float(entry["width"]),
        nodes=int(entry["nodes"]),
        error=float(entry["error"]),
        nearby_error=float(entry["nearby_error"]),
    )
    if not (1 <= found.nodes <= 64 and 0.0 < found.width < 100.0):
        raise ValueError(f"no table was ever squashed like this: {entry!r}")
    return found


def _optimum_from_dict(entry: dict[str, Any], objective: Objective) -> Optimum:
    params = _params(entry)
    if params.n_components != objective.n_components:
        raise ValueError("the optima have different numbers of components")
    point = _point(entry["point"], objective) if "point" in entry else pack_point(params)
    if point.shape != objective.free.shape:
        raise ValueError("an optimum has not the coefficients of its formulas")
    found = {"log_likelihood": objective.log_likelihood(point), "log_density": 0.0}
    found["log_density"] = found["log_likelihood"] + objective.log_prior(point)
    paths = {name: np.asarray(entry[name], np.float64) for name in _PATHS}
    for (name, value), path in zip(found.items(), paths.values(), strict=True):
        stated = entry[name]
        # Parameters go through a logarithm and back, and values are sums over all observations.
        if not abs(value - stated) <= 1e-9 * max(1.0, abs(value)):
            raise ValueError(
                f"an optimum claims {name} {stated!r}, but its parameters have {value!r}"
            )
        whole = path.ndim == 1 and path.size > 0 and bool(np.isfinite(path).all())
        if not whole or abs(path[-1] - stated) > 1e-3:
            raise ValueError(f"the path of {name} does not lead to it")
    if paths["likelihood_path"].size != paths["density_path"].size:
        raise ValueError("the paths of likelihood and density have different lengths")
    times = entry["times_reached"]
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ValueError(f"times_reached is {times!r}, not a number of starts")
    if not isinstance(entry["family"], str):
        raise ValueError(f"family is {entry['family']!r}, not a name")
    return Optimum(
        point=point,
        log_likelihood=float(entry["log_likelihood"]),
        log_density=float(entry["log_density"]),
        times_reached=times,
        statuses=tuple(Status(word) for word in entry["statuses"]) or (Status.CONVERGED,),
        family=entry["family"],
        **paths,
    )
