"""Verdict on a tree of draws: two gates, and findings in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pmnbmix.data.counts import Counts
from pmnbmix.data.table import CountTable
from pmnbmix.html import html_table
from pmnbmix.labels.chains import chain_table, group_chains, switching, unmixed
from pmnbmix.labels.components import (
    component_table,
    near_edges,
    overlap_matrix,
    unsafe_ordering,
    weak_labels,
)
from pmnbmix.labels.ecr import Blocks
from pmnbmix.labels.gates import DIVERGENCE_LIMIT, Gates, judge, r_hat_and_ess, tail_ess
from pmnbmix.labels.optima import lower_mode, read_optima
from pmnbmix.labels.relabel import (
    best_draw,
    canonical,
    relabel_by_pivot,
    relabel_by_responsibilities,
    sampled_source,
)
from pmnbmix.labels.relabelling import Relabelling, by_parameter, common_turn
from pmnbmix.labels.stephens import losses_under, swap_margin
from pmnbmix.mixture.draws import Draws
from pmnbmix.mixture.params import PARAMETERS
from pmnbmix.tree.reading import Reading, read

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Floats = NDArray[np.float64]

_TOO_LOW = (
    "The density gate failed (chains agree, but in a lower mode): use nothing of this posterior "
    "yet."
)
_WORST_ROW = "log density of a row (worst)"
# A chain explores the tails too slowly if its E-BFMI is below this (Betancourt 2016,
# arXiv:1604.00695).
LOW_BFMI = 0.3
# The model is doubtful if it uses this many times as many effective parameters as it has.
MANY_PARAMETERS = 1.5


@dataclass(frozen=True)
class Diagnosis:
    """Verdict on a tree of draws.

    Attributes
    ----------
    density_ok : bool
        r-hat <= 1.01 and bulk ESS >= 400 of the log density of every unique row, and if optima
        were passed, chains that are not all in a lower mode. It must hold before LOO, prediction
        or a choice of the number of components.
    components_ok : bool
        Besides, r-hat <= 1.01 of weights, means and dispersions after relabelling. It must hold
        before any summary of a component, and is not enough for one: chains can agree on labels
        that relabelling has made up, which is what "weak-labels" says.
    findings : frozenset of str
        Of "label-switching", "multimodal", "lower-mode", "not-mixed", "empty-component",
        "weak-labels", "near-poisson", "divergences".
    table : pandas.DataFrame
        Per parameter: r_hat_raw and ess_raw with the labels the sampler gave, r_hat, ess_bulk and
        ess_tail after relabelling; the latter three per label-invariant quantity.
    summary : tuple of str
        The verdict and each finding in a sentence, with what to do next; then what else is
        noteworthy.
    chains : pandas.DataFrame
        Per chain: group (chains that agree), mean log likelihood and log posterior and how far
        behind the best group, most frequent labels and their share, switch rate, divergences,
        E-BFMI, and with optima the nearest of them.
    components : pandas.DataFrame
        Per component: occupancy, probabilities that it is empty or near Poisson, separation from
        the others, and which of them overlaps it most.
    overlap : ndarray, shape (k, k)
        Share of component l in the observations of component j, averaged over draws.
    labelling : pandas.DataFrame
        Per relabelling: Stephens' loss in nats per observation and draw, and the share of draws to
        which it gives the same labels as Stephens' algorithm.
    effective_parameters : float
        Sum over observations of the variance of their log density over draws (p_WAIC 2 of Gelman,
        Hwang, Vehtari 2014, doi:10.1007/s11222-013-9416-2), which estimates what p_loo does.
    n_parameters : int
        3 k - 1.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> diagnosis = nb.diagnose(tree)
    >>> diagnosis.density_ok, diagnosis.components_ok, diagnosis.n_parameters
    (True, True, 5)
    >>> diagnosis.overlap.round(1)
    array([[0.9, 0.1],
           [0.1, 0.9]])
    """

    density_ok: bool
    components_ok: bool
    findings: frozenset[str]
    table: pd.DataFrame = field(repr=False)
    summary: tuple[str, ...]
    chains: pd.DataFrame = field(repr=False)
    components: pd.DataFrame = field(repr=False)
    overlap: Floats = field(repr=False)
    labelling: pd.DataFrame = field(repr=False)
    effective_parameters: float
    n_parameters: int

    def __str__(self) -> str:
        return "\n".join(self.summary)

    def _repr_html_(self) -> str:
        rows = [
            ("density gate", "holds" if self.density_ok else "failed"),
            ("components gate", "holds" if self.components_ok else "failed"),
            ("findings", ", ".join(sorted(self.findings)) or "none"),
        ]
        return html_table("diagnosis of a posterior", rows, notes=self.summary)


def diagnose(
    tree: xr.DataTree,
    optima: Any | None = None,
    *,
    counts: Counts | None = None,
    names: Mapping[str, str] | None = None,
) -> Diagnosis:
    """Check whether chains agree, whether labels can be told apart, and what looks doubtful.

    Parameters
    ----------
    tree : xarray.DataTree
        As `sample` returns, relabelled or not (the check relabels for itself); or draws of another
        sampler, with ``counts`` and ``names`` as in `relabel`.
    optima : PointFit, DataFrame or DataTree, optional
        The point fit of the same counts (or its table of optima). Only with it can chains that all
        sit in a lower mode be found out.
    counts : Counts, optional
        What the draws were fitted to, if the tree does not say so itself.
    names : mapping of str to str, optional
        What the tree calls things, if it has names of its own.

    Returns
    -------
    Diagnosis

    Raises
    ------
    TypeError, ValueError
        If the tree lacks the groups that are needed or has some that were edited apart, or
        ``optima`` is of other counts or another number of components.

    Examples
    --------
    >>> import pmnbmix as nb
    >>> counts = nb.load_dataset("crab_satellites")
    >>> tree = nb.sample(counts, nb.MixtureSpec(2), random_seed=1, progressbar=False)
    >>> diagnosis = nb.diagnose(tree)
    >>> print(diagnosis)
    The density gate holds (largest r-hat 1.00..., smallest ESS ... of the log density of a row),
    and so does the components gate: chains agree on every component.
    >>> diagnosis.findings
    frozenset()
    """
    return diagnose_reading(read(tree, counts, names), optima)


def diagnose_reading(reading: Reading, optima: Any | None = None) -> Diagnosis:
    """`diagnose`, of a tree that has been read."""
    tree, table, raw = reading.tree, reading.table, reading.raw
    k = raw.n_components
    if raw.means.shape[1] < 4:
        raise ValueError(
            f"chains have {raw.means.shape[1]} draws; a diagnosis needs 4 at least. Sample more."
        )
    density = reading.density
    rows, _ = density.judged
    known = None if optima is None else read_optima(optima, k, table)

    found = relabel_by_responsibilities(raw, table)
    order = canonical(raw, found.order)
    relabelled = raw.permuted(order)
    source = sampled_source(raw, table)
    overlap = overlap_matrix(*source, order.reshape(-1, k))
    labelling = _labelling(reading, raw, found, source)
    likelihood = density.log_likelihood
    log_posterior = _log_posterior(reading, likelihood)
    height = likelihood if log_posterior is None else log_posterior
    groups = group_chains(rows, height)
    chains = chain_table(tree, density, order, groups, log_posterior, known)
    components = component_table(relabelled, table, overlap)

    statistics = _table(raw, relabelled, _invariants(likelihood, raw))
    gates = judge(density, relabelled)
    statistics.loc[_WORST_ROW, ["r_hat", "ess_bulk"]] = [gates.row_r_hat, gates.row_ess]

    notes: dict[str, str] = {}
    if known is not None:
        notes |= lower_mode(likelihood, table, raw, reading.spec, known)
    too_low = "lower-mode" in notes
    if not gates.density_ok:
        notes |= unmixed(groups, chains, gates)
    notes |= _weak(raw, table, found, order, source)
    notes |= switching(order, weak="weak-labels" in notes)
    notes |= near_edges(components)
    notes |= _divergences(tree)
    effective = density.variance()
    return Diagnosis(
        density_ok=gates.density_ok and not too_low,
        components_ok=gates.components_ok and not too_low,
        findings=frozenset(notes),
        table=statistics,
        summary=(
            _TOO_LOW if too_low and gates.density_ok else gates.sentence,
            *notes.values(),
            *(unsafe_ordering(labelling, "weak-labels" in notes) if k > 1 else ()),
            *_slow_tails(chains),
            *_many_parameters(effective, 3 * k - 1, gates),
            *_interrupted(tree),
        ),
        chains=chains,
        components=components,
        overlap=overlap,
        labelling=labelling,
        effective_parameters=effective,
        n_parameters=3 * k - 1,
    )


def label_weakness(draws: Draws, table: CountTable) -> str:
    """Why the components of draws can hardly be told apart; empty if they can."""
    found = relabel_by_responsibilities(draws, table)
    source = sampled_source(draws, table)
    return "".join(_weak(draws, table, found, canonical(draws, found.order), source).values())


def _weak(
    raw: Draws, table: CountTable, found: Relabelling, order: Any, source: tuple[Any, Any]
) -> dict[str, str]:
    k = raw.n_components
    if k == 1:
        return {}
    added = swap_margin(source[0], source[1].frequency, order.reshape(-1, k))
    loss = found.loss / (raw.n_samples * table.n)
    return weak_labels(loss, float(np.median(added)) / table.n, k)


def _labelling(
    reading: Reading, raw: Draws, found: Relabelling, source: tuple[Blocks, CountTable]
) -> pd.DataFrame:
    """Relabellings side by side: Stephens' loss, and agreement with Stephens' algorithm."""
    import pandas as pd

    k, n = raw.n_components, raw.n_samples * reading.table.n
    records = {"stephens": {"loss": found.loss / n, "agreement": 1.0}}
    if k > 1:
        pivot = best_draw(reading, raw)
        others = {name: relabel_by_pivot(name, raw, source, pivot) for name in ("ecr", "pra")}
        for name in PARAMETERS:
            others[f"order by {name}"] = by_parameter(getattr(raw, name).reshape(-1, k))
        orders = [other.order for other in others.values()]
        losses = losses_under(source[0], source[1].frequency, orders)
        for (name, other), loss in zip(others.items(), losses, strict=True):
            agreement = common_turn(found.order, other.order)[1]
            records[name] = {"loss": loss / n, "agreement": agreement}
    out = pd.DataFrame.from_dict(records, orient="index")
    out.index.name = "method"
    return out


def _log_posterior(reading: Reading, likelihood: Floats) -> Floats | None:
    """Log posterior of each draw but for a constant; None if the prior is not known."""
    if reading.log_prior is not None:
        return likelihood + reading.log_prior
    return None if reading.spec is None else likelihood + reading.raw.log_prior(reading.spec)


def _invariants(likelihood: Floats, draws: Draws) -> dict[str, Floats]:
    """Quantities (chain, draw) that no permutation changes."""
    mean = (draws.weights * draws.means).sum(-1)
    second = draws.weights * (draws.means**2 * (1.0 + draws.dispersions) + draws.means)
    invariant = {
        "log likelihood": likelihood,
        "mixture mean": mean,
        "mixture variance": second.sum(-1) - mean**2,
    }
    if draws.n_components > 1:
        ascending = np.sort(draws.weights, axis=-1)
        for j in range(draws.n_components):
            invariant[f"sorted weight {j}"] = ascending[..., j]
    return invariant


def _table(raw: Draws, relabelled: Draws, invariant: dict[str, Floats]) -> pd.DataFrame:
    import pandas as pd

    records: dict[str, dict[str, float]] = {}
    for name in PARAMETERS:
        if name == "weights" and raw.n_components == 1:
            continue
        before, ess_raw = r_hat_and_ess(getattr(raw, name))
        after, ess = r_hat_and_ess(getattr(relabelled, name))
        tail = tail_ess(getattr(relabelled, name))
        for j in range(raw.n_components):
            records[f"{name}[{j}]"] = {
                "r_hat_raw": before[j],
                "ess_raw": ess_raw[j],
                "r_hat": after[j],
                "ess_bulk": ess[j],
                "ess_tail": tail[j],
            }
    together = np.stack(list(invariant.values()), axis=-1)
    r_hat, ess = r_hat_and_ess(together)
    tail = tail_ess(together)
    for i, name in enumerate(invariant):
        records[name] = {"r_hat": r_hat[i], "ess_bulk": ess[i], "ess_tail": tail[i]}
    table = pd.DataFrame.from_dict(records, orient="index")
    table.index.name = "quantity"
    return table


def _divergences(tree: xr.DataTree) -> dict[str, str]:
    if _attributes_hold(tree):
        # The attributes count all draws, of which the tree may have kept every so many.
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


def _attributes_hold(tree: xr.DataTree) -> bool:
    """Whether the attributes count the divergences of these chains, and not of more or fewer."""
    if not {"n_divergent", "n_sampled"} <= set(tree.attrs):
        return False
    sizes = tree["posterior"].sizes
    per_chain = int(tree.attrs.get("thinned_from", tree.attrs["n_sampled"] // sizes["chain"]))
    return bool(per_chain * sizes["chain"] == tree.attrs["n_sampled"])


def _slow_tails(chains: pd.DataFrame) -> tuple[str, ...]:
    slow = chains.index[chains["e_bfmi"] < LOW_BFMI]
    if not len(slow):
        return ()
    return (
        f"E-BFMI is below {LOW_BFMI} in chain {', '.join(map(str, slow))} (lowest "
        f"{chains['e_bfmi'].min():.2f}): tails are explored slowly. Sample more draws; a prior "
        "with lighter tails helps.",
    )


def _many_parameters(effective: float, n_parameters: int, gates: Gates) -> tuple[str, ...]:
    if not gates.density_ok or effective <= MANY_PARAMETERS * n_parameters:
        return ()
    return (
        f"The fit uses {effective:.1f} effective parameters, and the model has {n_parameters}: "
        "single counts decide it, or the model is wrong for them. Look at plot_fit.",
    )


def _interrupted(tree: xr.DataTree) -> tuple[str, ...]:
    if not tree.attrs.get("interrupted", 0):
        return ()
    chains, draws = tree["posterior"].sizes["chain"], tree["posterior"].sizes["draw"]
    return (
        f"Sampling was interrupted: {chains} chains of {draws} draws are all there is. Sample "
        "again before anything is reported.",
    )
