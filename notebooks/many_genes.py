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
# # Many genes
#
# `gene.py` has one gene. A sequencing run has thousands, and the first question is which of them
# have two levels at all. `fit_columns` fits every one of them in seconds. It is a sieve: what stays
# in it is worth a closer look, and the look is the posterior of a single gene.
#
# The counts are 700 blood cells and 765 genes that come with scanpy, a small part of the 68,000
# cells of Zheng et al. (2017), Nature Communications 8, 14049.

# %%
import importlib.util
import time
from pathlib import Path

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import sparse

import pmnbmix as nb

# scanpy's folder without scanpy, which is slow to import
scanpy = Path(importlib.util.find_spec("scanpy").origin).parent
given = anndata.read_h5ad(scanpy / "datasets" / "10x_pbmc68k_reduced.h5ad")
print(f"{given.n_obs} cells, {given.n_vars} genes")

# %% [markdown]
# ## Back to counts
#
# Mixtures of counts need counts. `.X` of this file is scaled, so it is no use; `.raw.X` is the
# logarithm of 1 + molecules per 10,000, rounded to three digits. `obs["n_counts"]` is the total of
# each cell, so the molecules can be had back, and whether they were is seen from how near they come
# to whole numbers.

# %%
total = given.obs["n_counts"].to_numpy(dtype=float)
recovered = np.expm1(given.raw.X.toarray().astype(float)) * total[:, None] / 1e4
molecules = np.rint(recovered)
off = np.abs(recovered - molecules)
farthest = np.unravel_index(off.argmax(), off.shape)
print(f"farthest from a whole number: {off.max():.3f}, of a count of {molecules[farthest]:.0f}")
print(f"farthest below 20 molecules: {off[molecules < 20].max():.4f}")
print(f"zeros: {100 * (molecules == 0).mean():.0f} %, largest count: {molecules.max():.0f}")

# %% [markdown]
# All are within 0.1 of a whole number, and the small counts, which are nearly all of them, within
# 0.01. These are the counts.
#
# The exposure is the total of the cell over its mean. It is the total of *all* genes of the cell,
# and must not contain much of the gene itself (`gene.py` shows why). How much it does:

# %%
share = molecules / total[:, None]
most = share.max(axis=0)
print(f"largest share of one gene in a cell: {100 * most.max():.1f} %", end=" ")
print(f"({given.var_names[most.argmax()]}); genes above 5 %: {(most > 0.05).sum()}")

cells = anndata.AnnData(
    sparse.csr_matrix(molecules),
    obs=given.obs[["bulk_labels", "phase"]].copy(),
    var=pd.DataFrame(index=given.var_names),
)
cells.obs["size_factor"] = total / total.mean()

# %% [markdown]
# At most a few per cent, so the total will do.
#
# ## All genes, two components
#
# One call. The exposure is named, as it is a column of `.obs`. (The first call on a machine
# compiles for a minute or so; that is not counted here.)

# %%
nb.fit_columns(molecules[:, :2], 2, total / total.mean(), progressbar=False)

start = time.perf_counter()
two = nb.fit_columns(cells, 2, "size_factor", progressbar=False)
took = time.perf_counter() - start
print(f"{two.sizes['column']} genes in {took:.1f} s")
table = two.to_frame()
print(table["statuses"].value_counts().to_string())

# %% [markdown]
# No gene failed, but only one in eight is plainly "converged". The other words are not errors. They
# say at which edge the best two components lie:
#
# - `poisson-limit` (more than 600 genes): a component has dispersion 0. Its counts vary no more
#   than Poisson counts do. With a handful of molecules in a cell, more cannot be seen.
# - `point-mass`: a component is all zeros.
# - `few-observations`: a component holds fewer than three cells.
# - `duplicate-components, pooled`: both components are the same. The gene has one.
#
# Two components were asked for and two were given. Whether there is reason for them is another
# question.
#
# ## One component, or two?

# %%
one = nb.fit_columns(cells, 1, "size_factor", progressbar=False)
chosen = nb.fit_columns(cells, "bic", "size_factor", max_components=4, progressbar=False)

