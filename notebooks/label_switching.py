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
# # Label switching, from broken to repaired
#
# The components of a mixture have no names: exchange component 0 and component 1 in a draw, and the
# distribution that it describes is the same. A sampler may do so at any draw. Then the average of
# "the mean of component 0" is an average over both components, and means nothing. Here draws are
# broken on purpose, and it is seen what breaks, what does not, and what repairs it.

# %%
import arviz as az
import matplotlib.pyplot as plt
import numpy as np

import pmnbmix as nb

# %% [markdown]
# ## Draws that are fine
#
# `sample` relabels what it has drawn, so these components keep their names.

# %%
truth = nb.MixtureParams([0.6, 0.4], [3.0, 25.0], [0.3, 0.2])
values, _ = truth.sample(300, random_seed=1)
counts = nb.Counts(values, name="count")
tree = nb.sample(counts, nb.MixtureSpec(2), draws=500, random_seed=1, progressbar=False)
columns = ["mean", "sd", "r_hat", "ess_bulk"]
print(az.summary(tree, var_names=["weights", "means"])[columns])

# %% [markdown]
# ## Broken
#
# Chain 0 keeps its labels, chain 1 has all exchanged, chain 2 exchanges them half way, and chain 3
# at random at every draw.

# %%
posterior = tree["posterior"].to_dataset()
exchanged = np.zeros((4, 500), dtype=bool)
exchanged[1] = True
exchanged[2, 250:] = True
exchanged[3] = np.random.default_rng(2).random(500) < 0.5
broken = {
    name: np.where(exchanged[..., None], posterior[name].values[..., ::-1], posterior[name].values)
    for name in ("weights", "means", "dispersions")
}
draws = az.from_dict(
    {"posterior": broken},
    dims={name: ["mixture_component"] for name in broken},
)
print(az.summary(draws, var_names=["weights", "means"])[columns])

# %% [markdown]
# The means of both components are now the same, half way between the true ones, with an r-hat far
# above 1.01. More draws would not help: nothing is wrong with the draws.
#
# ## What is said of it
#
# The density of the counts does not know labels, so its gate holds: predictions and LOO may be
# used. And since the labels can be put right, `diagnose` judges the components after doing so, too.

# %%
diagnosis = nb.diagnose(draws, counts=counts)
for sentence in diagnosis.summary:
    print("-", sentence)
print(diagnosis.table.loc[["means[0]", "means[1]"], ["r_hat_raw", "r_hat"]].round(3).to_string())

# %% [markdown]
# ## Repaired
#
# `relabel` finds for every draw the permutation under which its assignment of counts to components
# agrees best with that of the others (Stephens 2000). `from_datatree` does so, too, and lays the
# draws out as `sample` does.

# %%
repaired = nb.from_datatree(draws, counts)
print(az.summary(repaired, var_names=["weights", "means"])[columns])
same = np.allclose(repaired["posterior"]["means"].values, posterior["means"].values)
print("the draws are those that were broken:", same)

# %%
nb.plots.plot_relabelling(repaired)
nb.plots.plot_permutations(repaired)
plt.show()

# %% [markdown]
# ## Plain arrays
#
# The same for the draws of any program, as arrays: (draw, component) here. Sorting by the means is
# enough where components are so far apart.

# %%
stacked = np.stack([array.reshape(-1, 2) for array in broken.values()], axis=-1)
order = nb.relabel_draws(draws=stacked, method="order", by=1)
means = np.take_along_axis(broken["means"].reshape(-1, 2), order, axis=1)
print("means:", means.mean(axis=0).round(2))

# %% [markdown]
# ## Where sorting by the mean does harm
#
# Two components with the same mean, one strongly dispersed and one nearly Poisson. They differ, but
# not in what they are sorted by: in some draws sorting gives them each other's names, and the
# standard deviations swell. Stephens' method tells them apart by what they say of each count.

# %%
alike = nb.MixtureParams([0.5, 0.5], [40.0, 40.0], [1.0, 1 / 60])
counts_alike = nb.Counts(alike.sample(400, random_seed=0)[0], name="count")
tree_alike = nb.sample(
    counts_alike, nb.MixtureSpec(2), draws=500, random_seed=1, progressbar=False
)  # fmt: skip
sorted_by_mean = nb.relabel(tree_alike, method="order", by="means")
for name, one in (("Stephens", tree_alike), ("sorted by mean", sorted_by_mean)):
    log_dispersions = np.log(one["posterior"]["dispersions"])
    centre, spread = (
        log_dispersions.mean(("chain", "draw")).values,
        log_dispersions.std(("chain", "draw")).values,
    )
    print(f"{name:15s} log dispersions {centre.round(2)}, sd {spread.round(2)}")
print("truth           log dispersions", np.log(alike.dispersions).round(2))
diagnosis_alike = nb.diagnose(tree_alike)
for sentence in diagnosis_alike.summary:
    print("-", sentence)

# %%
nb.plots.plot_overlap(diagnosis_alike)
plt.show()

# %% [markdown]
# ## Where nothing helps
#
# Counts of a single negative binomial, fitted with two components: no draw says which count belongs
# to which of the two, and there are no labels to be found. `diagnose` says so. The density is as
# good as ever; the components are not to be looked at.

# %%
single = nb.MixtureParams([1.0], [6.0], [0.5])
counts_single = nb.Counts(single.sample(300, random_seed=3)[0], name="count")
tree_single = nb.sample(
    counts_single, nb.MixtureSpec(2), draws=1000, random_seed=1, progressbar=False
)
diagnosis_single = nb.diagnose(tree_single)
print("density_ok:", diagnosis_single.density_ok, "findings:", sorted(diagnosis_single.findings))
for sentence in diagnosis_single.summary:
    print("-", sentence)
