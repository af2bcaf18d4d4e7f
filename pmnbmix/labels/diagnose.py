"""What can be believed of a tree of draws: two gates, and findings in words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import CountTable
from pmnbmix.labels.gates import (
    DIVERGENCE_LIMIT,
    R_HAT_LIMIT,
    Gates,
    judge,
    r_hat_and_ess,
    row_log_density,
)
from pmnbmix.labels.relabel import canonical, raw_draws, relabel_by_responsibilities
from pmnbmix.mixture.draws import Draws, read_table
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.mixture.spec import MixtureSpec

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

# Share of draws with another permutation than most, from which labels count as switching.
_SWITCHING_SHARE = 0.01
# Stephens' loss in nats per observation: 0.04 on clean fits, 0.14 and more where labels blur.
_WEAK_LOSS = 0.1
# A component is near Poisson where dispersion adds less than this share to its variance.
_NEAR_POISSON = 0.1
_WORST_ROW = "log density of a row (worst)"


@dataclass(frozen=True)
class Diagnosis:
    """Verdict on a tree of draws.

    Attributes
    ----------
    density_ok : bool
        r-hat <= 1.01 and bulk ESS >= 400 of the log density of every unique row. It must hold
        before LOO, prediction or a choice of the number of components.
    components_ok : bool
        Besides, r-hat <= 1.01 of weights, means and dispersions after relabelling. It must hold
        before any summary of a component.
    findings : frozenset of str
        Of "label-switching", "multimodal", "lower-mode", "not-mixed", "empty-component",
        "weak-labels", "near-poisson", "divergences".
    table : pandas.DataFrame
        Per parameter: r_hat_raw, r_hat and ess_bulk after relabelling; per label-invariant
        quantity: r_hat and ess_bulk.
    summary : tuple of str
        The verdict and each finding in a sentence, with what to do next.
    """

    density_ok: bool
    components_ok: bool
    findings: frozenset[str]
    table: pd.DataFrame = field(repr=False)
    summary: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.summary)


def diagnose(tree: xr.DataTree, optima: Any | None = None) -> Diagnosis:
    """Check whether chains agree, whether labels can be told apart, and what looks doubtful.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns, relabelled or not; the check relabels for itself.
    optima : PointFit, DataFrame or DataTree, optional
        The point fit of the same counts (or its table of optima). Only with it can chains that all
        sit in a lower mode be found out.

    Returns
    -------
    Diagnosis

    Raises
    ------
    TypeError, ValueError
        Where the tree lacks the groups that are needed, or ``optima`` is of other counts or
        another number of components.
    """
    rows = row_log_density(tree)
    table = read_table(tree)
    raw, _ = raw_draws(tree)
    found = relabel_by_responsibilities(raw, table)
    relabelled = raw.permuted(canonical(raw, found.order))
    statistics = _table(raw, relabelled, _invariants(rows, table, raw))
    gates = judge(rows, relabelled)
    statistics.loc[_WORST_ROW, ["r_hat", "ess_bulk"]] = [gates.row_r_hat, gates.row_ess]

    notes: dict[str, str] = {}
    if not gates.density_ok:
        notes |= _unmixed(rows, table, gates)
    notes |= _switching(found.order, raw)
    notes |= _weak_labels(found.loss, raw, table)
    notes |= _near_edges(relabelled, table)
    notes |= _divergences(tree)
    if optima is not None:
        spec = tree.attrs.get("spec")
        prior = None if spec is None else MixtureSpec.from_dict(json.loads(spec))
        notes |= _lower_mode(rows, table, raw, prior, optima)
    return Diagnosis(
        density_ok=gates.density_ok,
        components_ok=gates.components_ok,
        findings=frozenset(notes),
        table=statistics,
        summary=(gates.sentence, *notes.values(), *_interrupted(tree)),
    )


def _invariants(rows: Floats, table: CountTable, draws: Draws) -> dict[str, Floats]:
    """Quantities (chain, draw) that no permutation changes."""
    mean = (draws.weights * draws.means).sum(-1)
    second = draws.weights * (draws.means**2 * (1.0 + draws.dispersions) + draws.means)
    return {
        "log likelihood": rows @ table.frequency,
        "mixture mean": mean,
        "mixture variance": second.sum(-1) - mean**2,
    }


def _table(raw: Draws, relabelled: Draws, invariant: dict[str, Floats]) -> pd.DataFrame:
    import pandas as pd

    records: dict[str, dict[str, float]] = {}
    for name in PARAMETERS:
        if name == "weights" and raw.n_components == 1:
            continue
        before, _ = r_hat_and_ess(getattr(raw, name))
        after, ess = r_hat_and_ess(getattr(relabelled, name))
        for j in range(raw.n_components):
            records[f"{name}[{j}]"] = {
                "r_hat_raw": before[j],
                "r_hat": after[j],
                "ess_bulk": ess[j],
            }
    for name, array in invariant.items():
        r_hat, ess = r_hat_and_ess(array[..., None])
        records[name] = {"r_hat": r_hat[0], "ess_bulk": ess[0]}
    table = pd.DataFrame.from_dict(records, orient="index")
    table.index.name = "quantity"
    return table


def _unmixed(rows: Floats, table: CountTable, gates: Gates) -> dict[str, str]:
    if rows.shape[0] < 2:
        return {
            "not-mixed": (
                "One chain alone cannot show that it has converged; run two chains or more."
            )
        }
    if gates.row_r_hat <= R_HAT_LIMIT:
        return {
            "not-mixed": (
                f"Chains agree, but their draws are worth only {gates.row_ess:.0f} independent "
                "ones: sample more draws."
            )
        }
    r_hat = r_hat_and_ess(rows)[0]
    worst_row = rows[:, :, int(np.argmax(r_hat))]
    levels = (rows @ table.frequency).mean(axis=1)
    chains = ", ".join(f"{level:.1f}" for level in levels)
    # each chain by itself is in equilibrium, yet chains disagree: they are in different modes
    even = worst_row[:, : worst_row.shape[1] - worst_row.shape[1] % 2]
    alone = [r_hat_and_ess(chain.reshape(2, -1)[..., None])[0][0] for chain in even]
    within = np.sqrt(even.var(axis=1, ddof=1).mean())
    between = float(np.ptp(even.mean(axis=1)))
    if r_hat.max() > 1.05 and max(alone) < 1.05 and between > 2.0 * within:
        return {
            "multimodal": (
                f"Chains are in different modes (mean log likelihood by chain: {chains}). Their "
                "shares say nothing of the modes' probabilities: sample more chains, or set "
                "priors that exclude the lower mode."
            )
        }
    return {
        "not-mixed": (
            f"Chains have not mixed (mean log likelihood by chain: {chains}). Sample with more "
            "draws and tuning, or fit fewer components."
        )
    }


def _switching(order: NDArray[np.intp], raw: Draws) -> dict[str, str]:
    if raw.n_components == 1:
        return {}
    patterns, which = np.unique(order, axis=0, return_inverse=True)
    shares = np.bincount(which.ravel(), minlength=len(patterns)) / order.shape[0]
    moved = 1.0 - float(shares.max())
    if moved < _SWITCHING_SHARE:
        return {}
    by_chain = which.reshape(raw.means.shape[:2])
    within = bool((by_chain != by_chain[:, :1]).any())
    where = "within chains" if within else "between chains"
    return {
        "label-switching": (
            f"Labels switched {where} ({moved:.0%} of the draws); relabelling has repaired it. "
            "Raw r-hat of weights, means and dispersions means nothing here."
        )
    }


def _weak_labels(loss: float, raw: Draws, table: CountTable) -> dict[str, str]:
    per_observation = loss / (raw.n_samples * table.n)
    if raw.n_components == 1 or per_observation <= _WEAK_LOSS:
        return {}
    return {
        "weak-labels": (
            f"Components can hardly be told apart (Stephens loss {per_observation:.2f} nats per "
            "observation): trust the mixture's density, not the single components."
        )
    }


def _near_edges(draws: Draws, table: CountTable) -> dict[str, str]:
    notes = {}
    axes = (0, 1)
    empty = np.flatnonzero((draws.weights * table.n < 1.0).mean(axis=axes) > 0.05)
    if empty.size:
        notes["empty-component"] = (
            f"Component {_listed(empty)} often holds less than one observation; fewer components "
            "may do."
        )
    exposure = float(table.frequency @ table.exposure) / table.n
    added = draws.dispersions * draws.means * exposure
    poisson = np.flatnonzero((added < _NEAR_POISSON).mean(axis=axes) > 0.5)
    if poisson.size:
        notes["near-poisson"] = (
            f"Component {_listed(poisson)} is probably within {_NEAR_POISSON:.0%} of Poisson "
            "variance; the prior decides how small its dispersion is."
        )
    return notes


def _listed(indices: NDArray[np.intp]) -> str:
    return ", ".join(str(index) for index in indices)


def _divergences(tree: xr.DataTree) -> dict[str, str]:
    if "n_divergent" in tree.attrs and "n_sampled" in tree.attrs:
        # of all draws, where only every so many were kept
        n, of = int(tree.attrs["n_divergent"]), int(tree.attrs["n_sampled"])
    elif "sample_stats" in tree.children and "diverging" in tree["sample_stats"]:
        diverging = np.asarray(tree["sample_stats"]["diverging"].values)
        n, of = int(diverging.sum()), diverging.size
    else:
        return {}
    if n <= DIVERGENCE_LIMIT * of:
        return {}
    return {
        "divergences": (
            f"{n} of {of} draws diverged; parts of the posterior may be missing. Sample with a "
            "higher target_accept."
        )
    }


def _interrupted(tree: xr.DataTree) -> tuple[str, ...]:
    if not tree.attrs.get("interrupted", 0):
        return ()
    chains, draws = tree["posterior"].sizes["chain"], tree["posterior"].sizes["draw"]
    return (
        f"Sampling was interrupted: {chains} chains of {draws} draws are all there is. Sample "
        "again before anything is reported.",
    )


def _lower_mode(
    rows: Floats, table: CountTable, raw: Draws, spec: MixtureSpec | None, optima: Any
) -> dict[str, str]:
    known = _known_optima(optima, raw.n_components, table.n)
    likelihood = rows @ table.frequency
    # draws lie below the maximum by a gamma variable of about (3k - 1) / 2, the best of them by
    # next to nothing; the rest is what a prior may cost
    allowed = 3.0 + 0.5 * (3 * raw.n_components - 1)
    best = max(value for value, _ in known)
    if best - likelihood.max() <= allowed:
        return {}
    if spec is not None:
        # a prior can rightly hold the chains below an optimum of the likelihood
        highest = max(value + _log_prior(spec, _inside(draw, table)) for value, draw in known)
        if highest - (likelihood + _log_prior(spec, raw)).max() <= allowed:
            return {}
    return {
        "lower-mode": (
            f"No chain comes near the best known optimum: its log likelihood is {best:.1f}, the "
            f"best draw has {likelihood.max():.1f}, and the prior does not explain it. Sample "
            "again with more chains or another seed."
        )
    }


def _log_prior(spec: MixtureSpec, draws: Draws) -> Floats:
    """Log prior density of each draw in (weights, log means, log dispersions)."""
    return np.asarray(
        spec.weights.log_density(draws.weights)
        + spec.log_means.log_density(np.log(draws.means)).sum(-1)
        + spec.log_dispersions.log_density(np.log(draws.dispersions)).sum(-1)
    )


def _inside(draws: Draws, table: CountTable) -> Draws:
    """Parameters moved off the edges, where a prior has no density, by as little as data notice."""
    exposed = float(table.frequency @ table.exposure)
    weights = np.maximum(draws.weights, 0.5 / table.n)
    means = np.maximum(draws.means, 0.5 / exposed)
    # a hundredth of the Poisson variance
    least = 0.01 * table.n / (means * exposed)
    return Draws(
        weights / weights.sum(-1, keepdims=True), means, np.maximum(draws.dispersions, least)
    )


def _known_optima(optima: Any, n_components: int, n: float) -> list[tuple[float, Draws]]:
    """Log likelihood and parameters of every optimum of a point fit, its table, or its tree."""
    counts = getattr(optima, "counts", None)
    if counts is not None and counts.n != n:
        raise ValueError(
            f"optima is a fit of {counts.n} observations, but the tree has {n:.0f}. Pass the fit "
            "of the same counts."
        )
    try:
        if hasattr(optima, "children"):
            # a tree would answer to .optima too, with its group
            dataset = optima["optima"].to_dataset()
            columns = {name: dataset[name].values for name in ("log_likelihood", *PARAMETERS)}
        else:
            frame = getattr(optima, "optima", optima)
            columns = {"log_likelihood": np.asarray(frame["log_likelihood"], np.float64)}
            columns |= {name: np.array(frame[name].tolist(), np.float64) for name in PARAMETERS}
    except (KeyError, TypeError, AttributeError, ValueError):
        raise TypeError(
            "optima must be a PointFit, its .optima table or its tree; got "
            f"{type(optima).__name__}."
        ) from None
    found = columns["means"].shape[-1]
    if found != n_components:
        raise ValueError(
            f"optima has {found} components, but the tree has {n_components}. Pass the fit with "
            "the same number."
        )
    return [
        (float(value), Draws(*(columns[name][None, i : i + 1] for name in PARAMETERS)))
        for i, value in enumerate(columns["log_likelihood"])
    ]
