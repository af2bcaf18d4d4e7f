"""What is refused of mixtures of regressions, in words that name it."""

import numpy as np
import pandas as pd
import pytest

import pmnbmix as nb

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(40.0, 9.0, 40),
        "sex": np.tile(["f", "m"], 20),
        "same": np.ones(40),
        "double": np.zeros(40),
    }
)
FRAME["double"] = 2.0 * FRAME["age"]
VALUES = RNG.poisson(3.0, 40)
COUNTS = nb.Counts(VALUES, covariates=FRAME)


def fitted(mean_formula="age + sex"):
    return nb.fit_em(COUNTS, nb.MixtureSpec(1, mean_formula=mean_formula))


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("agee", r"no column 'agee'.*Near it: 'age'"),
        ("same", r"same is 1 in every row.*Leave it out"),
        ("age + double", r"(double|age) follows from (age|double).*Leave out 1"),
    ],
)
def test_formulas_that_cannot_be_fitted(formula, message):
    with pytest.raises(ValueError, match=message):
        fitted(formula)


def test_more_columns_than_rows():
    wide = pd.DataFrame(RNG.normal(size=(20, 30)), columns=[f"x{i}" for i in range(30)])
    spec = nb.MixtureSpec(1, mean_formula=" + ".join(wide))
    with pytest.raises(ValueError, match=r"31 columns, but only 20 are independent"):
        nb.fit_em(nb.Counts(VALUES[:20], covariates=wide), spec)


def test_an_interaction_with_an_empty_cell():
    frame = pd.DataFrame({"a": list("uuvv") * 5, "b": list("xyxx") * 5})
    with pytest.raises(ValueError, match=r"a\[T\.v\]:b\[T\.y\] is 0 in every row"):
        nb.fit_em(nb.Counts(VALUES[:20], covariates=frame), nb.MixtureSpec(2, mean_formula="a * b"))


def test_own_and_shared_columns_that_make_up_each_other():
    spec = nb.MixtureSpec(2, mean_formula="age", shared_formula="double")
    with pytest.raises(ValueError, match=r"mean_formula and shared_formula has 3 columns"):
        nb.fit_em(COUNTS, spec)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"age": [30.0], "sex": ["x"]}, r"category 'x' in row 0"),
        ({"age": [30.0]}, r"lack 'sex'"),
        ({"age": [np.nan], "sex": ["f"]}, r"'age' has 1 missing value"),
        ([1, 2], r"DataFrame or a mapping"),
    ],
)
def test_new_rows_that_the_fit_does_not_know(rows, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fitted().expected_counts(rows)


def test_new_counts_need_their_covariates():
    with pytest.raises(ValueError, match=r"covariates \(age, sex\), so new rows need theirs"):
        fitted().logpmf([1, 2])
    with pytest.raises(ValueError, match=r"has no covariates, but covariates were given"):
        nb.fit_em(COUNTS, 1).logpmf([1], covariates=FRAME[:1])
    with pytest.raises(ValueError, match=r"must be one row; got 2"):
        fitted().params_at(FRAME[:2])


@pytest.mark.parametrize(
    "use",
    [
        lambda spec: nb.sample(COUNTS, spec),
        lambda spec: nb.laplace(COUNTS, spec),
        lambda spec: nb.build_model(COUNTS, spec),
        lambda spec: nb.choose_components(COUNTS, 2, spec=spec),
        lambda spec: nb.start_points(COUNTS, spec),
    ],
    ids=["sample", "laplace", "build_model", "choose_components", "start_points"],
)
def test_what_knows_the_plain_model_only_says_so(use):
    with pytest.raises(ValueError, match=r"cannot use formulas and families yet.*'age'"):
        use(nb.MixtureSpec(2, mean_formula="age"))


@pytest.mark.parametrize(
    "beside", [{"subject": np.arange(40) // 2}, {"above": -1, "upper": VALUES + 1}]
)
def test_what_is_not_used_yet_is_not_passed_over(beside):
    counts = nb.Counts(VALUES, **beside)
    for use in (nb.fit_em, nb.fit_map, nb.sample):
        with pytest.raises(ValueError, match=r"cannot use (subject|upper)="):
            use(counts, 2)


def test_a_covariate_that_is_the_exposure_is_noticed(caplog):
    exposure = RNG.uniform(1.0, 5.0, 40)
    counts = nb.Counts(VALUES, exposure, covariates={"time": exposure, "log": np.log(exposure)})
    nb.fit_em(counts, nb.MixtureSpec(1, mean_formula="time"))
    assert "covariate 'time' is the exposure" in caplog.text


def test_effects_need_covariates():
    with pytest.raises(ValueError, match=r"has no covariates"):
        nb.effects(nb.fit_em(COUNTS, 1))
    with pytest.raises(TypeError, match=r"must be a PointFit"):
        nb.effects(COUNTS)
    with pytest.raises(ValueError, match=r"no tree yet"):
        fitted().to_datatree()
    with pytest.raises(ValueError, match=r"another curve at each row"):
        nb.plots.plot_fit(fitted())


def test_answers_to_other_numbers_of_rows():
    rows = FRAME[["age", "sex"]][:2]
    with pytest.raises(ValueError, match=r"probability has 3 entries but there are 2 rows"):
        fitted().quantile([0.1, 0.5, 0.9], covariates=rows)
    with pytest.raises(ValueError, match=r"lack 'sex'"):
        nb.effects(fitted(), rows[["age"]])
    with pytest.raises(ValueError, match=r"numbers of components of one family"):
        nb.bootstrap_lrt(COUNTS, spec=nb.MixtureSpec(2, families=("nb", "zero")), n_boot=5)
