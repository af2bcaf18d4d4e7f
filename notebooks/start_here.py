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
# # Start here: from a column of counts to an answer
#
# Around each of 173 female horseshoe crabs, the males that gather (the satellites) were counted.
# Are these counts one kind of thing, or two? This notebook goes the whole way: counts in, number of
# components chosen, components with intervals, checks, and a report to send to somebody.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pmnbmix as nb

# %% [markdown]
# ## Counts in
#
# Counts usually come as a column of a table. `nb.Counts` takes any array or column of non-negative
# integers and checks it; `nb.read_counts("crabs.csv", column="satellites")` reads a file directly.
# Here the column comes from a built-in data set.

# %%
crabs = pd.DataFrame({"satellites": nb.load_dataset("crab_satellites").values})
print(crabs["satellites"].describe().round(2).to_string())

counts = nb.Counts(crabs["satellites"], name="satellites")
print(counts)

# %% [markdown]
# Only 15 rows are distinct, and every later step runs on these: time depends on distinct rows, not
# on how many crabs there are.
#
# ## How many components?
#
# One call fits 1, 2 and 3 components, each by EM (maximum likelihood), MAP (the posterior mode) and
# NUTS (the posterior), checks the chains, and compares how well they predict a crab that was
# left out. Seeds make the run repeatable; without `watch` a line tells how far it is.


# %%
def quiet(title, done, total):
    """Say nothing about progress."""


choice = nb.choose_components(counts, max_components=3, random_seed=1, watch=quiet)
columns = ["elpd", "elpd_diff", "diff_se", "bic", "icl", "density_ok", "components_ok", "plausible"]
print(choice.table[columns].round(1).to_string())

# %% [markdown]
# - `elpd` is the expected log predictive density, in nats summed over the crabs: higher is better.
#   `elpd_diff` is the difference from the best, and `diff_se` its standard error.
# - `bic` and `icl` come from the EM fit; smaller is better. They inform, they do not decide.
# - `density_ok` and `components_ok` are the two gates. The first says that chains agree on the
#   fitted distribution: without it a row is not ranked. The second says that they agree on each
#   component too: without it single components should not be looked at.
# - `plausible` is what is not clearly worse than the best: behind by at most 4 elpd, or by at most
#   2 standard errors.
#
# `chosen` is the smallest plausible number and `best` the one that predicts best; reasons are given
# in words:

# %%
print("plausible:", sorted(choice.plausible), " chosen:", choice.chosen, " best:", choice.best)
for reason in choice.reasons:
    print("-", reason)

# %% [markdown]
# So one negative binomial is not enough, and a third component buys nothing. ICL, which also pays
# for uncertainty about who belongs where, would prefer a single one: the two components overlap,
# as we shall see. "Two" is the answer to "how many do I need to predict these counts?". It is not
# proof that there are two kinds of crab.

# %%
nb.plots.plot_elpd(choice)
nb.plots.plot_criteria(choice)
plt.show()

# %% [markdown]
# ## The components
#
# The fits that the choice was made from are kept, so nothing has to be run again. Set beside each
# other: EM and MAP are single points, NUTS gives a median and a central 95 % interval.

# %%
em, map_, tree = (fits[choice.chosen] for fits in (choice.em, choice.map, choice.trees))
estimates = nb.compare_estimates(em=em, map=map_, nuts=tree)
columns = ["em", "map", "nuts_median", "nuts_lower", "nuts_upper"]
print(estimates[columns].round(2).to_string())

# %% [markdown]
# Roughly: about four crabs in ten belong to component 0, which has few satellites, and six in ten
# to component 1, with a mean between four and five and a small dispersion (the variance of a
# component is m + dispersion m², so dispersion 0 is Poisson).
#
# Component 1 is well determined. Component 0 is not: EM puts its dispersion at 0, MAP well above
# 1, and the interval spans orders of magnitude. The column `flag` says what to make of that, each
# reason once:

# %%
for flag in dict.fromkeys(" | ".join(estimates["flag"]).split(" | ")):
    print("-", flag)

# %% [markdown]
# EM found more than one optimum, of almost equal height. In one of them component 0 is a Poisson
# near zero, in the other it is strongly overdispersed and reaches into the counts of component 1.
# A point estimate shows one of them; chains began in both, and the intervals cover both. That is
# why the medians and intervals are what to report here.

# %%
print(em.optima[["log_likelihood", "weights", "means", "dispersions"]].to_string())
nb.plots.plot_estimates(tree, estimates)
plt.show()

# %% [markdown]
# Two stories about component 0, and yet nearly the same distribution of counts:

# %%
nb.plots.plot_fit(tree)
plt.show()
for pair, distance in estimates.attrs["total_variation"].items():
    print(f"total variation between {pair}: {distance:.3f}")

# %% [markdown]
# ## Can it be believed?
#
# First the chains. `choose_components` has judged them already (`choice.diagnoses`); with draws of
# your own, call `nb.diagnose`. Passing the EM fit lets it notice chains that all missed the best
# optimum.

# %%
diagnosis = nb.diagnose(tree, optima=em)
print(diagnosis)
print("findings:", sorted(diagnosis.findings) or "none")
columns = ["occupancy", "p_near_poisson", "assigned", "overlap"]
print(diagnosis.components[columns].round(2).to_string())

# %% [markdown]
# `findings` lists what is doubtful; none is. `assigned` is how surely the crabs of a component are
# given to it: more than eight in ten, not all. For a single crab, by the number of its satellites:

# %%
values = np.array([0, 1, 2, 3, 5, 10])
probable = pd.DataFrame(em.responsibilities(values), index=pd.Index(values, name="satellites"))
print(probable.rename(columns="P(component {})".format).round(2).to_string())

# %% [markdown]
# That table is by EM, with its Poisson component 0. Averaged over the posterior, which allows for
# an overdispersed component 0, large counts are less certain:

# %%
tree = nb.add_responsibilities(tree)
mean = tree["responsibilities"]["mean"].values
probable = pd.DataFrame(mean).groupby(counts.values).first().loc[values]
probable.index.name = "satellites"
print(probable.rename(columns="P(component {})".format).round(2).to_string())

# %% [markdown]
# Then the fit. Bars hang from the expected frequencies (on a square root scale); they should end
# within the band. The other figure ranks each crab in its prediction from all others; the line
# should stay within its band.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
nb.plots.plot_rootogram(tree, axes[0])
nb.plots.plot_loo_pit(tree, axes[1])
plt.show()

# %% [markdown]
# ## To keep and to show
#
# `write_report` makes one HTML file with the answer, the tables and the figures. Trees are saved as
# netCDF, point fits as JSON. Here they go to a temporary folder; take one of your own.

# %%
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    nb.write_report(choice, folder / "crabs.html")
    nb.save(tree, folder / "crabs.nc")
    em.write(folder / "crabs.json")
    for path in sorted(folder.iterdir()):
        print(f"{path.name:12s} {path.stat().st_size / 1e6:6.2f} MB")

    again = nb.load(folder / "crabs.nc")
    assert again["posterior"].identical(tree["posterior"])
    fit = nb.PointFit.read(folder / "crabs.json")
    assert np.array_equal(fit.params.means, em.params.means)

print("what came back:", list(again.children))

# %% [markdown]
# ## Where next
#
# - `droplets.py` and `gene.py`: counts with an exposure (size factors, time, volume).
# - `doctor_visits.py`: many counts and heavy tails.
# - `label_switching.py` and `your_own_draws.py`: draws whose labels need repair.
# - `choosing.py`: how often the choice of the number is right.