table["bic_gain"] = (one.bic - two.bic).to_numpy()
table["icl_gain"] = (one.icl - two.icl).to_numpy()
table["clearness"] = table[["separation[0]", "separation[1]"]].min(axis=1)
asked = table["bic_gain"] > 0
at_limit = table["statuses"].str.contains("poisson-limit")
print(f"genes whose BIC is better with two than with one: {asked.sum()} of {len(table)}")
print(f"by more than 10: {(table['bic_gain'] > 10).sum()}")
print(f"genes whose ICL is better with two: {(table['icl_gain'] > 0).sum()}")
print("genes at the Poisson limit with two components:", end=" ")
print(f"{at_limit.sum()}; of those that ask for two: {(asked & at_limit).sum()}")
print(f"genes at the Poisson limit with one component: {(one.status == 'poisson-limit').sum():d}")
print("components by BIC, of 1 to 4:", end=" ")
print(chosen.to_frame()["n_components"].value_counts().sort_index().to_dict())

# %% [markdown]
# So 9 genes in 10 do not ask for a second component: one negative binomial is enough for them, and
# nearly always with a dispersion above 0. Some 56 do ask, and 8 of these would have three. The
# criteria differ in what they ask. BIC asks for a better fit. ICL asks besides that cells can be
# assigned, and keeps 6 genes.
#
# The fits go back to where the genes are: numbers by gene to `.var`, numbers by component to
# `.varm`.

# %%
two.to_anndata(cells)
cells.var["nb_bic_gain"] = table["bic_gain"].to_numpy()
cells.var["nb_clearness"] = table["clearness"].to_numpy()
print(cells)

# %% [markdown]
# ## The clearest genes
#
# `separation` says how well cells can be assigned to a component: 0 is no better than chance, 1 is
# without doubt. A gene is as clear as the worse of its two components. Clearness alone would be
# fooled by a second component of two odd cells, and BIC alone by two components that lie on top of
# each other. So: a gain in BIC above 10, sorted by clearness.

# %%
kept = table[table["bic_gain"] > 10].sort_values("clearness", ascending=False)
shown = {
    "bic_gain": "BIC gain",
    "clearness": "clearness",
    "weights[1]": "weight[1]",
    "means[0]": "mean[0]",
    "means[1]": "mean[1]",
    "dispersions[0]": "disp[0]",
    "dispersions[1]": "disp[1]",
}
print(kept[list(shown)].rename(columns=shown).head(15).round(2).to_string())

# %% [markdown]
# Means are molecules in a cell of average depth. CST3 is the clearest: next to none in nearly half
# of the cells, some 24 in the others. A dispersion of 20 beside a mean of 0.2 (FCGR3A, FCER1A) is a
# component of zeros with a long tail, and not a level.
#
# ## Are the components cell types?
#
# The cells come with labels, `obs["bulk_labels"]`: the sorted kind of blood cell that each is most
# like. `responsibilities` gives the probability of each component for every cell. The table has,
# for some well-known genes, the share of cells of each label that are most probably in the upper
# component.

# %%
SHORT = {
    "CD14+ Monocyte": "Mono",
    "Dendritic": "Dendr",
    "CD19+ B": "B",
    "CD56+ NK": "NK",
    "CD8+ Cytotoxic T": "T cyt",
    "CD8+/CD45RA+ Naive Cytotoxic": "T8 nai",
    "CD4+/CD25 T Reg": "T reg",
    "CD4+/CD45RO+ Memory": "T mem",
    "CD4+/CD45RA+/CD25- Naive T": "T4 nai",
    "CD34+": "CD34",
}
MARKERS = ["CST3", "LYZ", "FTL", "FCGR3A", "CD79A", "NKG7", "GNLY", "CD3D", "CD74", "HLA-DRA"]
OTHERS = ["PPIB", "HMGB2", "PCNA"]
label = cells.obs["bulk_labels"].astype(str).map(SHORT).to_numpy()
genes = [gene for gene in MARKERS + OTHERS if gene in cells.var_names]
held = two.responsibilities(cells, genes, "size_factor")
upper = held.sel(mixture_component=1).to_pandas() > 0.5
upper.index = cells.obs_names


def explained(inside, label):
    """Share of the uncertainty about the component that the label takes away, 0 to 1."""
    joint = pd.crosstab(inside, label).to_numpy() / len(label)

    def entropy(probability):
        probability = probability[probability > 0]
        return -(probability * np.log(probability)).sum()

    own = entropy(joint.sum(axis=1))
    return (own + entropy(joint.sum(axis=0)) - entropy(joint.ravel())) / own


def agreement(inside, label, n_shuffles=100):
    """The same, less what shuffled labels explain by chance, so that 0 is chance and 1 is all."""
    rng = np.random.default_rng(1)
    found = explained(inside, label)
    chance = np.mean([explained(inside, rng.permutation(label)) for _ in range(n_shuffles)])
    return (found - chance) / (1.0 - chance)


