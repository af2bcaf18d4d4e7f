import json
import os

import numpy as np
import pytest

import pmnbmix as nb


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(1)
    exposure = np.exp(rng.normal(0, 0.5, 60))
    counts = nb.Counts(rng.poisson(5 * exposure), exposure, rng.integers(0, 3, 60), name="reads")
    crab = nb.load_dataset("crab_satellites")
    return {
        "em": nb.fit_em(crab, 2, random_seed=0),
        "equal": nb.fit_em(crab, 2, mixing="equal", random_seed=0),
        "map": nb.fit_map(counts, nb.MixtureSpec(2), random_seed=0),
        "edge": nb.fit_em(nb.Counts([0, 0, 0, 9]), 3, random_seed=0),
    }


@pytest.mark.parametrize("name", ["em", "equal", "map", "edge"])
def test_a_fit_comes_back_as_it_was(fits, name, tmp_path):
    fit = fits[name]
    fit.write(tmp_path / "fit.json")
    back = nb.PointFit.read(tmp_path / "fit.json")
    for field in ("method", "mixing", "spec", "log_likelihood", "status", "statuses", "n_iter"):
        assert getattr(back, field) == getattr(fit, field), field
    for field in ("weights", "means", "dispersions"):
        np.testing.assert_allclose(getattr(back.params, field), getattr(fit.params, field), 1e-14)
    np.testing.assert_array_equal(back.counts.exposure, fit.counts.exposure)
    np.testing.assert_array_equal(back.counts.frequency, fit.counts.frequency)
    assert back.counts.name == fit.counts.name
    np.testing.assert_array_equal(back.optima["times_reached"], fit.optima["times_reached"])
    np.testing.assert_allclose(back.icl, fit.icl)
    one, other = back.standard_errors(), fit.standard_errors()
    np.testing.assert_allclose(one["upper"], other["upper"], rtol=1e-4)
    assert os.listdir(tmp_path) == ["fit.json"]


def damage(fit, path, change):
    fit.write(path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


DAMAGES = {
    "no-counts": (lambda d: d.pop("counts"), "'counts' is missing"),
    "format": (lambda d: d.update(format="other"), "no pmnbmix point fit"),
    "version": (lambda d: d.update(version=9), "version 9 of the file is not known"),
    "method": (lambda d: d.update(method="mcmc"), "method 'mcmc'"),
    "no-optima": (lambda d: d.update(optima=[]), "no optimum"),
    "negative": (lambda d: d["counts"]["values"].append(-1), "not a whole fit"),
    "unknown-key": (lambda d: d["counts"].update(colour="red"), "not a whole fit"),
    "other-means": (lambda d: d["optima"][0].update(means=[1.0, 2.0]), "claims log_likelihood"),
    "weights": (lambda d: d["optima"][0].update(weights=[0.9, 0.9]), "sum to 1"),
    "status": (lambda d: d["optima"][0].update(statuses=["fine"]), "fine"),
    "density": (lambda d: d["optima"][0].update(log_density=1e6), "claims log_density"),
    "path": (lambda d: d["optima"][0].update(density_path=[]), "not a whole fit"),
    "long-path": (lambda d: d["optima"][0]["density_path"].insert(0, -999.0), "different lengths"),
    "times": (lambda d: d["optima"][0].update(times_reached=-5), "times_reached is -5"),
    "many-times": (lambda d: d["optima"][0].update(times_reached="7"), "times_reached is '7'"),
    "family": (lambda d: d["optima"][0].update(family={"a": 1}), "not a name"),
    "complete": (lambda d: d.update(complete="no"), "not true or false"),
    "priors": (lambda d: d.update(spec={"n_components": 2}), "a fit by EM has none"),
    "equal-map": (lambda d: d.update(method="map", mixing="equal"), "is not known"),
    "nan": (lambda d: d["optima"][0].update(log_density=float("nan")), "no number of JSON"),
    "squashing": (lambda d: d.update(squashing={"width": 1}), "'n_rows' is missing"),
    "text": (lambda d: d.update(optima="a lot"), "not a whole fit"),
}


@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_says_what_is_wrong(fits, tmp_path, change, message):
    path = tmp_path / "fit.json"
    damage(fits["em"], path, change)
    with pytest.raises(ValueError, match=message):
        nb.PointFit.read(path)


def test_files_that_are_no_fits(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        nb.PointFit.read(tmp_path / "absent.json")
    with pytest.raises(ValueError, match="cannot be read"):
        nb.PointFit.read(tmp_path)
    for text in ("", "{", "[" * 100_000, "\x00\xff", '{"format": NaN}', "[1, 2]"):
        (tmp_path / "bad.json").write_text(text, encoding="latin-1")
        with pytest.raises(ValueError, match=r"not JSON|no pmnbmix point fit"):
            nb.PointFit.read(tmp_path / "bad.json")
