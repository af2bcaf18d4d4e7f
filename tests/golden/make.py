"""What the package found when these results were kept: ``python -m tests.golden.make`` writes them.

Run by hand, and only where results are meant to change; the difference in the JSON files is then
part of the change. Posteriors are run under many seeds, so that the scatter of one run is known.
"""

import json
from pathlib import Path

import numpy as np

import pmnbmix as nb

FOLDER = Path(__file__).parent
# long runs of the posteriors of the other data sets lie in models/reference
NAMES = ("death_notices", "earthquakes", "fetal_lamb", "simar_claims")
SAMPLED = NAMES[1:]
# nothing tells its two components apart, so that either may come first in a run
ALIKE = ("simar_claims",)
N_RUNS = 20
PARAMETERS = ("weights", "means", "dispersions")


def point_fits(name):
    """EM and MAP with 1 and 2 components."""
    counts = nb.load_dataset(name)
    fits = {}
    for k in (1, 2):
        fits[f"EM, {k}"] = nb.fit_em(counts, k, random_seed=1)
        fits[f"MAP, {k}"] = nb.fit_map(counts, nb.MixtureSpec(k), random_seed=1)
    return {what: _record(fit) for what, fit in fits.items()}


def _record(fit):
    record = {"status": str(fit.status), "log_likelihood": fit.log_likelihood}
    if fit.method == "map":
        record["log_density"] = fit.log_density
    for name in PARAMETERS:
        record[name] = getattr(fit.params, name).tolist()
    return record


def posterior(name, seed):
    """Relabelled posterior means on the scale of the priors, and LOO, of one run."""
    tree = nb.sample(nb.load_dataset(name), nb.MixtureSpec(2), random_seed=seed, progressbar=False)
    record = {"elpd_loo": float(nb.loo(tree).elpd)}
    for parameter in PARAMETERS if name not in ALIKE else ():
        logs = np.log(tree["posterior"][parameter]).mean(("chain", "draw"))
        record |= {f"log_{parameter}[{j}]": float(value) for j, value in enumerate(logs)}
    return record


def scatter(name):
    """Mean over the runs of each quantity, and the standard deviation of one run."""
    runs = [posterior(name, 1000 + run) for run in range(N_RUNS)]
    table = {key: [run[key] for run in runs] for key in runs[0]}
    return {
        key: {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
        for key, values in table.items()
    }


def main():
    """Write one file for each data set."""
    for name in NAMES:
        record = {"data": name, "point": point_fits(name)}
        if name in SAMPLED:
            record["posterior, 2"] = scatter(name)
        text = json.dumps(record, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