shares = upper.groupby(label).mean().T[list(SHORT.values())]
shares["agrees"] = [agreement(upper[gene].to_numpy(), label) for gene in genes]
shares["BIC gain"] = table.loc[genes, "bic_gain"]
sizes = pd.Series(label).value_counts()
print("cells:", ", ".join(f"{name} {sizes[name]}" for name in SHORT.values()))
print(shares.round(2).rename_axis(None).to_string(formatters={"BIC gain": "{:.0f}".format}))

# %% [markdown]
# `agrees` is the share of the uncertainty about a cell's component that its label takes away, where
# 0 is what shuffled labels do and 1 would be all.
#
# **Where they are cell types.** CST3 splits monocytes and dendritic cells from all others, with a
# few exceptions in 700 cells; CD79A splits off the B cells. GNLY and NKG7 take the NK cells and
# most cytotoxic T cells, FCGR3A and FTL the monocytes, CD3D most T cells. A component is seldom
# *one* type: it is all types that have the gene.
#
# **Where they are levels and not types.** CD74 and HLA-DRA are in every cell that shows antigens.
# Their upper component is three quarters of the dendritic cells and some 30 % of the B cells: the
# lower component holds cells without the gene and cells with a medium level alike, and a third
# component is what BIC asks for (below).
#
# **Where the labels have no name for it.** PPIB has two very clear components and little agreement.
# HMGB2 has some 40 cells in the upper one, lymphocytes of most kinds. Both are real:

# %%
NAMES = {False: "lower", True: "upper"}
counted = cells.to_df()
print("mean molecules, by component of PPIB")
plasma = counted[["IGJ", "MZB1", "CD79A", "MS4A1"]]
print(
    plasma.groupby(upper["PPIB"].map(NAMES)).mean().round(1).rename_axis(None, axis=1).to_string()
)
print("\ncells in each phase of the cell cycle, by component of HMGB2")
print(pd.crosstab(upper["HMGB2"].map(NAMES), cells.obs["phase"]).to_string())

# %% [markdown]
# The upper component of PPIB has the genes of antibody-making plasma cells (IGJ, MZB1), which lack
# MS4A1: a kind of cell that is not among the ten labels. The upper component of HMGB2 is cells that
# divide or are about to. (The phases in `.obs` were scored by genes of the cycle, of which HMGB2 is
# usually one.)
#
# **Where there is nothing.** PCNA has two components because two were asked for. Its BIC is worse
# with them, and they agree with no label.
#
# The labels are no truth either. They were made from the same molecules, and most cells that are
# labelled CD14+ monocytes have FCGR3A, which is CD16, the mark of the *other* monocytes.
#
# Three components where BIC chooses three:

# %%
for gene in ("CST3", "CD74"):
    held = chosen.responsibilities(cells, [gene], "size_factor").sel(column=gene)
    n_components = int(chosen.sel(column=gene).n_components)
    level = held.to_numpy()[:, :n_components].argmax(axis=1)
    means = chosen.params(gene).means
    by_label = pd.crosstab(level, label)[list(SHORT.values())]
    by_label.index = [f"{gene}, mean {mean:.1f}" for mean in means]
    print(by_label.rename_axis(None, axis=1).to_string(), end="\n\n")

# %% [markdown]
# None, some, much: for CST3 the lymphocytes, the monocytes with a third of the dendritic cells, and
# the other dendritic cells. For CD74 B cells and monocytes are in the middle.
#
# ## From the sieve to the posterior
#
# LTB passes the sieve: a gain in BIC of 4, a clearness above 0.7, status "converged". Its
# parameters and standard errors:

# %%
GENE = "LTB"
print(two.params(GENE))
errors = two.sel(column=GENE)[["weights_se", "means_se", "dispersions_se"]]
print(errors.to_dataframe().drop(columns="column").round(2).to_string())

# %% [markdown]
# One optimum and a standard error is all that `fit_columns` knows. The posterior of this one gene
# takes some seconds, and knows more:

# %%
counts = nb.Counts(counted[GENE], exposure=cells.obs["size_factor"], name=GENE)
em = nb.fit_em(counts, 2, random_seed=1)
print(
    f"fit_em is at the same optimum: {abs(em.log_likelihood - table.log_likelihood[GENE]) < 1e-6}"
)
tree = nb.sample(counts, nb.MixtureSpec(2), draws=500, random_seed=1, progressbar=False)
print(nb.diagnose(tree, optima=em))
estimates = nb.compare_estimates(em=em, nuts=tree)
print(estimates[["em", "em_se", "nuts_median", "nuts_lower", "nuts_upper"]].round(2).to_string())
for flag in sorted({flag for text in estimates["flag"] for flag in text.split(" | ")} - {""}):
    print("-", flag)

