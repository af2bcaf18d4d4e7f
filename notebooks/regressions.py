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
# # Mixtures of regressions: articles of PhD students, faults in cloth
#
# How many articles does a student publish, and what does it depend on? Two components may answer
# that differently, one may make zeros only, or one curve may do. This notebook tries all three on
# 915 students, and ends with a small set where two kinds are needed: faults in rolls of cloth.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pmnbmix as nb

folder = Path(globals().get("__file__", "notebooks/x")).parent / "data"

# %% [markdown]
# ## The data
#
# Students of biochemistry: the articles of the last three years of the PhD (`art`), sex, marriage,
# children under six (`kid5`), the prestige of the department (`phd`) and the articles of the mentor
# in these years (`ment`). (J. S. Long 1990, Social Forces 68, 1297-1316; `bioChemists` in pscl.)

# %%
students = pd.read_csv(folder / "biochemists.csv")
print(students.head().round(2).to_string())
print("mean, variance:", students["art"].agg(["mean", "var"]).round(2).tolist())
mentor = pd.cut(students["ment"], [-1, 0, 3, 6, 12, 20, 80])
print(students.groupby(mentor, observed=True)["art"].agg(["size", "mean"]).round(2).to_string())

counts = nb.Counts(students["art"], covariates=students.drop(columns="art"), name="articles")
print(counts)

# %% [markdown]
# The variance is twice the mean, so the counts are not Poisson. The more the mentor writes, the
# more the student does, steeply at first and then less so. That will matter.
#
# ## One regression
#
# A formula says what the log of the mean depends on. One component of it is a plain negative
# binomial regression.

# %%
everything = "fem + mar + kid5 + phd + ment"
fits = {}


def fit(name, spec):
    """Fit a model, and keep it under a name."""
    fits[name] = nb.fit_em(counts, spec, random_seed=1)
    return fits[name]


one = fit("one regression", nb.MixtureSpec(1, mean_formula=everything))
print(one)

# %% [markdown]
# Slopes are logs of rate ratios. A child multiplies the rate by exp(-0.176) = 0.84, ten more
# articles of the mentor by exp(0.291) = 1.34.
#
# ## Two components, each with slopes of its own
#
# Perhaps there are two kinds of students, for whom different things count.

# %%
two = fit("two, own slopes", nb.MixtureSpec(2, mean_formula=everything))
print(two)

# %% [markdown]
# The table tells a story: in component 0 women publish much less, in component 1 rather more, and
# a department of high prestige helps in one and harms in the other. But every row has a star. The
# reason stands below the table: other optima are close. Before any story is believed, look at them.
#
# ## What the optima say

# %%
optima = two.optima[["log_likelihood", "times_reached"]].round(2)
for name in ("weights", "means"):
    optima[[f"{name}[0]", f"{name}[1]"]] = np.round(two.optima[name].to_list(), 2)
print(optima.head(5).to_string())

# %% [markdown]
# Four optima lie within 0.3 nats. In the best, component 0 holds 41 % of the students, in the other
# three 3 %: two stories that have nothing in common, and the counts cannot tell which is right. So
# no slope of a single component should be reported.
#
# ## Shared slopes
#
# Let the covariates mean the same for all, and the components differ in their level only. That asks
# less of the data: 10 parameters in place of 15.

# %%
shared = fit("two, shared slopes", nb.MixtureSpec(2, shared_formula=everything))


def compared():
    """All fits so far, in one table."""
    rows = {
        name: (em.log_likelihood, em.n_parameters, em.aic, em.bic, str(em.status))
        for name, em in fits.items()
    }
    columns = ["log likelihood", "parameters", "AIC", "BIC", "status"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).round(1).to_string()


print(compared())

# %% [markdown]
# Smaller is better. A second component of either kind gains less than its parameters cost: AIC and
# BIC both stay with one regression. (`bootstrap_lrt` would test it; with 915 students it takes some
# seconds for each of its replicates. It is used below, where the set is small.)
#
# ## Zeros of their own
#
# 275 students have no article. Are some of them out of the game, whatever their rate? The family
# "zero" makes a count of 0 and nothing else. First with the same weight for everybody:

# %%
families = ("nb", "zero")
constant = nb.MixtureSpec(2, mean_formula=everything, families=families)
flat = fit("zeros, same weight for all", constant)
print(flat.status.sentence)

# %% [markdown]
# Its weight is 0: there are no more zeros than one negative binomial has. But the mentor could
# matter for that weight.

# %%
mentored = nb.MixtureSpec(2, mean_formula=everything, weight_formula="ment", families=families)
zeros = fit("zeros, weight by mentor", mentored)
table = zeros.standard_errors().set_index(["part", "component", "term"])
logits = table.loc[["weights"], "estimate"].unstack("component")
logits["log odds of a zero"] = logits[1] - logits[0]
print(logits.round(3).to_string())
print(compared())

# %% [markdown]
# Logits sum to zero over the components, so the log odds are their difference: each article of the
# mentor divides the odds of being out of the game by exp(0.61) = 1.84. By AIC this beats everything
# so far by 11, and by BIC it is a little ahead. There is one optimum, and few stars. A finding?
#
# ## Or a curve
#
# Look at the table of the data again: from a mentor without articles to one with a few, the mean
# rises steeply, and later slowly. `ment` in the formula makes the log of the mean a straight line
# for all of the way, up to 77 articles. A component of zeros among students of idle mentors mends
# the lower end of that line. The logarithm would mend it too, and needs no second kind of student.

# %%
curved = "fem + mar + kid5 + phd + log1p(ment)"
curve = fit("one regression, log1p(ment)", nb.MixtureSpec(1, mean_formula=curved))
both = nb.MixtureSpec(2, mean_formula=curved, weight_formula="log1p(ment)", families=families)
fit("zeros and log1p(ment)", both)
fit("two, own slopes, log1p(ment)", nb.MixtureSpec(2, mean_formula=curved))
print(compared())
check = nb.goodness_of_fit(curve, n_boot=99, random_seed=1, n_jobs=1, progressbar=False)
print(f"one regression with the curve: goodness of fit p = {check.p_value:.2f}")

# %% [markdown]
# One regression with the curve has as many parameters as the first, is 8 nats above it, and is the
# best of all by BIC, by far. Zeros add nothing to it. Only AIC would go on to two components with
# own slopes, and these have four optima within 2.1 nats again. So the mixture that looked like a
# finding stood in for a wrong shape of one covariate. Try the shape first.

# %% [markdown]
# ## Effects, and what to expect of a person
#
# `effects` changes one covariate of every student and averages what that does to the expected
# count. These are the rows without a component, which are of the mixture: in the model of zeros, an
# article of the mentor works through the weight too.

# %%
columns = ["covariate", "change", "component", "difference", "ratio", "ratio_lower", "ratio_upper"]
for em in (zeros, curve):
    table = nb.effects(em)[columns]
    print(table[table["component"].isna()].round(2).to_string(index=False))

# %% [markdown]
# Both models agree: some 15 % fewer articles with each child, and some 20 % fewer of women than of
# men. What they say of a woman, single, without children, in a department of prestige 3:

# %%
person = pd.DataFrame({"fem": "Women", "mar": "Single", "kid5": 0, "phd": 3.0, "ment": [0, 5, 20]})
print(zeros.expected_counts(person).assign(ment=person["ment"]).round(2).to_string(index=False))
print(curve.expected_counts(person)["mean"].round(2).tolist())
print("nine in ten stay at or below:", curve.quantile(0.9, covariates=person).tolist())
print(zeros.params_at(person.iloc[0]))

# %% [markdown]
# ## In a picture
#
# On the left what each model expects, on average over all students, if all mentors had so many
# articles; dots are means of groups of students, with bars of two standard errors. On the right the
# same of students without an article.

# %%
articles = np.arange(41)
drawn = {}
for name in ("one regression", "zeros, weight by mentor", "one regression, log1p(ment)"):
    rows = []
    for number in articles:
        same = counts.covariates | {"ment": np.full(counts.n, float(number))}
        none = np.exp(fits[name].logpmf(np.zeros(counts.n, int), covariates=same)).mean()
        rows.append(fits[name].expected_counts(same).mean().to_dict() | {"none": none})
    drawn[name] = pd.DataFrame(rows, index=articles)

