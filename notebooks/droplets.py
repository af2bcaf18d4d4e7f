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
# # Droplets: two components, or one and an exposure?
#
# In droplet sequencing the same solution of spike-in molecules goes into every droplet. Droplets
# catch different amounts of it, and where they come in two kinds, the counts of molecules have two
# modes. A mixture of two negative binomials describes such counts well. But what makes them
# bimodal is the amounts; where these were measured, they explain the counts better.
#
# The droplets here are simulated, so that the truth is known.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pmnbmix as nb

unmeasured = nb.simulate_droplets(300, random_seed=1)
measured = nb.simulate_droplets(300, with_exposure=True, random_seed=1)
assert np.array_equal(unmeasured.values, measured.values)
print(unmeasured)
print(measured)


def quiet(title, done, total):
    """Say nothing about progress."""


# %% [markdown]
# The counts are the same; `measured` carries the size factor of each droplet besides. The model is
#
# count | size factor s, component k  ~  negative binomial with mean s · mean_k and dispersion_k
#
# so that a mean is the expected count at size factor 1. Exposure is on the natural scale (it is not
# a log offset), and only its ratios matter: were all of it doubled, means would be halved.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
axes[0].hist(unmeasured.values, 40, color="#C8C8C8")
axes[0].set(xlabel="molecules in a droplet", ylabel="droplets")
axes[1].plot(measured.exposure, measured.values, ".", color="#0072B2", markersize=4)
axes[1].set(xlabel="size factor", ylabel="molecules in a droplet", xlim=(0, None), ylim=(0, None))
plt.show()

# %% [markdown]
# On the left two humps, on the right one line through the origin: all droplets have nearly the same
# ratio of molecules to size factor.
#
# ## Without the size factors

# %%
without = nb.choose_components(unmeasured, 2, draws=500, random_seed=1, watch=quiet)
print(without.table[["elpd", "elpd_diff", "diff_se", "plausible"]].round(1).to_string())
for reason in without.reasons:
    print("-", reason)

# %% [markdown]
# Two components are needed, by a wide margin. The three estimates of the same model:

# %%
em, map_, tree = without.em[2], without.map[2], without.trees[2]
columns = ["em", "em_se", "map", "nuts_median", "nuts_lower", "nuts_upper"]
table = nb.compare_estimates(em=em, map=map_, nuts=tree)
print(table[columns].round(3).to_string())
print("flags:", sorted(set(table["flag"]) - {""}) or "none")
print(without.diagnoses[2])

# %% [markdown]
# They agree to within a small part of their uncertainty, and no row is flagged. That is what one
# sees where components are well apart and the counts are many for the number of parameters. Then
# EM, which takes a fraction of a second, would have done. (For the opposite, see `start_here.py`.)

# %%
nb.plots.plot_fit(tree)
nb.plots.plot_estimates(tree, table)
plt.show()

# %% [markdown]
# ## With the size factors

# %%
given = nb.choose_components(measured, 2, draws=500, random_seed=1, watch=quiet)
print(given.table[["elpd", "elpd_diff", "diff_se", "plausible"]].round(1).to_string())
for reason in given.reasons:
    print("-", reason)

# %% [markdown]
# One component is enough. (`plausible` is generous: it holds every number that predicts nearly as
# well. The smallest of them is chosen.)

# %%
em, map_, tree = given.em[1], given.map[1], given.trees[1]
table = nb.compare_estimates(em=em, map=map_, nuts=tree)
print(table[columns].round(3).to_string())
print(given.diagnoses[1])

# %% [markdown]
# Both runs predict the same counts, so their elpd can be compared. Knowing the size factors is
# worth far more than a second component, and what is left of the dispersion is small:

# %%
rows = {
    "1 component": (without, 1),
    "2 components": (without, 2),
    "1 component, size factors": (given, 1),
}
summary = pd.DataFrame(
    {
        name: {
            "elpd": choice.table.loc[k, "elpd"],
            "largest dispersion": choice.em[k].params.dispersions.max(),
        }
        for name, (choice, k) in rows.items()
    }
).T
print(summary.round(3).to_string())

# %% [markdown]
# ## And if two components are fitted all the same?
#
# Nothing stops anyone from reading meaning into a component that is not there. Here the likelihood
# of two components is a little higher, as it always is, and EM gives two sets of numbers:

# %%
print(given.em[2].params)
gain = given.em[2].log_likelihood - given.em[1].log_likelihood
print(f"log likelihood gained by 3 more parameters: {gain:.1f} nats")
print(given.diagnoses[2])

# %% [markdown]
# The diagnosis says what to think of them. EM found a small, tight component that looks well
# determined; the posterior, which weighs all ways to split the droplets, cannot tell the two apart.
#
# ## What to take home
#
# - Components stand in for whatever made the counts differ and was not measured. Where it was
#   measured, give it as `exposure`, then ask how many components are left.
# - The size factors here are the true ones. In practice they are estimated, and must not be made
#   from the very counts that they are to explain: `gene.py` shows what happens then.
