"""EM, MAP and NUTS side by side, a row for each parameter."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable, difference
from pmnbmix.labels.diagnose import Diagnosis, label_weakness
from pmnbmix.labels.gates import judge
from pmnbmix.labels.relabel import canonical, relabel_by_responsibilities
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.permute import best_permutations
from pmnbmix.mixture.row_density import RowDensity
from pmnbmix.selection.distances import distances
from pmnbmix.tree.reading import Reading, read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

_FINGERPRINT = ("n_observations", "n_unique", "sum_of_counts", "sum_of_exposure")
_INTERVAL = (0.025, 0.975)
# A tail is heavy if the sd is this many times what the central 95 % interval says: a normal has an
# sd of a 3.92th of that interval, and a gamma hardly more.
_HEAVY = 1.5
_WEAK = (
    "weak labels: components can hardly be told apart, and relabelling decides which is which; use "
    "the density of the mixture"
)
_SAME = "Compare fits of the same counts."
# Differences count up to this many posterior standard deviations when components are matched.
_CAP = 10.0


def compare_estimates(
    em: Any | None = None,
    map: Any | None = None,
    nuts: xr.DataTree | None = None,
    diagnosis: Diagnosis | None = None,
) -> pd.DataFrame:
    """Set point estimates and posterior beside each other.

    Parameters
    ----------
    em, map : PointFit or DataTree, optional
        Point estimates of the same counts with the same number of components.
    nuts : xarray.DataTree, optional
        A posterior, as `sample` returns. Any two of the three suffice, and one is allowed.
    diagnosis : Diagnosis, optional
        That of ``nuts``, if it has been made already; else its gates and labels are judged here.

    Returns
    -------
    pandas.DataFrame
        Indexed by parameter ("weights[0]", ...). ``em``, ``em_se``, ``map``: point estimates and
        the Wald standard error. ``nuts_mean``, ``nuts_sd``, ``nuts_median``, ``nuts_lower``,
        ``nuts_upper``: the posterior with its central 95 % interval. ``em_difference``,
        ``map_difference``: point estimate minus posterior mean, in posterior standard deviations.
        ``flag``: why a row is not to be trusted, with what to do, several divided by " | "; empty
        if it is. ``table.attrs`` holds, by name of the fit, ``log_likelihood`` and, if priors
        are known, ``log_posterior`` (density of weights, log means and log dispersions, but for a
        constant) at each estimate and at the best draw; and by pairs of names ``kl`` (nats a count)
        and ``total_variation`` between the fitted distributions, a posterior standing for its
        predictive one.

    Raises
    ------
    TypeError
        If an argument is neither a point fit nor a tree, or ``diagnosis`` no Diagnosis.
    ValueError
        If nothing is given, or numbers of components or counts differ.

    Notes
    -----
    Components of the point estimates are matched with those of the posterior by the assignment of
    least total difference, since sorting by mean pairs them wrongly if means are close.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts, spec = nb.load_dataset("crab_satellites"), nb.MixtureSpec(2)
    >>> em, map_ = nb.fit_em(counts, 2, random_seed=1), nb.fit_map(counts, spec, random_seed=1)
    >>> tree = nb.sample(counts, spec, random_seed=1, progressbar=False)
    >>> table = nb.compare_estimates(em=em, map=map_, nuts=tree)
    >>> table.loc[["weights[0]", "weights[1]"], ["em", "map", "nuts_median"]].round(1)
                 em  map  nuts_median
    parameter
    weights[0]  0.4  0.5          0.4
    weights[1]  0.6  0.5          0.6
    """
    if diagnosis is not None and not isinstance(diagnosis, Diagnosis):
        raise TypeError(
            f"diagnosis must be what diagnose() returned; got {type(diagnosis).__name__}. Leave it "
            "out to have it made."
        )
    return compare_readings(em, map, None if nuts is None else _read("nuts", nuts), diagnosis)


def compare_readings(
    em: Any | None, map: Any | None, nuts: Reading | None, diagnosis: Diagnosis | None
) -> pd.DataFrame:
    """`compare_estimates`, of a posterior that has been read."""
    import pandas as pd

    points = {name: fit for name, fit in (("em", em), ("map", map)) if fit is not None}
    readings = {name: _read(name, fit) for name, fit in points.items()}
    if nuts is not None:
        readings["nuts"] = nuts
    if not readings:
        raise ValueError("nothing to compare: pass at least one of em=, map= and nuts=.")
    sizes = {name: reading.draws.n_components for name, reading in readings.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the numbers of components differ: {sizes}. Compare equal numbers.")
    _same_counts(points, readings)
    k = next(iter(sizes.values()))
    index = pd.Index([f"{name}[{j}]" for name in PARAMETERS for j in range(k)], name="parameter")
    table = pd.DataFrame(index=index)
    flags = [[] for _ in index]  # type: list[list[str]]

    centre = spread = None
    if nuts is not None:
        relabelled = _relabelled(nuts)
        draws = _stacked(relabelled)
        centre, spread = draws.mean(axis=0), draws.std(axis=0, ddof=1)
        for flag, heavy in zip(flags, _heavy_tails(draws, spread).ravel(), strict=True):
            if heavy:
                flag.append("heavy tail: mean and sd hang on few draws; use median and interval")
        if diagnosis is not None:
            trusted, sentence = diagnosis.components_ok, diagnosis.summary[0]
            weak = "weak-labels" in diagnosis.findings
        else:
            gates = judge(nuts.density, relabelled)
            trusted, sentence = gates.components_ok, gates.sentence
            weak = bool(label_weakness(relabelled, nuts.table))
        for flag in flags:
            if not trusted:
                flag.append(sentence)
            if weak:
                flag.append(_WEAK)
    reference = centre
    for name in ("em", "map"):
        if name not in readings:
            continue
        values = _stacked(readings[name].draws)[0]
        order = np.arange(k) if reference is None else _match(values, reference, spread)
        reference = values[:, order] if reference is None else reference
        table[name] = values[:, order].ravel()
        if "fit" in readings[name].tree.children:
            fit = readings[name].tree["fit"].to_dataset()
            table[f"{name}_se"] = fit["standard_error"].values.reshape(3, k)[:, order].ravel()
            for flag, text in zip(
                flags, fit["flag"].values.reshape(3, k)[:, order].ravel(), strict=True
            ):
                flag.extend(f"{name}: {part}" for part in str(text).split(" | ") if part)
    if centre is not None and spread is not None:
        table["nuts_mean"], table["nuts_sd"] = centre.ravel(), spread.ravel()
        table["nuts_median"] = np.median(draws, axis=0).ravel()
        lower, upper = np.quantile(draws, _INTERVAL, axis=0)
        table["nuts_lower"], table["nuts_upper"] = lower.ravel(), upper.ravel()
        for name in ("em", "map"):
            if name in table:
                table[f"{name}_difference"] = _standardised(
                    table[name].to_numpy() - centre.ravel(), spread.ravel()
                )
    if nuts is not None:
        for flag in flags:
            flag.extend(_several_modes(nuts.tree))
    table["flag"] = [" | ".join(dict.fromkeys(flag)) for flag in flags]
    rows = _rows_of(points, nuts)
    fitted = {name: reading.draws for name, reading in readings.items()}
    table.attrs.update({**_heights(readings, rows, map), **distances(fitted, rows)})
    return table


def _relabelled(nuts: Reading) -> Draws:
    """Draws as they were relabelled before, or else by Stephens' algorithm."""
    if "relabelling" in nuts.tree.children:
        return nuts.draws
    found = relabel_by_responsibilities(nuts.draws, nuts.table)
    return nuts.draws.permuted(canonical(nuts.draws, found.order))