shown = students[students["ment"] <= 40]
edges = [-1, 0, 2, 4, 6, 9, 12, 17, 24, 40]
groups = shown.assign(none=shown["art"] == 0).groupby(pd.cut(shown["ment"], edges), observed=True)
place, size = groups["ment"].mean(), groups.size()

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for ax, column, wanted in zip(axes, ("art", "none"), ("mean", "none"), strict=True):
    error = 2.0 * groups[column].std() / np.sqrt(size)
    ax.errorbar(place, groups[column].mean(), error, fmt="o", color="0.3", label="students")
    for name, colour in zip(drawn, ("C7", "C0", "C1"), strict=True):
        ax.plot(articles, drawn[name][wanted], color=colour, lw=2, label=name)
    ax.set_xlabel("articles of the mentor")
    ax.set_ylim(bottom=0.0)
zero = drawn["zeros, weight by mentor"]
axes[0].plot(articles, zero["mean[0]"], "--", color="C0", label="component 0 beside zeros")
axes[1].plot(articles, zero["weight[1]"], "--", color="C0", label="weight of zeros")
axes[0].set_ylabel("expected articles of a student")
axes[1].set_ylabel("share without an article")
axes[0].legend(frameon=False, loc="lower right")
axes[1].legend(frameon=False, loc="upper right")
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# One regression is a line in the logarithm of the mean: too high at the left, with too few students
# who have no article. Zeros bend its lower end, and so does log1p, with two parameters fewer.
#
# ## Faults in cloth: where two kinds are needed
#
# Faults in 32 rolls of cloth, which differ in length. Twice the length has twice the chances of a
# fault, so length is an *exposure*: it multiplies the mean and has no coefficient. (M. Aitkin 1996,
# Stat. Comput. 6, 251-262; `fabricfault` of R's flexmix.)

# %%
rolls = pd.read_csv(folder / "fabricfault.csv")
faults = nb.Counts(rolls["Faults"], exposure=rolls["Length"] / 100.0, name="faults")
poisson = nb.MixtureSpec(2, families="poisson")
cloth = {k: nb.fit_em(faults, poisson.with_components(k), random_seed=1) for k in (1, 2, 3)}
for k, em in cloth.items():
    print(f"{k}: log likelihood {em.log_likelihood:.2f}, BIC {em.bic:.1f}, {em.status}")
print(cloth[2].params)

# %%
quickly = {"n_boot": 49, "random_seed": 1, "n_jobs": 1, "progressbar": False}
test = nb.bootstrap_lrt(faults, null=1, alternative=2, spec=poisson, **quickly)
print(test)

# %% [markdown]
# One Poisson rate for all rolls is refused: none of 49 samples from it gains as much by a second
# component. Three quarters of the rolls have 1.2 faults in 100 units of length, the others 2.4, and
# a third component stays empty.
#
# Is it right that faults grow in proportion to the length? Take the logarithm of the length as a
# covariate in place of the exposure; its slope should be 1.

# %%
long = nb.Counts(rolls["Faults"], covariates={"length": rolls["Length"]}, name="faults")
grown = nb.MixtureSpec(2, shared_formula="log(length)", families="poisson")
slope = nb.fit_em(long, grown, random_seed=1).profile_intervals().set_index("part").loc["shared"]
print(slope[["estimate", "lower", "upper"]].astype(float).round(2).to_string())

# %% [markdown]
# 1 is inside the interval, so the exposure will do. Which kind each roll is:

# %%
sure = cloth[2].responsibilities().max(axis=1)
rolls["kind"] = cloth[2].predict()
print(rolls.groupby("kind").agg(["size", "mean"])["Faults"].round(1).to_string())
print("rolls whose kind is known to nine in ten:", int((sure > 0.9).sum()), "of", len(rolls))

# %% [markdown]
# The faults of 18 rolls say clearly which kind they are; those of 14 do not.
