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
# # Doctor visits: many counts with a long tail
#
# How often does a person see a doctor in a year? In half of the 20,190 years that were recorded
# never or once, in some dozens of times. (They are years of some 5,800 people, most followed for
# several; what that means for the intervals stands at the end.) One negative binomial does not
# describe this; two do nearly. What do the two say, and why are three or four not needed to
# predict?

# %%
import matplotlib.pyplot as plt
import numpy as np

import pmnbmix as nb

counts = nb.load_dataset("doctor_visits")
print(counts)
print(
    "shares of 0, 1, 2 visits:", [round(float((counts.values == v).mean()), 3) for v in (0, 1, 2)]
)
print("largest:", counts.values.max())

# %% [markdown]
# Only the distinct counts cost time, so that all of this takes seconds.


# %%
def quiet(title, done, total):
    """Say nothing about progress."""


choice = nb.choose_components(counts, max_components=4, draws=500, random_seed=1, watch=quiet)
columns = ["elpd", "elpd_diff", "diff_se", "bic", "icl", "components_ok", "plausible"]
print(choice.table[columns].round(1).to_string())
for reason in choice.reasons:
    print("-", reason)

# %% [markdown]
# With so many counts one component is ruled out by far more than its standard error. Beyond two,
# the expected log predictive density does not rise by anything that counts: *plausible* says that
# more components predict as well, *chosen* that they are not needed to. ICL, which wants components
# well apart, would stay with one, for these overlap: it answers whether there are clusters of
# people, and says that there are none.
#
# ## Where one component fails
#
# Rootograms: where bars leave the band, counts are more frequent (below 0) or rarer (above 0) than
# new samples from the fit would have them.

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for k, ax in zip((1, 2), axes, strict=True):
    nb.plots.plot_rootogram(choice.trees[k], ax=ax)
    ax.set_title(f"{k} component{'s' if k > 1 else ''}", fontsize=11)
plt.show()

# %% [markdown]
# ## What the two components are

# %%
em, tree = choice.em[2], choice.trees[2]
table = nb.compare_estimates(em=em, map=choice.map[2], nuts=tree)
print(table[["em", "map", "nuts_median", "nuts_lower", "nuts_upper"]].round(2).to_string())

# %%
none = np.exp(em.params.component_logpmf([0])[0])
print("share without a visit, by component:", none.round(2))
nb.plots.plot_fit(tree)
nb.plots.plot_estimates(tree, table)
plt.show()

# %% [markdown]
# A large component of few visits, and a small one that spreads over all numbers and makes the tail.
# To call it "the ill" goes further than the counts do: by EM it has even more years without a visit
# than the other component, and the posterior leaves open which of the two has more.
# The interval of its weight is wide, for all these counts: how many people belong to it is less
# well known than the distribution of visits as a whole.
#
# ## How sure an assignment can be
#
# A person with forty visits belongs to the tail. Of a few visits little can be said: the
# probability is then near the weight of the component, which is known without any count.

# %%
for visits in (0, 3, 10, 20, 40):
    p = em.responsibilities([visits])[0]
    print(f"{visits:3d} visits: probability of component 1 is {p[1]:.2f}")
diagnosis = choice.diagnoses[2]
for sentence in diagnosis.summary:
    print("-", sentence)

# %% [markdown]
# ## Does the chosen mixture describe the counts?
#
# Three looks: ranks of the observations among what is predicted for them, randomised residuals that
# should be standard normal, and a goodness-of-fit test that fits simulated counts again.

# %%
nb.plots.plot_loo_pit(tree)
plt.show()
residuals = nb.quantile_residuals(tree, random_seed=1)
print(f"residuals: mean {residuals.mean():.2f}, sd {residuals.std():.2f}")
for k in (1, 2, 3):
    test = nb.goodness_of_fit(choice.em[k], n_boot=99, random_seed=1, progressbar=False)
    print(f"{k}: distance {test.statistic:.4f}, p = {test.p_value:.2f}")
first = np.arange(5)
print("observed  ", [int((counts.values == v).sum()) for v in first])
for k in (2, 3):
    expected = counts.n * np.exp(choice.em[k].params.logpmf(first))
    print(f"expected, {k}", expected.round().astype(int).tolist())

# %% [markdown]
# Ranks and residuals are as they should be. The test,
# which knows how much a fit adapts to its data, is stricter. One component fails it (0.01 is the
# smallest p that 99 replicates can give), two are some eighty times closer and yet doubtful (p is
# 0.02 to 0.05, by the number of replicates), three pass. What two miss is at two visits: a few in a
# hundred more than they expect. To mend that is worth less than a nat of prediction in all, and so
# three are plausible, and not needed.

# %% [markdown]
# ## What an interval means here
#
# The model takes counts as independent draws from one distribution. Several years of one person are
# alike, so these are not quite, and every interval here (and p-value) is too small by an amount
# that the counts alone cannot tell. Its intervals say how well that distribution is known, not what
# a person will do: the mean number of visits is known to a few hundredths, while the number of a
# single person may be anything the distribution allows.

# %%
posterior = tree["posterior"].to_dataset()
means = (posterior["weights"] * posterior["means"]).sum("mixture_component").values
print("mean number of visits, 95 %:", np.quantile(means, [0.025, 0.975]).round(2))
print("number of visits of a person, 95 %:", em.quantile([0.025, 0.975]))
