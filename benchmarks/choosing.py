"""How often each criterion chooses the right number of components: a simulation study.

    python benchmarks/choosing.py OUT.csv [DATA_SETS] [FIRST] [BOOTSTRAPPED]

Twelve settings, 200 data sets each; rows are appended as they come, and what is there already is
not made again. Posteriors are made the quick way where that is the same (`notebooks/choosing.py`
shows on some that it is): importance sampling around the mode where k-hat is below 0.7, else four
chains of 500 draws, of 2,000 where these fail the density gate, and `sample` itself after that.
"""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp

import pmnbmix as nb
from pmnbmix.data.table import CountTable
from pmnbmix.labels.gates import judge
from pmnbmix.labels.relabel import canonical, relabel_by_responsibilities
from pmnbmix.mixture.draws import Draws, unpack
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.row_density import RowDensity
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.engines import Settings, run_nutpie
from pmnbmix.posterior.laplace import K_HAT_LIMIT, ONE_MODE, importance, mass_shares
from pmnbmix.posterior.modes import find_modes, spread_starts
from pmnbmix.selection.loo import elpd_of, relative_efficiency
from pmnbmix.selection.rule import judge_components
from pmnbmix.tree.reading import read

# Posteriors by importance sampling need so many independent draws of so many weighted ones.
_WEIGHTED, _INDEPENDENT = 12_000, 2000
_REPLICATES = 39


