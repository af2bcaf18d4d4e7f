"""Everything that takes a seed, run small; prints a digest of each result.

``python job.py NUMBER_OF_CORES``. Run as a process of its own, so that nothing done before it can
take part.
"""

import hashlib
import json
import os
import sys

import numpy as np
import xarray as xr


def digest(*arrays):
    """Digest of the bits of arrays, numbers and texts."""
    state = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        state.update(str(array.shape).encode())
        state.update(array.tobytes() if array.dtype != object else repr(array.tolist()).encode())
    return state.hexdigest()[:16]


def of_dataset(dataset: xr.Dataset):
    return digest(*(part for name in sorted(dataset) for part in (name, dataset[name].values)))


def of_fit(fit):
    params = fit.params
    return digest(
        params.weights,
        params.means,
        params.dispersions,
        fit.log_density_path,
        *(fit.optima[name].to_numpy() for name in fit.optima),
    )


def results(n_cores):
    """Digest of every result, by name."""
    import pmnbmix as nb

    crab = nb.load_dataset("crab_satellites")
    fits = {
        "fit_em": nb.fit_em(crab, 3, random_seed=4),
        "fit_map": nb.fit_map(crab, nb.MixtureSpec(2), random_seed=4),
        # so many distinct exposures are squashed for the search
        "fit_em, exposures": nb.fit_em(nb.simulate_droplets(3000, random_seed=4), random_seed=4),
    }
    found = {name: of_fit(fit) for name, fit in fits.items()}
    em = fits["fit_em, exposures"]
    found["bootstrap"] = digest(em.bootstrap(n_boot=4, random_seed=4, n_jobs=n_cores).estimates)
    test = nb.bootstrap_lrt(crab, n_boot=5, random_seed=4, n_jobs=n_cores, progressbar=False)
    found["bootstrap_lrt"] = digest(test.statistic, test.null_statistics)

    rng = np.random.default_rng(4)
    matrix = rng.negative_binomial(1.5, rng.uniform(0.1, 0.8, 70), size=(60, 70))
    columns = nb.fit_columns(matrix, n_jobs=n_cores, progressbar=False)
    found["fit_columns"] = of_dataset(columns)

    tree = nb.sample(crab, nb.MixtureSpec(2), draws=200, chains=2, random_seed=4, progressbar=False)
    for group in tree.children:
        found[f"sample, {group}"] = of_dataset(tree[group].to_dataset())
    for method in ("ecr", "pra", "ecr-iterative-2"):
        again = nb.relabel(tree, method)
        found[f"relabel, {method}"] = of_dataset(again["relabelling"].to_dataset())
    loo = nb.loo(tree)
    found["loo"] = digest(loo.elpd, loo.se, loo.elpd_i, loo.pareto_k)
    truth = nb.MixtureParams([0.4, 0.6], [5.0, 40.0], [0.2, 0.1])
    separated = nb.Counts(truth.sample(800, random_seed=4)[0])
    laplace = nb.laplace(separated, nb.MixtureSpec(2), random_seed=4)
    found["laplace"] = of_dataset(laplace["posterior"].to_dataset())

    choice = nb.choose_components(
        crab, 2, draws=200, chains=2, random_seed=4, watch=lambda title, done, total: None
    )
    found["choose_components"] = digest(choice.chosen, choice.table.to_numpy())
    return found


if __name__ == "__main__":
    cores = int(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    # what the package goes by where no number of workers is given
    os.cpu_count = lambda: cores
    sys.stdout.write(json.dumps(results(cores)))
