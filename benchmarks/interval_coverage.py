"""How often 95 % intervals hold the truth: Wald, profile likelihood and parametric bootstrap.

Run ``python benchmarks/interval_coverage.py [replicates] [out.csv]``; it takes minutes. A replicate
draws counts from a known mixture and fits them as a user would. "Unflagged" counts only replicates
in which `PointFit.standard_errors` does not flag the parameter.
"""

from __future__ import annotations

import sys

import joblib
import numpy as np
import pandas as pd

import pmnbmix as nb

SETTINGS = {
    "separated, n = 500": (nb.MixtureParams([0.5, 0.5], [5.0, 50.0], [0.2, 0.2]), 500),
    "5 / 20, n = 2000": (nb.MixtureParams([0.5, 0.5], [5.0, 20.0], [0.2, 0.2]), 2000),
    "overlapping 8 / 16, n = 2000": (nb.MixtureParams([0.6, 0.4], [8.0, 16.0], [0.2, 0.2]), 2000),
}
N_BOOT = 199


def replicate(setting: str, index: int) -> pd.DataFrame:
    """Whether each kind of interval of one fit holds the truth, a row a parameter."""
    truth, n = SETTINGS[setting]
    rng = np.random.default_rng([index, n, len(setting)])
    fit = nb.fit_em(nb.Counts(truth.sample(n, rng)[0]), 2, random_seed=rng)
    true = np.concatenate([truth.weights, truth.means, truth.dispersions])
    wald = fit.standard_errors()
    tables = {
        "wald": wald,
        "profile": fit.profile_intervals(),
        "bootstrap": fit.bootstrap(n_boot=N_BOOT, random_seed=rng, n_jobs=1).table,
    }
    out = pd.DataFrame({"setting": setting, "flagged": wald["flag"] != ""}, index=wald.index)
    for kind, table in tables.items():
        out[kind] = (table["lower"] <= true) & (true <= table["upper"])
    # the second weight is the first one's complement
    return out.drop("weights[1]").reset_index()


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Coverage in percent, with the share of Wald intervals that are flagged."""
    keys = ["setting", "parameter"]
    percent = 100.0 * rows.groupby(keys, sort=False)[["wald", "profile", "bootstrap"]].mean()
    unflagged = rows[~rows["flagged"]].groupby(keys, sort=False)[["wald", "profile"]].mean()
    percent.insert(1, "wald, unflagged", 100.0 * unflagged["wald"])
    percent.insert(3, "profile, unflagged", 100.0 * unflagged["profile"])
    percent["flagged"] = 100.0 * rows.groupby(keys, sort=False)["flagged"].mean()
    return percent.round(1)


def main() -> None:
    """Run every setting and print the table."""
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    jobs = [(setting, index) for setting in SETTINGS for index in range(replicates)]
    rows = pd.concat(joblib.Parallel(n_jobs=-1)(joblib.delayed(replicate)(*job) for job in jobs))
    table = summary(rows)
    if len(sys.argv) > 2:
        table.to_csv(sys.argv[2])
    sys.stdout.write(f"{replicates} replicates a setting\n{table.to_string()}\n")


if __name__ == "__main__":
    main()
