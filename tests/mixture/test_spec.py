import dataclasses

import numpy as np
import pytest

import pmnbmix as nb


def test_defaults_are_those_of_the_documentation():
    spec = nb.MixtureSpec()
    assert spec.n_components == 2
    assert spec.weights == nb.DirichletPrior(2.0)
    assert spec.log_means == nb.NormalPrior("auto", 2.0)
    assert spec.log_dispersions == nb.NormalPrior(0.0, 2.0)


def test_toml_and_back(tmp_path):
    spec = nb.MixtureSpec(
        3, nb.DirichletPrior(0.5), nb.NormalPrior(1.25, 3.0), nb.NormalPrior(-1.0, float("inf"))
    )
    for one in (spec, nb.MixtureSpec()):
        one.write(tmp_path / "spec.toml")
        assert nb.MixtureSpec.read(tmp_path / "spec.toml") == one


def test_what_a_file_leaves_out_keeps_its_default(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text("n_components = 4\n[prior.log_means]\nscale = 1\n")
    assert nb.MixtureSpec.read(path) == nb.MixtureSpec(4, log_means=nb.NormalPrior("auto", 1.0))


def test_auto_is_the_overall_rate():
    counts = nb.Counts([2, 4, 6], exposure=[1.0, 2.0, 0.5], frequency=[1, 2, 1])
    resolved = nb.MixtureSpec(2).resolve(counts)
    assert resolved.log_means.loc == pytest.approx(np.log(16 / 5.5))
    assert resolved.is_resolved
    assert resolved.resolve(nb.Counts([1000])) == resolved


def test_auto_of_all_zeros_is_half_a_count():
    counts = nb.Counts([0, 0], exposure=[1.0, 3.0])
    assert nb.MixtureSpec(1).resolve(counts).log_means.loc == pytest.approx(np.log(0.5 / 4.0))


@pytest.mark.parametrize(
    ("n_components", "error"),
    [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_numbers_of_components_that_are_none(n_components, error):
    with pytest.raises(error, match="n_components"):
        nb.MixtureSpec(n_components)


def test_numpy_integers_are_integers():
    assert nb.MixtureSpec(np.int64(3)) == nb.MixtureSpec(3)


@pytest.mark.parametrize(
    ("text", "error", "parts"),
    [
        ("n_component = 2", ValueError, ["'n_component'", "n_components, prior"]),
        ("[prior.mean]\nloc = 1", ValueError, ["'mean'", "weights, log_means, log_dispersions"]),
        ("[prior.weights]\nalpha = 1", ValueError, ["'alpha'", "family, concentration"]),
        ("[prior.weights]\nconcentration = 0", ValueError, ["prior.weights", "above 0"]),
        ('[prior.weights]\nconcentration = "a"', TypeError, ["prior.weights", "number"]),
        ("[prior.log_means]\nscale = -1.0", ValueError, ["prior.log_means", "above 0"]),
        ("[prior.log_means]\nscale = nan", ValueError, ["prior.log_means", "scale"]),
        ('[prior.log_means]\nfamily = "cauchy"', ValueError, ["'cauchy'", "'normal'"]),
        ('[prior.log_dispersions]\nloc = "auto"', ValueError, ["auto", "log_means only"]),
        ("n_components = 0", ValueError, ["1 or above"]),
        ("n_components = true", TypeError, ["whole number"]),
        ("prior = 3", TypeError, ["prior must be a table"]),
        ("[prior]\nweights = 2", TypeError, ["[prior.weights]", "table"]),
        ("n_components = ", ValueError, ["not TOML"]),
    ],
)
def test_bad_files_are_named_with_place_and_allowed_keys(tmp_path, text, error, parts):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(error) as caught:
        nb.MixtureSpec.read(path)
    assert str(path) in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        nb.MixtureSpec.read(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="cannot be read"):
        nb.MixtureSpec.read(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ValueError, match="UTF-8"):
        nb.MixtureSpec.read(tmp_path / "latin.toml")


def test_priors_of_another_class():
    with pytest.raises(TypeError, match="DirichletPrior"):
        nb.MixtureSpec(2, weights=2.0)


def test_a_specification_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        nb.MixtureSpec().n_components = 3


def test_numbers_of_numpy_are_numbers_and_infinity_is_named():
    assert nb.DirichletPrior(np.int64(3)).concentration == 3.0
    with pytest.raises(ValueError, match="concentration must be above 0 and finite; got inf"):
        nb.DirichletPrior(float("inf"))


def test_a_specification_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(ValueError, match="cannot write spec"):
        nb.MixtureSpec().write(tmp_path / "absent" / "spec.toml")
    nb.MixtureSpec().write(tmp_path / "spec.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


@pytest.mark.parametrize(
    ("loc", "scale", "text"),
    [
        (-800, 2, "loc must be from -300 to 300"),
        (800, 2, "loc must be from -300 to 300"),
        (0, 1e200, "scale must be from 0.001 to 1e\\+06, or inf"),
        (0, 1e-200, "scale must be from 0.001"),
    ],
)
def test_priors_that_overflowed_inside_are_refused(loc, scale, text):
    with pytest.raises(ValueError, match=text):
        nb.NormalPrior(loc, scale)


def test_a_concentration_whose_draws_are_all_0_or_1_is_refused():
    with pytest.raises(ValueError, match="concentration must be at least 1e-06"):
        nb.DirichletPrior(1e-12)
    assert nb.DirichletPrior(0.001).concentration == 0.001


@pytest.mark.parametrize(("count", "exposure"), [(0, 1e100), (2**53, 1e-100)])
def test_auto_stays_within_the_bounds_of_priors(count, exposure):
    counts = nb.Counts([count], exposure=[exposure], frequency=[1 if count else 2**52])
    assert nb.MixtureSpec(1).resolve(counts).is_resolved


PLAIN = """\
n_components = 2

[prior.weights]
family = "dirichlet"
concentration = 2.0

[prior.log_means]
family = "normal"
loc = "auto"
scale = 2.0

[prior.log_dispersions]
family = "normal"
loc = 0.0
scale = 2.0
"""
REGRESSION = """\
n_components = 2
families = [
    "nb",
    "zero",
]

[formula]
means = "age + C(sex)"
shared = "log(year)"
weights = "income"

"""


def test_files_of_plain_mixtures_are_what_they_were():
    plain = nb.MixtureSpec()
    assert plain.to_toml() == PLAIN
    assert list(plain.to_dict()) == ["n_components", "prior"]
    assert (
        nb.MixtureSpec(families=["nb", "nb"], mean_formula=" 1 ", slopes=nb.NormalPrior(0, 1))
        == plain
    )
    assert repr(plain) == (
        "MixtureSpec(n_components=2, weights=DirichletPrior(concentration=2.0), "
        "log_means=NormalPrior(loc='auto', scale=2.0), "
        "log_dispersions=NormalPrior(loc=0.0, scale=2.0))"
    )
    assert plain.is_plain
    assert plain.families == ("nb", "nb")


def test_regressions_go_to_toml_and_back(tmp_path):
    spec = nb.MixtureSpec(
        mean_formula=" age + C(sex)",
        shared_formula="log(year)",
        weight_formula="income",
        families=["nb", "zero"],
    )
    assert spec.to_toml() == REGRESSION + PLAIN.partition("\n\n")[2]
    assert "mean_formula='age + C(sex)'" in repr(spec)
    assert "age + C(sex)" in spec._repr_html_()
    assert not spec.is_plain
    for one in (
        spec,
        nb.MixtureSpec(1, families="poisson", dispersion_formula="a:b"),
        nb.MixtureSpec(3, slopes=nb.NormalPrior(0.5, np.inf), mean_formula="`a b`"),
    ):
        one.write(tmp_path / "spec.toml")
        assert nb.MixtureSpec.read(tmp_path / "spec.toml") == one
        assert nb.MixtureSpec.from_dict(one.to_dict()) == one
        assert hash(nb.MixtureSpec.from_dict(one.to_dict())) == hash(one)
    (tmp_path / "short.toml").write_text('families = "poisson"')
    assert nb.MixtureSpec.read(tmp_path / "short.toml").families == ("poisson", "poisson")


@pytest.mark.parametrize(
    ("text", "error", "parts"),
    [
        ("formula = 3", TypeError, ["formula must be a table"]),
        ("[formula]\nmean = 'x'", ValueError, ["[formula]", "'mean'", "means, shared, weights"]),
        ("[formula]\nmeans = 1", TypeError, ["mean_formula must be a formula as text"]),
        ("[formula]\nmeans = 'open(1)'", ValueError, ["mean_formula", "'open' is no function"]),
        ("families = 3", TypeError, ['"nb", "poisson" or "zero"', "3"]),
        ("families = ['nb', 'zinb']", ValueError, ["'zinb'"]),
        ("families = ['nb']", ValueError, ["1 entries for 2 components"]),
        ("[prior.slopes]\nloc = 'auto'", ValueError, ["slopes", "0"]),
        ("[prior.slopes]\nscale = 0", ValueError, ["prior.slopes", "above 0"]),
    ],
)
def test_bad_files_of_regressions_are_named(tmp_path, text, error, parts):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(error) as caught:
        nb.MixtureSpec.read(path)
    for part in ("bad.toml", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"families": "zero"}, "cannot make a count above 0"),
        ({"families": ["zero", "zero"]}, "cannot make a count above 0"),
        ({"n_components": 3, "families": ["nb", "zero", "zero"]}, "2 components that are .*One is"),
        ({"n_components": 1, "families": ["nb", "nb"]}, "2 entries for 1 component:"),
        ({"families": "NB"}, "got 'NB'"),
        (
            {"mean_formula": "a*b", "shared_formula": "c + b:a"},
            "'b:a' is a term of mean_formula and",
        ),
        ({"mean_formula": "y ~ a"}, "mean_formula: a formula here has no response"),
        ({"shared_formula": "0 + a"}, "shared_formula: the intercept is implied"),
        ({"weight_formula": "{a}"}, "weight_formula: Python in braces"),
        ({"dispersion_formula": ""}, "dispersion_formula: it is empty"),
    ],
)
def test_what_no_mixture_can_be_is_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        nb.MixtureSpec(**arguments)


def test_the_same_columns_in_other_parts_are_no_conflict():
    nb.MixtureSpec(mean_formula="a", weight_formula="a", dispersion_formula="a", shared_formula="b")


def test_another_number_of_components_keeps_formulas_and_families():
    spec = nb.MixtureSpec(2, mean_formula="a", families="poisson")
    assert spec.with_components(4).families == ("poisson",) * 4
    assert spec.with_components(4).mean_formula == "a"
    mixed = nb.MixtureSpec(2, families=("nb", "zero"))
    assert mixed.with_components(2) == mixed
    with pytest.raises(
        ValueError, match=r'"nb", "zero", which leaves open what 3 components would'
    ):
        mixed.with_components(3)


def test_flat_slopes_are_improper_where_there_are_some():
    flat = nb.NormalPrior(0.0, np.inf)
    assert nb.MixtureSpec(slopes=flat).is_proper
    assert not nb.MixtureSpec(slopes=flat, mean_formula="a").is_proper
    assert nb.MixtureSpec(mean_formula="a").is_proper
    with pytest.raises(TypeError, match="slopes must be a NormalPrior"):
        nb.MixtureSpec(slopes=1.0)