# %% [markdown]
# The standard errors were wide already; that of the lower mean reaches below 0 when doubled. The
# posterior says what is behind it: two modes that matter, and an upper component that may hold a
# seventh of the cells or six tenths of them. CST3 needs no such look. For a gene near the edge of
# the sieve the posterior is the last word, and `nb.choose_components` on how many components are
# needed.
#
# ## Six genes
#
# Grey: cells, by molecules. Black: cells that the mixture expects, averaged over the 700 size
# factors. Coloured: its two components. Bins widen to the right, by a third each; cells are on a
# square root scale, so that the few can be seen beside the many.

# %%
EDGES = np.array([0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 28, 37, 49, 65, 86, 114, 151, 200, 265])
TICKS = (0, 1, 2, 3, 5, 9, 16, 28, 49, 86, 151)
FACTORS = cells.obs["size_factor"].to_numpy()


def expected(params):
    """Cells in each bin that each component expects, over all size factors."""
    grid = np.arange(EDGES[-1])
    density = params.component_logpmf(np.tile(grid, FACTORS.size), np.repeat(FACTORS, grid.size))
    density = np.exp(density).reshape(FACTORS.size, grid.size, -1).sum(axis=0)
    return np.add.reduceat(density, EDGES[:-1]) * params.weights


def panel(ax, gene):
    """Observed and expected cells of one gene."""
    observed, _ = np.histogram(counted[gene], EDGES)
    parts = expected(two.params(gene))
    shown = np.flatnonzero((observed > 0) | (parts.sum(axis=1) > 0.2))
    at = np.arange(shown.max() + 1)
    ax.bar(at, observed[at], width=0.92, color="#C8C8C8", label="cells")
    for part, colour, name in zip(parts.T, ("#0072B2", "#D55E00"), ("lower", "upper"), strict=True):
        ax.plot(at, part[at], color=colour, lw=2, label=f"{name} component")
    ax.plot(at, parts.sum(axis=1)[at], "o", color="black", ms=4, label="mixture")
    ax.set_yscale("function", functions=(np.sqrt, np.square))
    top = max(observed.max(), parts.sum(axis=1).max())
    ax.set_ylim(0, 1.1 * top)
    ax.set_yticks([tick for tick in (0, 5, 20, 50, 100, 200, 400, 600) if tick <= 1.1 * top])
    ticks = [j for j in at if EDGES[j] in TICKS]
    ax.set_xticks(ticks, [str(EDGES[j]) for j in ticks])
    ax.spines[["top", "right"]].set_visible(False)
    low, high = two.params(gene).means
    ax.set_title(f"{gene}: means {low:.2g} and {high:.2g}")


figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
for ax, gene in zip(axes.flat, ("CST3", "FTL", "CD79A", "GNLY", "PPIB", GENE), strict=True):
    panel(ax, gene)
figure.supxlabel("molecules in a cell (first of the bin)")
figure.supylabel("cells")
handles, names = axes[0, 0].get_legend_handles_labels()
figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False)
plt.show()

# %% [markdown]
# All six have two levels to the eye, most of them a peak at zero and a hump. LTB does not look
# worse than the others, but its components meet where many cells are, and how to share those out is
# what the posterior was unsure of. CST3 has a dip in its hump, where BIC has a third component. FTL
# has no cells above some 110 molecules, where the mixture expects a dozen:

# %%
inside = upper["FTL"].to_numpy()
print(f"most molecules of FTL in a cell: {counted['FTL'].max():.0f}, expected above that:", end=" ")
print(f"{expected(two.params('FTL'))[EDGES[:-1] >= 114].sum():.0f} cells")
for name, chosen_cells in (("lower", ~inside), ("upper", inside)):
    factors = FACTORS[chosen_cells]
    print(f"size factors of the {name} component of FTL:", end=" ")
    print(f"mean {factors.mean():.2f}, nine in ten below {np.quantile(factors, 0.9):.2f}")

# %% [markdown]
# The monocytes, which are the upper component, are small cells with fewer molecules in all. The
# figure averages over the size factors of all cells, as if they had nothing to do with the
# component. The fit does not average: it takes each cell at its own size factor.
#
# ## What to take home
#
# - `fit_columns` fits two components to anything. Ask BIC whether there is reason for them, and
#   `separation` whether cells can be told apart by them.
# - Two levels of a gene may be cell types, or several types at once, a state of the cell, or a type
#   without a label.
# - Near the edge of the sieve, a point estimate with a standard error is not enough: sample that
#   gene.
