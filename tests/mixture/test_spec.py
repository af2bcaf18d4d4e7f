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
