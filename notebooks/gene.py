# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # A gene with size factors
#
# In single-cell RNA sequencing, the molecules of a gene in a cell are counted, and some cells are
# read more deeply than others. The depth is an exposure: it multiplies the expected count and says
# nothing of the cell. Here one gene is simulated in two kinds of cells, and fitted with the depth
# as exposure; then comes what goes wrong where the exposure contains the gene itself.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pmnbmix as nb

N_CELLS = 400
rng = np.random.default_rng(7)

# %% [markdown]
# ## Cells
#
# All other genes together give about 5,000 molecules a cell, some cells 2,000 and some 12,000. The
# size factor is that total over its mean, so that 1 is a typical cell.

# %%
others = rng.poisson(rng.lognormal(np.log(5000.0), 0.45, N_CELLS))
size_factor = others / others.mean()
truth = nb.MixtureParams([0.6, 0.4], [1.5, 12.0], [0.4, 0.2])
umi, kind = truth.sample(N_CELLS, random_seed=rng, exposure=size_factor)
counts = nb.Counts(umi, exposure=size_factor, name="molecules of the gene")
print(counts)
print(pd.DataFrame({"size factor": size_factor, "molecules": umi}).describe().round(2).to_string())

# %% [markdown]
# ## With and without the exposure
#
# Without it, differences in depth are taken for differences between and within the kinds. With it,
# means are molecules per unit of size factor, that is, in a typical cell.

# %%
fits = {
    "without size factors": nb.fit_em(nb.Counts(umi), 2, random_seed=1),
    "with size factors": nb.fit_em(counts, 2, random_seed=1),
}


def side_by_side(fits, truth):
    """Weights, means and dispersions of fits, with those that the counts were made from."""
    shown = {"truth": truth, **{name: fit.params for name, fit in fits.items()}}
    return pd.DataFrame(
        {
            name: np.concatenate([params.weights, params.means, params.dispersions])
            for name, params in shown.items()
        },
        index=[f"{name}[{j}]" for name in ("weights", "means", "dispersions") for j in (0, 1)],
    )


print(side_by_side(fits, truth).round(3).to_string())

# %% [markdown]
# ## The posterior, and what it says of single cells

# %%
tree = nb.sample(counts, nb.MixtureSpec(2), draws=500, random_seed=1, progressbar=False)
diagnosis = nb.diagnose(tree, optima=fits["with size factors"])
print(diagnosis)
table = nb.compare_estimates(em=fits["with size factors"], nuts=tree)
print(table[["em", "nuts_median", "nuts_lower", "nuts_upper"]].round(3).to_string())

# %% [markdown]
# `add_responsibilities` gives the probability of each kind for every cell, `add_rates` the rate
# behind each count: what the cell would show at size factor 1, drawn from its noisy count towards
# what cells of its kind show. Where few molecules were counted, much is drawn.

# %%
tree = nb.add_rates(nb.add_responsibilities(tree))
rate = tree["rates"]["mean"].values
spread = tree["rates"]["sd"].values
high = tree["responsibilities"]["mean"].sel(mixture_component=1).values
assigned = (high > 0.5).astype(int)
print(f"cells assigned to the kind that they are of: {100 * (assigned == kind).mean():.0f} %")
print(f"cells with a probability between 0.1 and 0.9: {((high > 0.1) & (high < 0.9)).sum()}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
nb.plots.plot_fit(tree, ax=left)
left.set_title("averaged over size factors", fontsize=11)
points = right.scatter(umi / size_factor, rate, c=high, cmap="viridis", s=14)
line = [0, (umi / size_factor).max()]
right.plot(line, line, color="grey", lw=0.8)
right.set_xscale("symlog", linthresh=1.0)
right.set_yscale("symlog", linthresh=1.0)
right.set_xlabel("molecules / size factor")
right.set_ylabel("posterior mean of the rate")
figure.colorbar(points, ax=right, label="probability of component 1")
plt.show()

# %% [markdown]
# ## Warning: an exposure must not contain the count itself
#
# Size factors are often computed from the total of *all* genes, this one included. For most genes
# that hardly matters. For a gene that makes up much of a cell (a haemoglobin in red cells, an
# antibody in plasma cells) the total grows with the very count that it should correct, and the
# difference between the kinds shrinks. The same simulation with a gene of some 100 molecules in one
# kind, and 4,000, nearly half of the cell, in the other:

# %%
big = nb.MixtureParams([0.6, 0.4], [100.0, 4000.0], [0.3, 0.1])
molecules, _ = big.sample(N_CELLS, random_seed=rng, exposure=size_factor)
whole = others + molecules
exposures = {
    "total of the other genes": others / others.mean(),
    "total of all genes": whole / whole.mean(),
}
rows = {}
for name, exposure in exposures.items():
    fit = nb.fit_em(nb.Counts(molecules, exposure=exposure), 2, random_seed=1)
    means, dispersions = fit.params.means, fit.params.dispersions
    rows[name] = {
        "ratio of the means": means[1] / means[0],
        "dispersion, component 0": dispersions[0],
        "dispersion, component 1": dispersions[1],
        "log likelihood": fit.log_likelihood,
    }
rows["truth"] = {
    "ratio of the means": big.means[1] / big.means[0],
    "dispersion, component 0": big.dispersions[0],
    "dispersion, component 1": big.dispersions[1],
}
print(pd.DataFrame(rows).T.round(3).to_string(na_rep=""))

# %% [markdown]
# With the total of all genes as exposure the ratio comes out at little more than half of what it
# is, and in the kind that has much of the gene the counts seem to vary far less than they do,
# because count and exposure rise together. Leaving the gene's own molecules out of the total mends
# both. Do not look to the fit for a warning: the wrong exposure has the higher likelihood, because
# it contains a part of the answer. How an exposure was made must be known.
