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
# # How many components: which criterion is right how often
#
# `choose_components` calls every number plausible that is not worse than the best by both 4 elpd
# and 2 standard errors, and chooses the smallest. Here is how often that is right, beside what the
# highest elpd, stacking, BIC, ICL and the bootstrap likelihood ratio test would have chosen.
#
# `benchmarks/choosing.py` made the data sets and `docs/choosing.csv` holds a row for each: six laws
# of counts, 200 and 2,000 of them.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import pmnbmix as nb

here = Path(__file__).parent if "__file__" in globals() else Path.cwd()
sys.path.insert(0, str(here.parent / "benchmarks"))
import choosing

sets = pd.read_csv(here.parent / "docs" / "choosing.csv", keep_default_na=False)
truth = {setting.name: setting.truth.n_components for setting in choosing.SETTINGS}
sets["truth"] = sets["setting"].map(truth)
sets["plausible has it"] = [
    str(number) in str(plausible).split()
    for number, plausible in zip(sets["truth"], sets["plausible"], strict=True)
]

# %% [markdown]
# ## The laws
#
# Means and inverse dispersions: one (5, 2); two separated (2 and 20, 3 and 5); equal means (5 and
# 5, 1 and 60); three (1, 8 and 40, 5 each); a Poisson pair (3 and 9); and two separated of which
# 1 % are replaced by uniform counts from 0 to 400.
#
# ## Share of data sets in which the number is right, in percent

# %%
methods = {
    "chosen": "chosen",
    "highest elpd": "loo",
    "stacking": "stacking",
    "BIC": "bic",
    "ICL": "icl",
    "bootstrap test": "bootstrap",
}


def share(part, column, better=lambda found, right: found == right):
    """Percent of the data sets for which a method was tried."""
    tried = part[part[column].astype(str) != ""]
    return 100 * better(tried[column].astype(float), tried["truth"]).mean()


rows = []
for (law, n), part in sets[sets["setting"] != "contaminated"].groupby(["setting", "n"], sort=False):
    row = {"law": law, "n": n, "data sets": len(part)}
    row["in plausible"] = 100 * part["plausible has it"].mean()
    row |= {name: share(part, column) for name, column in methods.items()}
    row["chosen too many"] = share(part, "chosen", lambda found, right: found > right)
    rows.append(row)
table = pd.DataFrame(rows).set_index(["law", "n"])
print(table.round(0).astype(int).to_string())

# %% [markdown]
# The true number is always plausible. Of 200 counts the rule chooses fewer components than there
# are where the data cannot prove them, and never more; of 2,000 it is right. There the highest elpd
# and stacking choose too many in none to a third of the data sets: they answer which number
# predicts best, and a component too many costs next to nothing. BIC is as good where it can be (it
# needs no posterior, but says nothing of how sure it is). ICL wants components that are well apart
# and finds fewer. The bootstrap test, with 39 replicates on ten sets or so of each setting, finds
# more at 200 counts than the others, as far as so few sets can tell, and chooses too many now and
# then, as a test at 5 % must.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, n in zip(axes, (200, 2000), strict=True):
    part = table.xs(n, level="n")[list(methods)]
    part.T.plot.bar(ax=ax, legend=False, width=0.8, rot=30)
    ax.set_title(f"{n} counts")
axes[0].set_ylabel("right, percent")
handles, laws = axes[0].get_legend_handles_labels()
figure.legend(handles, laws, loc="outside right center", frameon=False, title="law")
plt.show()

# %% [markdown]
# ## Contaminated counts
#
# With 1 % of the counts replaced there is no true number: the question is how well new counts are
# predicted. Losses are in nats a count, against the law itself. Of 200 counts, two or so are
# replaced, and the cautious rule does not always grant them a component: it pays for that with
# about twice the loss. Of 2,000 it does.

# %%
dirty = sets[sets["setting"] == "contaminated"].astype({"loss_chosen": float, "loss_loo": float})
print(
    dirty.groupby("n")
    .agg(
        {
            "index": "size",
            "chosen": "median",
            "loss_chosen": "mean",
            "loo": "median",
            "loss_loo": "mean",
        }
    )
    .rename(
        columns={
            "index": "data sets",
            "chosen": "median chosen",
            "loss_chosen": "loss of chosen",
            "loo": "median of highest elpd",
            "loss_loo": "loss of highest elpd",
        }
    )
    .round(4)
    .to_string()
)

# %% [markdown]
# ## The quick way is the same
#
# The study makes posteriors by importance sampling where that is sound, and by shorter chains else.
# On these data sets the whole of `choose_components` is run beside it.

# %%
for number, index in ((0, 3), (2, 4)):
    setting = choosing.SETTINGS[number]
    rng = choosing.np.random.default_rng([number, index])
    counts = nb.Counts(setting.sample(setting.n, rng))
    whole = nb.choose_components(
        counts, setting.most, stop_early=False, random_seed=1, watch=lambda title, done, total: None
    )
    quick = sets[(sets["setting"] == setting.name) & (sets["n"] == setting.n)]
    quick = quick[quick["index"] == index].iloc[0]
    plausible = " ".join(map(str, sorted(whole.plausible)))
    print(f"{setting.name}: chosen {whole.chosen} and {quick['chosen']}, plausible", end=" ")
    print(f"{plausible} and {quick['plausible']}")
    assert whole.chosen == quick["chosen"]
    assert plausible == str(quick["plausible"])
