"""Other answers to how many components: tests, evidence, a sparse prior, modes of the density."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import find_peaks

from pmnbmix.data.counts import Counts
from pmnbmix.labels.gates import judge
from pmnbmix.mixture.params import MixtureParams
from pmnbmix.mixture.priors import DirichletPrior
from pmnbmix.mixture.spec import MixtureSpec
from pmnbmix.point.bootstrap import bootstrap_lrt
from pmnbmix.posterior.inference import sample
from pmnbmix.progress import Watch, stage
from pmnbmix.seeds import stream
from pmnbmix.selection.evidence import MOST_COMPONENTS, log_evidence
from pmnbmix.study.fitting import Fitted
from pmnbmix.tree.reading import read

Floats = NDArray[np.float64]

# With this concentration components that are not needed become empty, because it is below half
# the number of parameters of one (Rousseau, Mengersen 2011, doi:10.1111/j.1467-9868.2011.00781.x).
_SPARSE = 0.1
_REPLICATES = 99
# A difference of log evidence from here on is a factor of 20, "strong" to Kass and Raftery (1995).
_STRONG = 3.0
_LEVEL = 0.05
_LARGEST_COUNT = 100_000


@dataclass(frozen=True, eq=False)
class Thorough:
    """Other answers to how many components there are.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by number of components: log_evidence and its mcse (NaN above 6 components, or where
        the density gate failed), p_value of the bootstrap likelihood ratio test of one component
        fewer, density_modes (local maxima of the fitted distribution at exposure 1).
    occupied : pandas.Series
        Posterior probability of each number of components that hold an observation, where the
        weights have a sparse Dirichlet prior (concentration 0.1).
    occupied_ok : bool
        Whether that posterior passed its density gate.
    """

    table: pd.DataFrame = field(repr=False)
    occupied: pd.Series = field(repr=False)
    occupied_ok: bool

    @property
    def sentences(self) -> tuple[str, ...]:
        """What each criterion says."""
        return _sentences(self.table, self.occupied, self.occupied_ok)


def look_thoroughly(
    counts: Counts, spec: MixtureSpec, fits: dict[int, Fitted], entropy: int, watch: Watch | None
) -> Thorough:
    """Ask the other criteria about numbers of components that were fitted.

    Parameters
    ----------
    counts : Counts
    spec : MixtureSpec
        Resolved.
    fits : dict of int to Fitted
    entropy : int
        From which random streams are made.
    watch : callable, optional

    Returns
    -------
    Thorough
    """

    rows = {}
    for k, fitted in fits.items():
        rng = stream(entropy, 1000 + k)
        row = {"log_evidence": np.nan, "mcse": np.nan, "p_value": np.nan}
        stage(watch, f"K={k}: evidence")
        if k <= MOST_COMPONENTS and fitted.diagnosis.density_ok:
            found = log_evidence(fitted.tree, random_seed=rng)
            row |= {"log_evidence": found.log_evidence, "mcse": found.mcse}
        if k - 1 in fits:
            stage(watch, f"K={k}: bootstrap test of {k - 1}")
            test = bootstrap_lrt(
                counts,
                null=k - 1,
                alternative=k,
                n_boot=_REPLICATES,
                random_seed=rng,
                progressbar=False,
            )
            row["p_value"] = test.p_value
        rows[k] = {**row, "density_modes": count_modes(fitted.em.params, int(counts.values.max()))}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "n_components"
    stage(watch, "sparse prior")
    occupied, ok = occupied_components(counts, spec, max(fits) + 1, stream(entropy, 2000))
    return Thorough(table, occupied, ok)


def count_modes(params: MixtureParams, largest: int) -> int:
    """Local maxima of a fitted distribution at exposure 1, up to some count; plateaus are one."""
    values = np.arange(min(largest, _LARGEST_COUNT) + 2)
    log_density = params.logpmf(values)
    return len(find_peaks(np.concatenate([[-np.inf], log_density, [-np.inf]]))[0])


def occupied_components(
    counts: Counts, spec: MixtureSpec, n_components: int, rng: np.random.Generator
) -> tuple[pd.Series, bool]:
    """Posterior of the number of components that hold an observation, under a sparse prior.

    Returns
    -------
    occupied : pandas.Series
        Probability of each number, by number.
    density_ok : bool
        Whether the draws can be relied on.
    """
    sparse = replace(spec.with_components(n_components), weights=DirichletPrior(_SPARSE))
    # Weights near 0 give the posterior long thin arms, so steps must be short and draws many.
    tree = sample(
        counts,
        sparse,
        draws=2500,
        tune=1500,
        target_accept=0.95,
        random_seed=rng,
        progressbar=False,
    )
    reading = read(tree)
    draws, table = reading.draws, reading.table
    empty = np.zeros((draws.n_samples, n_components))
    for rows, p in draws.responsibility_blocks(table):
        with np.errstate(divide="ignore"):
            empty += np.einsum("u,suk->sk", table.frequency[rows], np.log1p(-np.minimum(p, 1.0)))
    # For each draw, which components hold an observation is drawn from its probability.
    held = rng.random(empty.shape) >= np.exp(empty)
    number = np.maximum(held.sum(axis=1), 1)
    shares = np.bincount(number, minlength=n_components + 1)[1:] / number.size
    index = pd.RangeIndex(1, n_components + 1, name="occupied")
    gates = judge(reading.density, draws)
    return pd.Series(shares, index=index, name="probability"), gates.density_ok


def _sentences(table: pd.DataFrame, occupied: pd.Series, ok: bool) -> tuple[str, ...]:
    out = []
    numbers: list[int] = table.index.to_list()
    evidence = {k: v for k, v in zip(numbers, table["log_evidence"], strict=True) if v == v}
    if len(evidence) > 1:
        best = max(evidence, key=lambda k: evidence[k])
        near = [k for k in evidence if k != best and evidence[best] - evidence[k] < _STRONG]
        rest = f"; {', '.join(map(str, near))} within a factor of 20" if near else ""
        out.append(f"Evidence, which depends on the priors, is highest for {best}{rest}.")
    tested = {k: p for k, p in zip(numbers, table["p_value"], strict=True) if p == p}
    if tested:
        first = next((k for k, p in tested.items() if p > _LEVEL), None)
        if first is None:
            text = f"rejects every number below {max(tested)}"
        else:
            text = f"finds no need for more than {first - 1} (p = {tested[first]:.2f})"
        out.append(f"The bootstrap likelihood ratio test {text}.")
    doubt = "" if ok else ", but its posterior failed the density gate"
    most = int(np.argmax(occupied)) + 1
    number = "1 component is" if most == 1 else f"{most} components are"
    out.append(
        f"Under a sparse prior {number} occupied most often "
        f"({occupied.max():.0%} of the draws){doubt}."
    )
    modes = zip(numbers, table["density_modes"].astype(int), strict=True)
    listed = ", ".join(f"{number} (K={k})" for k, number in modes)
    out.append(f"Modes of the fitted distributions: {listed}.")
    return tuple(out)