def _several_modes(nuts: xr.DataTree) -> list[str]:
    if "modes" not in nuts.children:
        return []
    mattering = int(nuts["modes"].to_dataset()["matters"].sum())
    if mattering < 2:
        return []
    return [
        f"several modes: {mattering} of the posterior matter, and a point estimate shows one; "
        "look at tree['modes']"
    ]


def _rows_of(points: dict[str, Any], nuts: Reading | None) -> CountTable | None:
    """Unique rows of the counts, from whichever knows them."""
    if nuts is not None and "unique_rows" in nuts.tree.children:
        return nuts.table
    for fit in points.values():
        counts = getattr(fit, "counts", None)
        if counts is not None:
            table: CountTable = counts.table
            return table
    return None


def _heights(
    readings: dict[str, Reading], rows: CountTable | None, map: Any
) -> dict[str, dict[str, float]]:
    """Log likelihood and log posterior density at every estimate and at the best draw."""
    if rows is None:
        return {}
    spec = getattr(map, "spec", None)
    if spec is None and "nuts" in readings:
        spec = readings["nuts"].spec
    likelihood: dict[str, float] = {}
    posterior: dict[str, float] = {}
    for name, reading in readings.items():
        draws, known = reading.draws, "unique_rows" in reading.tree.children
        density = reading.density if known else RowDensity(draws, rows)
        log_density = density.log_likelihood
        likelihood[name] = float(log_density.max())
        if spec is not None:
            with np.errstate(divide="ignore"):
                posterior[name] = float((log_density + draws.log_prior(spec)).max())
    heights = {"log_likelihood": likelihood}
    return {**heights, "log_posterior": posterior} if posterior else heights


