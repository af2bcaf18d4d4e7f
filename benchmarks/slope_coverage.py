"""How often Wald intervals of slopes hold the truth, in mixtures of two regressions.

Run ``python benchmarks/slope_coverage.py [sets]``; 300 sets of 300 counts for each of four settings
where absent. A slope whose interval is flagged is counted apart: its flag says not to use it.
Components are matched to the truth by their intercepts.
"""

from __future__ import annotations

import logging
import sys

import joblib
import numpy as np
import pandas as pd

import pmnbmix as nb

N = 300
# Intercepts and slopes of the two components, and what is beside them.
SETTINGS = {
    "separated": ((0.0, 2.5), (0.5, -0.3), nb.MixtureSpec(2, mean_formula="x")),
    "overlapping": ((0.5, 1.5), (0.5, -0.5), nb.MixtureSpec(2, mean_formula="x")),
    "shared": ((0.0, 2.0), (0.4, 0.4), nb.MixtureSpec(2, shared_formula="x")),
    "concomitant": (
        (0.0, 2.0),
        (0.5, -0.3),
        nb.MixtureSpec(2, mean_formula="x", weight_formula="w"),
    ),
}


def one(name: str, index: int) -> list[tuple[str, str, bool, bool]]:
    """Setting, part, whether the interval holds the truth and whether it is flagged, by slope."""
    logging.disable(logging.WARNING)
    rng = np.random.default_rng([index, list(SETTINGS).index(name)])
    intercepts, slopes, spec = SETTINGS[name]
    x, w = rng.normal(size=(2, N))
    logit = 0.8 * w if name == "concomitant" else np.full(N, 0.2)
    first = rng.random(N) < 1.0 / (1.0 + np.exp(-logit))
    log_mean = np.where(first, intercepts[0] + slopes[0] * x, intercepts[1] + slopes[1] * x)
    values = rng.poisson(np.exp(log_mean) * rng.gamma(4.0, 0.25, N))
    fit = nb.fit_em(nb.Counts(values, covariates={"x": x, "w": w}), spec, random_seed=index)
    table = fit.standard_errors()
    # Intercepts are sorted at the centre of the covariates, which is near 0.
    found = []
    for row in table[table["term"].isin(("x", "w"))].itertuples():
        j = 0 if row.part == "shared" else int(row.component)
        truth = (0.4, -0.4)[j] if row.part == "weights" else slopes[j]
        found.append((name, row.part, row.lower <= truth <= row.upper, bool(row.flag)))
    return found


def main() -> None:
    """Print one table."""
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    jobs = [(name, index) for name in SETTINGS for index in range(sets)]
    found = joblib.Parallel(n_jobs=-1)(joblib.delayed(one)(*job) for job in jobs)
    table = pd.DataFrame(
        [row for rows in found for row in rows], columns=["setting", "part", "held", "flagged"]
    )
    rows = []
    for (name, part), group in table.groupby(["setting", "part"], sort=False):
        clear = group[~group["flagged"]]
        rows.append(
            (
                name,
                part,
                len(group),
                group["flagged"].mean(),
                group["held"].mean(),
                clear["held"].mean(),
            )
        )
    columns = ["setting", "part", "intervals", "flagged", "held, all", "held, unflagged"]
    sys.stdout.write(pd.DataFrame(rows, columns=columns).round(3).to_string(index=False) + "\n")


if __name__ == "__main__":
    main()