@dataclass(frozen=True)
class Setting:
    """A law of counts."""

    name: str
    truth: nb.MixtureParams
    n: int
    contaminated: float = 0.0

    @property
    def most(self) -> int:
        """Components that are tried: one more than there are, where choosing would stop too."""
        return 4 if self.contaminated else max(3, self.truth.n_components + 1)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Counts, some replaced by uniform ones from 0 to 400 where the setting says so."""
        values = self.truth.sample(n, random_seed=rng)[0]
        replaced = rng.random(n) < self.contaminated
        return np.where(replaced, rng.integers(0, 401, n), values)

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """Log density of the law itself."""
        own = self.truth.logpmf(values)
        if not self.contaminated:
            return own
        outside = np.where(values <= 400, np.log(self.contaminated / 401), -np.inf)
        return np.logaddexp(np.log1p(-self.contaminated) + own, outside)


def _laws() -> dict[str, nb.MixtureParams]:
    def law(weights: list[float], means: list[float], inverse: list[float]) -> nb.MixtureParams:
        return nb.MixtureParams(weights, means, 1.0 / np.array(inverse))

    return {
        "one": law([1.0], [5.0], [2.0]),
        "two separated": law([0.6, 0.4], [2.0, 20.0], [3.0, 5.0]),
        "equal means": law([0.5, 0.5], [5.0, 5.0], [1.0, 60.0]),
        "three": law([0.4, 0.35, 0.25], [1.0, 8.0, 40.0], [5.0] * 3),
        "Poisson pair": law([0.5, 0.5], [3.0, 9.0], [np.inf] * 2),
    }


SETTINGS = [
    *(Setting(name, truth, n) for name, truth in _laws().items() for n in (200, 2000)),
    *(Setting("contaminated", _laws()["two separated"], n, 0.01) for n in (200, 2000)),
]


@dataclass(frozen=True, eq=False)
class Quick:
    """A posterior with its verdict."""

    draws: Draws
    rows: RowDensity
    reff: float
    how: str
    density_ok: bool


def quick(counts: nb.Counts, spec: nb.MixtureSpec, rng: np.random.Generator) -> Quick:
    """Posterior of one number of components, the quickest way that is sound."""
    modes = find_modes(counts, spec, rng)
    target = make_target(Problem.of(counts, spec))
    if mass_shares(modes)[0] > ONE_MODE:
        found = importance(target, modes[0], _WEIGHTED, rng)
        if found.k_hat < K_HAT_LIMIT and found.effective > _INDEPENDENT:
            edges = np.cumsum(np.exp(found.log_weights))
            places = (np.arange(_INDEPENDENT) + rng.random()) / _INDEPENDENT
            packed = rng.permutation(found.packed[np.searchsorted(edges / edges[-1], places)])
            draws = unpack(packed.reshape(4, -1, packed.shape[1]))
            return Quick(draws, RowDensity(draws, counts.table), 1.0, "importance", True)
    starts, _ = spread_starts(target, modes, 4, rng)
    seeds = rng.integers(2**31, size=4).tolist()
    chains = run_nutpie(target, starts, seeds, Settings(500, 500, 0.9), lambda done, total: None)
    draws, how = unpack(chains.packed), "chains"
    gates = _gates(draws, counts.table)
    if not gates.density_ok:
        longer = Settings(2000, 1000, 0.95)
        chains = run_nutpie(target, starts, seeds, longer, lambda done, total: None)
        draws, how = unpack(chains.packed), "longer chains"
        gates = _gates(draws, counts.table)
    if not gates.density_ok:
        tree = nb.sample(counts, spec, random_seed=rng, progressbar=False)
        draws, how = read(tree).draws, "sample"
        gates = _gates(draws, counts.table)
    rows = RowDensity(draws, counts.table)
    judged, table = rows.judged
    reff = relative_efficiency(judged, table.frequency)
    return Quick(draws, rows, reff, how, gates.density_ok)


def _gates(draws: Draws, table: CountTable) -> Any:
    order = canonical(draws, relabel_by_responsibilities(draws, table).order)
    return judge(RowDensity(draws, table), draws.permuted(order))


def exact_elpd(
    counts: nb.Counts, spec: nb.MixtureSpec, found: Quick, rng: np.random.Generator
) -> tuple[Any, int]:
    """LOO with refits of flagged rows, and how many observations these were."""
    table = counts.table
    row = counts.expanded_inverse()
    elpd = elpd_of(found.rows, row, found.reff, "count", not found.density_ok)
    bad = np.unique(row[elpd.pareto_k.values > elpd.good_k])
    for u in bad:
        frequency = table.frequency.astype(int)
        frequency[u] -= 1
        exposure = table.exposure if counts.has_exposure else None
        rest = quick(nb.Counts(table.values.astype(int), exposure, frequency), spec, rng)
        own = table.taken(slice(u, u + 1), np.ones(1))
        density = rest.draws.log_density(own)
        elpd.elpd_i[row == u] = logsumexp(density) - np.log(density.size)
    elpd.elpd = float(elpd.elpd_i.sum())
    return elpd, int(np.isin(row, bad).sum())


def rank(table: pd.DataFrame, elpds: dict[int, Any]) -> None:
    """Add to a table, indexed by number of components, how these compare by LOO."""
    import arviz as az

    ranked = az.compare({str(k): elpd for k, elpd in elpds.items()}, round_to="none")
    for k in elpds:
        table.loc[k, ["elpd_diff", "diff_se", "stacking_weight"]] = [
            ranked.loc[str(k), name] for name in ("elpd_diff", "dse", "weight")
        ]


def one(setting: Setting, index: int, bootstrapped: bool) -> dict[str, Any]:
    """Every criterion on one data set."""

    rng = np.random.default_rng([SETTINGS.index(setting), index])
    values = setting.sample(setting.n, rng)
    counts = nb.Counts(values)
    resolved = nb.MixtureSpec().resolve(counts)
    rows, posteriors, elpds = {}, {}, {}
    for k in range(1, setting.most + 1):
        spec = resolved.with_components(k)
        posteriors[k] = quick(counts, spec, rng)
        elpds[k], refitted = exact_elpd(counts, spec, posteriors[k], rng)
        em = nb.fit_em(counts, k, random_seed=rng)
        rows[k] = {
            "density_ok": posteriors[k].density_ok,
            "elpd": elpds[k].elpd,
            "bic": em.bic,
            "icl": em.icl,
            "high_k": refitted,
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    gated = [k for k in rows if posteriors[k].density_ok]
    rank(table, {k: elpds[k] for k in gated})
    verdict = judge_components(table)
    best = int(table["elpd"][gated].idxmax())
    fresh = setting.sample(20_000, rng)
    scores = {k: _score(posteriors[k].draws, fresh) for k in {verdict.chosen, best}}
    ideal = float(setting.log_density(fresh).mean())
    return {
        "setting": setting.name,
        "n": setting.n,
        "index": index,
        "chosen": verdict.chosen,
        "plausible": " ".join(map(str, sorted(verdict.plausible))),
        "loo": best,
        "stacking": int(table["stacking_weight"].idxmax()),
        "bic": int(table["bic"].idxmin()),
        "icl": int(table["icl"].idxmin()),
        "bootstrap": _sequential_test(counts, setting.most, rng) if bootstrapped else "",
        "refused": " ".join(str(k) for k in rows if k not in gated),
        "high_k": int(table["high_k"].sum()),
        "how": " ".join(posteriors[k].how for k in rows),
        "loss_chosen": ideal - scores[verdict.chosen],
        "loss_loo": ideal - scores[best],
    }


def _score(draws: Draws, values: np.ndarray) -> float:
    """Mean log predictive density of new counts."""
    table = nb.Counts(values).table
    rows = draws.log_density(table)
    density = logsumexp(rows, axis=(0, 1)) - np.log(rows[..., 0].size)
    return float(density @ table.frequency / table.frequency.sum())


def _sequential_test(counts: nb.Counts, most: int, rng: np.random.Generator) -> int:
    """Components up to which the bootstrap likelihood ratio test rejects at 5 %."""
    for k in range(1, most):
        test = nb.bootstrap_lrt(
            counts, null=k, alternative=k + 1, n_boot=_REPLICATES, random_seed=rng, n_jobs=1,
            progressbar=False,
        )  # fmt: skip
        if test.p_value > 0.05:
            return k
    return most


def main() -> None:
    """Append what is missing, setting by setting in turns."""
    path = Path(sys.argv[1])
    number, first, bootstrapped = (
        int(sys.argv[i]) if len(sys.argv) > i else default
        for i, default in ((2, 200), (3, 0), (4, 25))
    )
    done = set()
    if path.exists():
        old = pd.read_csv(path)
        done = set(zip(old["setting"], old["n"], old["index"], strict=True))
    begin = time.monotonic()
    for index in range(first, first + number):
        for setting in SETTINGS:
            if (setting.name, setting.n, index) in done:
                continue
            row = one(setting, index, index < bootstrapped)
            fresh = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, row)
                if fresh:
                    writer.writeheader()
                writer.writerow(row)
        sys.stdout.write(f"{index + 1} of each, {time.monotonic() - begin:.0f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