def _same_counts(points: dict[str, Any], readings: dict[str, Reading]) -> None:
    """Check that estimates which say what counts they are of say the same."""
    known = {
        name: {key: reading.tree.attrs[key] for key in _FINGERPRINT}
        for name, reading in readings.items()
        if all(key in reading.tree.attrs for key in _FINGERPRINT)
    }
    for (one, first), (other, second) in itertools.pairwise(known.items()):
        for key, value in first.items():
            if not math.isclose(value, second[key], rel_tol=1e-9):
                raise ValueError(
                    f"{one} and {other} are of different counts: {key.replace('_', ' ')} "
                    f"{value:g} and {second[key]:g}. {_SAME}"
                )
    # Sums can agree by chance, so the rows are compared too.
    tables = {name: _table_of(points.get(name), reading) for name, reading in readings.items()}
    for one, other in itertools.combinations(tables, 2):
        (first_rows, sure), (second_rows, also) = tables[one], tables[other]
        if first_rows is None or second_rows is None:
            continue
        differs = difference(first_rows, second_rows, (one, other), by_value=not (sure and also))
        if differs:
            raise ValueError(f"{one} and {other} are of different counts: {differs}. {_SAME}")


def _table_of(point: Any, reading: Reading) -> tuple[CountTable | None, bool]:
    """Rows that an estimate is of, as far as it knows them, and whether with their exposures."""
    counts = getattr(point, "counts", None)
    tree = reading.tree
    if isinstance(counts, Counts):
        return counts.table, True
    if "unique_rows" in tree.children:
        return reading.table, True
    if "observed_data" in tree.children:
        variable = next(iter(tree["observed_data"].to_dataset().data_vars.values()), None)
        if variable is not None and variable.dims == ("obs",):
            values, times = np.unique(np.asarray(variable.values, np.float64), return_counts=True)
            return CountTable.plain(values, np.ones(values.size), times.astype(float)), False
    return None, False


def _heavy_tails(draws: Floats, spread: Floats) -> NDArray[np.bool_]:
    """Whether the sd is far wider than the central 95 % interval allows for, (3, k)."""
    lower, upper = np.quantile(draws, _INTERVAL, axis=0)
    return np.asarray(spread > _HEAVY * (upper - lower) / 3.92)


def _read(name: str, estimate: Any) -> Reading:
    import xarray as xr

    if isinstance(estimate, xr.DataTree):
        return read(estimate)
    if hasattr(estimate, "to_datatree"):
        return read(estimate.to_datatree())
    raise TypeError(
        f"{name} must be a point fit or an xarray.DataTree; got {type(estimate).__name__}."
    )


def _stacked(draws: Draws) -> Floats:
    """Draws as one array (n_samples, 3, k)."""
    arrays = (draws.weights, draws.means, draws.dispersions)
    return np.stack([array.reshape(-1, draws.n_components) for array in arrays], axis=1)


def _match(values: Floats, reference: Floats, spread: Floats | None) -> NDArray[np.intp]:
    """Order of the components of ``values`` (3, k) that is nearest to the reference."""
    scale = np.abs(reference) if spread is None else spread
    difference = np.abs(values[:, None, :] - reference[:, :, None])
    cost = np.minimum(_standardised(difference, scale[:, :, None]), _CAP).sum(axis=0)
    order, _ = best_permutations(cost[None])
    return np.asarray(order[0])


def _standardised(difference: Floats, scale: Floats) -> Floats:
    """Difference over scale; 0 if neither differs nor varies."""
    scale = np.broadcast_to(scale, difference.shape)
    out = np.copysign(np.inf, difference)
    out[difference == 0] = 0.0
    return np.divide(difference, scale, out=out, where=scale > 0)
