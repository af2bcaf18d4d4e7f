import logging

import numpy as np
import pytest

import pmnbmix as nb
from pmnbmix.posterior import columns as posterior_columns

# dispersions well away from 0, where the posterior is far from a normal
CLEAR = nb.MixtureParams([0.6, 0.4], [2.0, 40.0], [0.4, 0.15])
DRAWS = {"draws": 1000, "random_seed": 4, "progressbar": False}


@pytest.fixture(scope="module")
def matrix():
    """Two clear columns, one that asks for one component only, one that holds no counts."""
    rng = np.random.default_rng(8)
    clear = [CLEAR.sample(900, random_seed=rng)[0] for _ in range(2)]
    return np.column_stack([*clear, rng.poisson(3.0, 900), np.full(900, -1)])


@pytest.fixture(scope="module")
def posteriors(matrix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    return nb.sample_columns(matrix, [0, 1, 2, 3], out=folder, **DRAWS), folder


def test_nuts_runs_where_importance_sampling_cannot_be_trusted(posteriors):
    found, _ = posteriors
    assert found.method.to_numpy().tolist() == ["laplace", "laplace", "nuts", ""]
    assert (found.k_hat.to_numpy()[:2] < 0.7).all()
    assert not found.k_hat.to_numpy()[2] < 0.7
    assert "-1" in found.reason[3].item()
    assert np.isnan(found.means[3]).all()


def test_clear_columns_pass_both_gates_and_hold_the_truth(posteriors):
    found, _ = posteriors
    assert found.density_ok[:2].all()
    assert found.components_ok[:2].all()
    for name in ("weights", "means", "dispersions"):
        z = (found[name][:2] - getattr(CLEAR, name)) / found[f"{name}_sd"][:2]
        assert np.abs(z).max() < 4
        assert (found[f"{name}_lower"][:2] < found[name][:2]).all()
        assert (found[name][:2] < found[f"{name}_upper"][:2]).all()


def test_importance_sampling_and_nuts_agree_in_monte_carlo_standard_errors(matrix, posteriors):
    found, _ = posteriors
    nuts = nb.sample_columns(matrix, [0], method="nuts", **DRAWS)
    for name in ("weights", "means", "dispersions"):
        # 4,000 independent draws against at least 400 effective ones
        error = np.sqrt(nuts[f"{name}_sd"][0] ** 2 * (1 / 4000 + 1 / 400))
        assert (np.abs(nuts[name][0] - found[name][0]) < 4 * error).all()


def test_a_column_s_draws_do_not_depend_on_the_others(matrix, posteriors):
    found, _ = posteriors
    alone = nb.sample_columns(matrix, [1], **DRAWS)
    np.testing.assert_array_equal(alone.means[0], found.means[1])


def test_laplace_alone_says_why_it_refuses(matrix):
    found = nb.sample_columns(matrix, [2], method="laplace", **DRAWS)
    assert found.method.item() == ""
    assert "Use sample()" in found.reason.item()


def test_trees_are_kept_and_not_sampled_again(matrix, posteriors, monkeypatch):
    found, folder = posteriors
    assert sorted(file.name for file in folder.iterdir()) == [
        "column-00000.nc",
        "column-00001.nc",
        "column-00002.nc",
    ]
    monkeypatch.setattr(posterior_columns, "_sampled", None)
    again = nb.sample_columns(matrix, [0, 1, 2], out=folder, **DRAWS)
    for name in ("means", "weights_sd", "method", "k_hat", "findings"):
        if again[name].dtype.kind == "f":
            np.testing.assert_allclose(again[name], found[name][:3], rtol=1e-12)
        else:
            np.testing.assert_array_equal(again[name], found[name][:3])


def test_trees_of_other_counts_are_not_taken_for_these(matrix, posteriors):
    _, folder = posteriors
    changed = matrix + (np.arange(4) == 1)
    with pytest.raises(ValueError, match="other counts or priors"):
        nb.sample_columns(changed, [1], out=folder, **DRAWS)


def test_interrupted_work_keeps_the_columns_that_are_done(matrix, posteriors, monkeypatch, caplog):
    sampling = posterior_columns._row

    def interrupt(source, position, *rest):
        if position == 1:
            raise KeyboardInterrupt
        return sampling(source, position, *rest)

    monkeypatch.setattr(posterior_columns, "_row", interrupt)
    with caplog.at_level(logging.WARNING):
        found = nb.sample_columns(matrix, [0, 1], out=posteriors[1], **DRAWS)
    assert found.column.to_numpy().tolist() == [0]
    assert "keeping the 1 columns" in caplog.text
    with pytest.raises(KeyboardInterrupt):
        nb.sample_columns(matrix, [1], **DRAWS)


BAD = {
    "unknown column": (ValueError, {"columns": [9]}, "no column 9 among the 4"),
    "one name": (TypeError, {"columns": "gene"}, "must be a list of names"),
    "no columns": (ValueError, {"columns": []}, "columns is empty"),
    "spec": (TypeError, {"spec": 2}, "spec must be a MixtureSpec; got 2"),
    "method": (ValueError, {"method": "vi"}, "auto, laplace, nuts; got 'vi'"),
    "few draws": (ValueError, {"draws": 10}, "draws must be 100 or above"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case, matrix):
    error, change, text = BAD[case]
    with pytest.raises(error, match=text):
        nb.sample_columns(matrix, **{"columns": [0], **change})
