"""Priors compared: what they predict, how they sample near Poisson, what they recover.

Run ``python benchmarks/priors.py [replicates] [folder]``; with 40 replicates it takes minutes.
Tables are printed, figures go to the folder. All priors are sampled alike: the compiled log
posterior with a flat prior on the log dispersions, to which the prior in question is added, by
nutpie in plain coordinates, from starts spread over the modes under the default prior. Only the
prior sensitivity is that of `pmnbmix.sample`.
"""

from __future__ import annotations

import itertools
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import arviz as az
import numpy as np
import nutpie
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray
from nutpie.compiled_pyfunc import from_pyfunc
from scipy import special, stats

import pmnbmix as nb
from pmnbmix.compiled import compiled
from pmnbmix.data.table import CountTable
from pmnbmix.labels.gates import judge
from pmnbmix.labels.relabel import canonical, relabel_by_responsibilities
from pmnbmix.mixture.draws import Draws, predict_counts, unpack
from pmnbmix.mixture.fused import evaluate
from pmnbmix.mixture.problem import Problem
from pmnbmix.mixture.row_density import RowDensity
from pmnbmix.mixture.target import make_target
from pmnbmix.posterior.modes import find_modes, spread_starts
from pmnbmix.present.axes import COLOURS, log_axis, tidy

Floats = NDArray[np.float64]

# So wide that it adds less than 1e-9 to the log posterior anywhere near the data.
FLAT = nb.NormalPrior(0.0, 1e6)


