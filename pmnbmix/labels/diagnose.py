"""What can be believed of a tree of draws: two gates, and findings in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import CountTable
from pmnbmix.labels.relabel import raw_draws, relabel_by_responsibilities
from pmnbmix.mixture.draws import Draws, group, read_draws, read_table
from pmnbmix.mixture.params import PARAMETERS

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

# The limits of both gates (Vehtari et al. 2021, doi:10.1214/20-BA1221).
R_HAT_LIMIT = 1.01
ESS_LIMIT = 400.0
DIVERGENCE_LIMIT = 1e-3
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
        Where the tree lacks the groups that are needed.
    """
    rows = _row_log_density(tree)
    table = read_table(tree)
    raw, _ = raw_draws(tree)
    found = relabel_by_responsibilities(raw, table)
    relabelled = raw.permuted(found.order.reshape(raw.means.shape))
    statistics = _table(raw, relabelled, _invariants(rows, table, raw))
    gates = _judge(rows, relabelled)
    statistics.loc[_WORST_ROW, ["r_hat", "ess_bulk"]] = [gates.row_r_hat, gates.row_ess]

    notes: dict[str, str] = {}
    if not gates.density_ok:
        notes |= _unmixed(rows, table)
    notes |= _switching(found.order, raw)
    notes |= _weak_labels(found.loss, raw, table)
    notes |= _near_edges(relabelled, table)
    notes |= _divergences(tree)
    if optima is not None:
        notes |= _lower_mode(rows, table, optima, raw.n_components)
    return Diagnosis(
        density_ok=gates.density_ok,
        components_ok=gates.components_ok,
        findings=frozenset(notes),
        table=statistics,
        summary=(gates.sentence, *notes.values()),
    )


@dataclass(frozen=True)
class Gates:
    """The two gates and the figures they were judged by.

    Attributes
    ----------
    row_r_hat, row_ess : float
        Largest r-hat and smallest bulk ESS of the log density of a unique row.
    component_r_hat, component_ess : float
        Largest r-hat and smallest ESS, bulk or tail, of weights, means and dispersions with the
        labels of the tree.
    """

    row_r_hat: float
    row_ess: float
    component_r_hat: float
    component_ess: float

    @property
    def density_ok(self) -> bool:
        """Whether the density of the mixture has converged."""
        return self.row_r_hat <= R_HAT_LIMIT and self.row_ess >= ESS_LIMIT

    @property
    def components_ok(self) -> bool:
        """Whether, besides, the single components have."""
        return self.density_ok and self.component_r_hat <= R_HAT_LIMIT

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        figures = f"largest r-hat {self.row_r_hat:.3f}, smallest ESS {self.row_ess:.0f}"
        if not self.density_ok:
            return (
                f"The density gate failed ({figures} of the log density of a row; needed: at most "
                f"{R_HAT_LIMIT}, at least {ESS_LIMIT:.0f}): use nothing of this posterior yet."
            )
        density = f"The density gate holds ({figures} of the log density of a row)"
        if not self.components_ok:
            return (
                f"{density}, so predictions and LOO can be used; the components gate failed "
                f"(r-hat {self.component_r_hat:.3f} after relabelling): do not report single "
                "components."
            )
        return f"{density}, and so does the components gate: components can be reported."


def check_gates(tree: xr.DataTree) -> Gates:
    """Judge both gates on a relabelled tree."""
    return _judge(_row_log_density(tree), read_draws(tree))


def _judge(rows: Floats, relabelled: Draws) -> Gates:
    r_hat, ess = _r_hat_and_ess(rows)
    names = PARAMETERS if relabelled.n_components > 1 else PARAMETERS[1:]
    of_components = [_r_hat_and_ess(getattr(relabelled, name)) for name in names]
    tails = [_ess(getattr(relabelled, name), "tail").min() for name in names]
    return Gates(
        row_r_hat=float(r_hat.max()),
        row_ess=float(ess.min()),
        component_r_hat=float(max(values.max() for values, _ in of_components)),
        component_ess=float(min(*(values.min() for _, values in of_components), *tails)),
    )


def _row_log_density(tree: xr.DataTree) -> Floats:
    """Log density of every unique row under every draw, (chain, draw, unique_row)."""
    dataset = group(tree, "log_likelihood_unique", "sample()").to_dataset()
    variable = next(iter(dataset.data_vars.values()))
    return np.asarray(variable.transpose("chain", "draw", "unique_row").values)


def _r_hat_and_ess(array: Floats) -> tuple[Floats, Floats]:
    """Rank-normalised split r-hat and bulk ESS of (chain, draw, quantity).

    A quantity that never changes is converged: r-hat 1, every draw effective. With one chain, or
    fewer than four draws, neither can be told: infinite r-hat, no effective draws.
    """
    import arviz as az

    r_hat = _by_quantity(array, lambda data: az.rhat(data), constant=1.0)
    # a chain that never moves while another does has no variance within: not converged
    return np.where(np.isnan(r_hat), np.inf, r_hat), _ess(array, "bulk")


def _ess(array: Floats, method: str) -> Floats:
    """Effective sample size of (chain, draw, quantity); 0 where it cannot be told."""
    import arviz as az

    constant = float(array.shape[0] * array.shape[1])
    ess = _by_quantity(array, lambda data: az.ess(data, method=method), constant)
    return np.where(np.isnan(ess), 0.0, ess)


def _by_quantity(
    array: Floats, statistic: Callable[[xr.Dataset], xr.Dataset], constant: float
) -> Floats:
    """ArviZ's statistic of each quantity that varies; NaN where chains or draws are too few."""
    import xarray as xr

    n_chains, n_draws, n = array.shape
    if n_chains < 2 or n_draws < 4:
        return np.full(n, np.nan)
    out = np.full(n, constant)
    varies = (array != array[:1, :1]).any(axis=(0, 1))
    if varies.any():
        data = xr.Dataset({"q": (("chain", "draw", "quantity"), array[:, :, varies])})
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            out[varies] = statistic(data)["q"].values
    return out


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
        before, _ = _r_hat_and_ess(getattr(raw, name))
        after, ess = _r_hat_and_ess(getattr(relabelled, name))
        for j in range(raw.n_components):
            records[f"{name}[{j}]"] = {
                "r_hat_raw": before[j],
                "r_hat": after[j],
                "ess_bulk": ess[j],
            }
    for name, array in invariant.items():
        r_hat, ess = _r_hat_and_ess(array[..., None])
        records[name] = {"r_hat": r_hat[0], "ess_bulk": ess[0]}
    table = pd.DataFrame.from_dict(records, orient="index")
    table.index.name = "quantity"
    return table


def _unmixed(rows: Floats, table: CountTable) -> dict[str, str]:
    if rows.shape[0] < 2:
        return {
            "not-mixed": (
                "One chain alone cannot show that it has converged; run two chains or more."
            )
        }
    r_hat = _r_hat_and_ess(rows)[0]
    worst_row = rows[:, :, int(np.argmax(r_hat))]
    levels = (rows @ table.frequency).mean(axis=1)
    chains = ", ".join(f"{level:.1f}" for level in levels)
    # each chain by itself is in equilibrium, yet chains disagree: they are in different modes
    even = worst_row[:, : worst_row.shape[1] - worst_row.shape[1] % 2]
    alone = [_r_hat_and_ess(chain.reshape(2, -1)[..., None])[0][0] for chain in even]
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
    if "sample_stats" not in tree.children or "diverging" not in tree["sample_stats"]:
        return {}
    diverging = np.asarray(tree["sample_stats"]["diverging"].values)
    if diverging.mean() <= DIVERGENCE_LIMIT:
        return {}
    return {
        "divergences": (
            f"{int(diverging.sum())} of {diverging.size} draws diverged; parts of the posterior "
            "may be missing. Sample with a higher target_accept."
        )
    }


def _lower_mode(rows: Floats, table: CountTable, optima: Any, n_components: int) -> dict[str, str]:
    best = _best_log_likelihood(optima)
    reached = float((rows @ table.frequency).max())
    # draws lie below the maximum by a gamma variable of about (3k - 1) / 2, the best of them by
    # next to nothing; the rest is what a prior may cost
    allowed = 3.0 + 0.5 * (3 * n_components - 1)
    if best - reached <= allowed:
        return {}
    return {
        "lower-mode": (
            f"No chain comes near the best known optimum: its log likelihood is {best:.1f}, the "
            f"best draw has {reached:.1f}. Start chains there, as sample() does by itself."
        )
    }


def _best_log_likelihood(optima: Any) -> float:
    """Highest log likelihood of a point fit, its table of optima, or its tree."""
    try:
        # a tree would answer to .optima too, with its group
        table = optima["optima"] if hasattr(optima, "children") else optima
        table = getattr(table, "optima", table)
        return float(table["log_likelihood"].max())
    except (KeyError, TypeError, AttributeError):
        raise TypeError(
            "optima must be a PointFit, its .optima table or its tree; got "
            f"{type(optima).__name__}."
        ) from None