@dataclass(frozen=True)
class Prior:
    """Prior of dispersions and weights.

    Parameters
    ----------
    name : str
    gamma : bool
        Gamma on the dispersion, with shape ``first`` and rate ``second``: a half-normal of scale 1
        on its square root has 1/2 and 1/2, an inverse gamma on the inverse dispersion has the same
        numbers as that. Else Normal on its logarithm, with loc ``first`` and scale ``second``.
    first, second : float
    concentration : float, optional
        Of the Dirichlet on the weights.
    """

    name: str
    gamma: bool
    first: float
    second: float
    concentration: float = 2.0

    def spec(self, n_components: int) -> nb.MixtureSpec:
        """What is left to the compiled log posterior: all but the dispersions."""
        return nb.MixtureSpec(
            n_components, nb.DirichletPrior(self.concentration), log_dispersions=FLAT
        )

    def dispersions(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Draws of dispersions."""
        if self.gamma:
            # a Gamma of small shape underflows to 0 now and then, as Poisson as any
            return rng.gamma(self.first, 1.0 / self.second, shape)
        return np.exp(rng.normal(self.first, self.second, shape))

    def density(self, log_dispersions: Floats) -> Floats:
        """Density of the log dispersion."""
        if self.gamma:
            u = self.first * (log_dispersions + np.log(self.second))
            constant = special.gammaln(self.first)
            return np.exp(u - self.second * np.exp(log_dispersions) - constant)
        return stats.norm.pdf(log_dispersions, self.first, self.second)


DEFAULT = Prior("default: Normal(0, 2), Dirichlet(2)", False, 0.0, 2.0)
DISPERSION_PRIORS = (
    DEFAULT,
    Prior("half-normal(1) on sqrt", True, 0.5, 0.5),
    Prior("inverse-gamma(0.4, 0.3)", True, 0.4, 0.3),
    Prior("Normal(-1.3, 2.2)", False, -1.3, 2.2),
)
WEIGHT_PRIORS = (
    Prior("Dirichlet(1)", False, 0.0, 2.0, 1.0),
    Prior("Dirichlet(4)", False, 0.0, 2.0, 4.0),
)
PRIORS = (*DISPERSION_PRIORS, *WEIGHT_PRIORS)

RECOVERY = {
    "separated": nb.MixtureParams([0.5, 0.5], [5.0, 50.0], [0.2, 0.2]),
    "overlapping": nb.MixtureParams([0.6, 0.4], [8.0, 16.0], [0.2, 0.2]),
    "near Poisson": nb.MixtureParams([0.5, 0.5], [3.0, 15.0], [1e-3, 1e-3]),
    "overdispersed": nb.MixtureParams([0.6, 0.4], [2.0, 40.0], [10.0, 1.0]),
    "rare": nb.MixtureParams([0.95, 0.05], [5.0, 50.0], [0.2, 0.2]),
}
SIZES = (50, 500)
KINDS = ("weights", "means", "dispersions")
SAMPLING = {
    "Poisson, K = 1": (nb.MixtureParams([1.0], [10.0], [0.0]), 200, 1),
    "dispersion 0.001, K = 1": (nb.MixtureParams([1.0], [10.0], [1e-3]), 200, 1),
    "Poisson, K = 2": (nb.MixtureParams([0.5, 0.5], [3.0, 15.0], [0.0, 0.0]), 500, 2),
    "dispersion 0.001, K = 2": (nb.MixtureParams([0.5, 0.5], [3.0, 15.0], [1e-3, 1e-3]), 500, 2),
    "K = 2 on one component": (nb.MixtureParams([1.0], [10.0], [0.3]), 300, 2),
}
RECOVERED = ["setting", "n", "prior", "index", "kind"]
RECOVERED += ["covered", "error", "lost", "divergent", "r-hat"]
SETTINGS = {"cores": 1, "target_accept": 0.9, "save_warmup": False, "progress_bar": False}
DATA_SETS = 3
PRIOR_SETS, PRIOR_N = 4000, 100
MARKERS = ("o", "s", "^", "D")


@compiled
def log_posterior(
    position: np.ndarray, gradient: np.ndarray, buffer: np.ndarray, prior: np.ndarray
) -> float:
    """Log posterior under (gamma or not, first, second), its gradient into ``gradient``."""
    total = evaluate(position, gradient, buffer)
    k = (position.size + 1) // 3
    for j in range(2 * k - 1, 3 * k - 1):
        u = position[j]
        if prior[0] == 1.0:
            bent = prior[2] * np.exp(u)
            total += prior[1] * u - bent
            gradient[j] += prior[1] - bent
        else:
            deviation = (u - prior[1]) / prior[2]
            total -= 0.5 * deviation * deviation
            gradient[j] -= deviation / prior[2]
    return total


@dataclass(frozen=True)
class Run:
    """Draws, their log densities (chain, draw, row), divergences and gradients per draw."""

    draws: Draws
    rows: RowDensity
    divergent: int
    steps: float


def starts_of(counts: nb.Counts, n_components: int, chains: int, seed: int) -> Floats:
    """Starts for every prior, spread over the modes under the default one."""
    rng = np.random.default_rng(seed)
    spec = nb.MixtureSpec(n_components).resolve(counts)
    modes = find_modes(counts, spec, rng)
    return spread_starts(make_target(Problem.of(counts, spec)), modes, chains, rng)[0]


def run(counts: nb.Counts, prior: Prior, starts: Floats, tune: int, n_draws: int, seed: int) -> Run:
    """Sample one posterior, a chain from each start."""
    size = starts.shape[1]
    spec = prior.spec((size + 1) // 3).resolve(counts)
    target = make_target(Problem.of(counts, spec))
    numbers = np.array([float(prior.gamma), prior.first, prior.second])

    def log_density(position: Floats) -> tuple[float, Floats]:
        gradient = np.empty(size)
        return log_posterior(position, gradient, target.buffer, numbers), gradient

    turns = itertools.cycle(starts)
    model = from_pyfunc(
        ndim=size,
        make_logp_fn=lambda: log_density,
        make_expand_fn=lambda *_: lambda position: {"packed": np.asarray(position)},
        expanded_dtypes=[np.dtype("float64")],
        expanded_shapes=[(size,)],
        expanded_names=["packed"],
        make_initial_point_fn=lambda seed: next(turns),
    )
    chains = {"chains": len(starts), "draws": n_draws, "tune": tune, "seed": seed}
    trace = nutpie.sample(model, **chains, **SETTINGS)
    draws = unpack(trace["posterior"]["packed"].values)
    return Run(
        draws,
        RowDensity(draws, counts.table),
        int(trace["sample_stats"]["diverging"].sum()),
        float(trace["sample_stats"]["n_steps"].mean()),
    )


def lost_nats(truth: nb.MixtureParams, draws: Draws) -> float:
    """Expected log density of a new count under the truth, less that under the prediction.

    What a held-out set estimates, as an exact sum over counts.
    """
    values = np.arange(truth.quantile(1.0 - 1e-7).max() + 1.0)
    table = CountTable.plain(values, np.ones(values.size), np.ones(values.size))
    true = truth.logpmf(values)
    thin = Draws(draws.weights[:, ::4], draws.means[:, ::4], draws.dispersions[:, ::4])
    rows = thin.log_density(table).reshape(-1, values.size)
    predicted = special.logsumexp(rows, axis=0) - np.log(rows.shape[0])
    return float(np.exp(true) @ (true - predicted))


def recover(setting: str, n: int, index: int) -> pd.DataFrame:
    """Fit one data set under every prior: a row a prior and parameter."""
    truth = RECOVERY[setting]
    seed = 1000 * index + list(RECOVERY).index(setting)
    counts = nb.Counts(truth.sample(n, np.random.default_rng([seed, n]))[0])
    starts = starts_of(counts, 2, 2, seed)
    out = []
    for prior in PRIORS:
        got = run(counts, prior, starts, 200, 400, seed)
        # component 0 of a draw is that of the smaller mean, as in the truth
        draws = got.draws.permuted(np.argsort(got.draws.means, axis=-1, kind="stable"))
        lost = lost_nats(truth, got.draws)
        r_hat = float(az.rhat(got.rows.log_likelihood))
        for kind, scale in (("weights", np.asarray), ("means", np.log), ("dispersions", np.log1p)):
            for j in range(1 if kind == "weights" else 2):
                true = scale(getattr(truth, kind)[j])
                values = scale(getattr(draws, kind)[..., j])
                lower, middle, upper = np.quantile(values, [0.05, 0.5, 0.95])
                covered = 100.0 * (lower <= true <= upper)
                head = (setting, n, prior.name, index, kind)
                out.append((*head, covered, middle - true, lost, got.divergent, r_hat))
    return pd.DataFrame(out, columns=RECOVERED)


def recovery_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Coverage (percent), bias and RMSE of posterior medians, and thousandths of nats lost.

    "gain" is what is lost less under a prior than under the default, "se" its standard error.
    """
    keys = ["setting", "n", "prior"]
    columns = {}
    for kind in KINDS:
        groups = rows[rows["kind"] == kind].groupby(keys, sort=False)
        columns[f"{kind} covered"] = groups["covered"].mean()
        columns[f"{kind} bias"] = groups["error"].mean()
        columns[f"{kind} rmse"] = (groups["error"].var(ddof=0) + groups["error"].mean() ** 2) ** 0.5
    fits = rows[rows["kind"] == "weights"].copy()
    # the default is the first of each data set
    default = fits.groupby(["setting", "n", "index"])["lost"].transform("first")
    fits["gain"] = default - fits["lost"]
    groups = fits.groupby(keys, sort=False)
    columns["lost"] = 1000.0 * groups["lost"].mean()
    columns["gain"] = 1000.0 * groups["gain"].mean()
    columns["se"] = 1000.0 * groups["gain"].sem()
    columns["divergent"] = groups["divergent"].sum()
    columns["r-hat > 1.05"] = groups["r-hat"].agg(lambda r_hat: (r_hat > 1.05).sum())
    return pd.DataFrame(columns)


def sampling_rows(setting: str) -> pd.DataFrame:
    """How every prior samples on a few data sets: the worst of them."""
    truth, n, k = SAMPLING[setting]
    out = []
    for prior in DISPERSION_PRIORS if k == 1 else PRIORS:
        for index in range(DATA_SETS):
            counts = nb.Counts(truth.sample(n, np.random.default_rng([index, n, k]))[0])
            got = run(counts, prior, starts_of(counts, k, 4, index), 1000, 1000, index)
            order = relabel_by_responsibilities(got.draws, counts.table).order
            gates = judge(got.rows, got.draws.permuted(canonical(got.draws, order)))
            ratio = (1.0 + got.draws.means * got.draws.dispersions).max(axis=-1)
            numbers = {
                "divergent": got.divergent,
                "row r-hat": gates.row_r_hat,
                "row ESS": gates.row_ess,
                "component r-hat": gates.component_r_hat,
                "component ESS": gates.component_ess,
                "steps": got.steps,
                "ratio": np.median(ratio),
            }
            out.append({"setting": setting, "prior": prior.name, **numbers})
    return pd.DataFrame(out)


def sampling_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Divergences of all data sets, worst r-hat and ESS, means of the rest."""
    how = dict.fromkeys(rows.columns.drop(["setting", "prior"]), "mean")
    how |= {"divergent": "sum", "row r-hat": "max", "component r-hat": "max"}
    how |= {"row ESS": "min", "component ESS": "min"}
    return rows.groupby(["setting", "prior"], sort=False).agg(how)


def predicted(prior: Prior, n_components: int, spread: float) -> tuple[Floats, Floats]:
    """Variance over mean (1 where all are 0) and largest count of prior data sets around 10."""
    rng = np.random.default_rng(0)
    shape = (1, PRIOR_SETS, n_components)
    draws = Draws(
        rng.dirichlet(np.full(n_components, prior.concentration), size=shape[:2]),
        10.0 * np.exp(spread * rng.standard_normal(shape)),
        prior.dispersions(shape, rng),
    )
    values = predict_counts(draws, np.ones(PRIOR_N), rng)[0].astype(np.float64)
    mean = values.mean(axis=1)
    ratio = np.where(mean > 0.0, values.var(axis=1, ddof=1) / np.maximum(mean, 1e-9), 1.0)
    return ratio, values.max(axis=1)


def predictive_table() -> pd.DataFrame:
    """What the priors say before any data: shares in percent."""
    out = {}
    for prior in PRIORS:
        rng = np.random.default_rng(1)
        dispersions = prior.dispersions((200_000,), rng)
        smallest = rng.dirichlet(np.full(2, prior.concentration), size=200_000).min(axis=1)
        one, _ = predicted(prior, 1, 0.0)
        two, largest = predicted(prior, 2, 2.0)
        low, middle, high = np.quantile(one, [0.05, 0.5, 0.95])
        out[prior.name] = {
            "dispersion < 0.01": 100.0 * (dispersions < 0.01).mean(),
            "dispersion > 25": 100.0 * (dispersions > 25.0).mean(),
            "smaller weight < 0.05": 100.0 * (smallest < 0.05).mean(),
            "K=1 ratio 5 %": low,
            "K=1 ratio 50 %": middle,
            "K=1 ratio 95 %": high,
            "K=1 ratio < 1.5": 100.0 * (one < 1.5).mean(),
            "K=2 ratio > 1000": 100.0 * (two > 1e3).mean(),
            "K=2 largest > 10000": 100.0 * (largest > 1e4).mean(),
        }
    return pd.DataFrame(out).T


def sensitivity_table() -> pd.DataFrame:
    """Power-scaling sensitivity of the default posterior, largest over components.

    Median over data sets; to all priors, and to that of the dispersions alone. From 0.05 on ArviZ
    calls it potentially too large.
    """
    logging.getLogger("arviz_stats").setLevel(logging.ERROR)
    out = []
    for setting, n, index in itertools.product(RECOVERY, SIZES, range(DATA_SETS)):
        values = RECOVERY[setting].sample(n, np.random.default_rng([index, n]))[0]
        tree = nb.sample(nb.Counts(values), nb.MixtureSpec(2), random_seed=index, progressbar=False)
        row: dict[str, object] = {"setting": setting, "n": n}
        for label, names in (("all", None), ("dispersions'", ["dispersions"])):
            table = az.psense_summary(tree, prior_var_names=names, round_to=6)
            for kind in KINDS:
                named = table.loc[table.index.str.startswith(kind), "prior"].astype(float)
                row[f"{kind}, {label}"] = named.max()
        out.append(row)
    return pd.DataFrame(out).groupby(["setting", "n"], sort=False).median()


def dots(
    ax: Axes,
    column: pd.Series,
    priors: tuple[Prior, ...],
    label: str,
    error: pd.Series | None = None,
) -> None:
    """Mark a column of a table (cell, prior), a place on the x axis for each cell."""
    cells = column.index.droplevel("prior").unique()
    for j, prior in enumerate(priors):
        here = column.xs(prior.name, level="prior").reindex(cells)
        x = np.arange(len(cells)) + 0.14 * (j - 0.5 * (len(priors) - 1))
        ax.plot(x, here, MARKERS[j], color=COLOURS[j], ms=5.5, label=prior.name)
        if error is not None:
            margin = error.xs(prior.name, level="prior").reindex(cells)
            ax.vlines(x, here - margin, here + margin, color=COLOURS[j])
    names = [", n = ".join(map(str, cell)) if isinstance(cell, tuple) else cell for cell in cells]
    ax.set_xticks(range(len(cells)), [name.replace(", ", "\n") for name in names], fontsize=8)
    for x in np.arange(len(cells) - 1) + 0.5:
        ax.axvline(x, color="#DDDDDD", lw=0.8, zorder=0)
    ax.set_ylabel(label)
    tidy(ax)


def draw_priors(folder: Path) -> None:
    """Densities of the dispersion, and what they predict around a mean of 10."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    grid = np.linspace(np.log(1e-5), np.log(1e3), 400)
    for j, prior in enumerate(DISPERSION_PRIORS):
        style = {"color": COLOURS[j], "ls": ("-", "--", ":", "-.")[j], "lw": 1.8}
        axes[0].plot(np.exp(grid), prior.density(grid), label=prior.name, **style)
        axes[1].ecdf(predicted(prior, 1, 0.0)[0], label=prior.name, **style)
    axes[0].set(xscale="log", ylim=(0.0, 0.36), xlabel="dispersion", ylabel="density per log unit")
    axes[1].set(xscale="log", xlim=(0.5, 300.0), xlabel="variance over mean of 100 counts, mean 10")
    axes[1].set_ylabel("share of prior data sets below")
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    for ax in axes:
        tidy(ax)
    figure.savefig(folder / "priors_density.png", dpi=110)


def draw_recovery(
    table: pd.DataFrame, priors: tuple[Prior, ...], kind: str, margin: float, path: Path
) -> None:
    """Coverage, RMSE and prediction by setting."""
    scale = {"weights": "weights", "dispersions": "log(1 + dispersions)"}[kind]
    figure, axes = plt.subplots(3, 1, figsize=(9.5, 8.0), layout="constrained", sharex=True)
    dots(axes[0], table[f"{kind} covered"], priors, f"coverage of 90 % intervals,\n{kind} (%)")
    axes[0].axhspan(90.0 - margin, min(90.0 + margin, 100.0), color="#EEEEEE", zorder=0)
    axes[0].set_ylim(-4.0, 104.0)
    dots(axes[1], table[f"{kind} rmse"], priors, f"RMSE of {scale}")
    log_axis(axes[1], "y")
    label = "gain over the default in\nlog density (0.001 nats)"
    dots(axes[2], table["gain"], priors, label, 2.0 * table["se"])
    axes[2].axhline(0.0, color="#999999", lw=0.8, zorder=0)
    axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(path, dpi=110)


def draw_sampling(table: pd.DataFrame, folder: Path) -> None:
    """Effective draws near Poisson, and variance over mean, in truth about 1."""
    figure, axes = plt.subplots(2, 1, figsize=(9.5, 6.0), layout="constrained")
    dots(axes[0], table["component ESS"], DISPERSION_PRIORS, "smallest ESS of a component")
    axes[0].axhline(400.0, color="#999999", lw=0.8, ls="--", zorder=0)
    axes[0].set_ylim(0.0, 2600.0)
    near = table["ratio"].drop("K = 2 on one component", level="setting")
    dots(axes[1], near, DISPERSION_PRIORS, "posterior median of the\nlarger variance over mean")
    axes[1].set(xlim=axes[0].get_xlim(), ylim=(1.0, 1.18))
    axes[0].legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    figure.savefig(folder / "priors_sampling.png", dpi=110)


def main() -> None:
    """Run all comparisons, print the tables and save the figures."""
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "docs/figures")
    folder.mkdir(parents=True, exist_ok=True)
    cells = itertools.product(RECOVERY, SIZES, range(replicates))
    recovery = recovery_table(pd.concat([recover(*cell) for cell in cells]))
    sampling = sampling_table(pd.concat([sampling_rows(setting) for setting in SAMPLING]))
    for title, table in (
        ("Prior predictive", predictive_table()),
        ("Sampling", sampling),
        ("Sensitivity of the default posterior", sensitivity_table()),
        (f"Recovery, {replicates} replicates", recovery),
    ):
        sys.stdout.write(f"{title}\n{table.round(3).to_string()}\n\n")
    draw_priors(folder)
    draw_sampling(sampling, folder)
    margin = 196.0 * float(np.sqrt(0.09 / replicates))
    weights = (DEFAULT, *WEIGHT_PRIORS)
    for kind, priors in (("dispersions", DISPERSION_PRIORS), ("weights", weights)):
        draw_recovery(recovery, priors, kind, margin, folder / f"priors_{kind}.png")


if __name__ == "__main__":
    main()
