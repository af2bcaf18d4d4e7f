import logging

import numpy as np
import pandas as pd
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
    "spec": (
        TypeError,
        {"spec": "2"},
        "spec must be a MixtureSpec, or a number of components .*; got '2'",
    ),
    "method": (ValueError, {"method": "vi"}, '"auto", "laplace" or "nuts"; got'),
    "few draws": (ValueError, {"draws": 10}, "draws must be a whole number of 100 or above"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case, matrix):
    error, change, text = BAD[case]
    with pytest.raises(error, match=text):
        nb.sample_columns(matrix, **{"columns": [0], **change})


# one component and few counts: what is kept, and for whom, costs nothing to sample
ONE = nb.MixtureSpec(1)
SMALL = {"draws": 100, "random_seed": 1, "progressbar": False}


@pytest.fixture(scope="module")
def small():
    return np.random.default_rng(3).negative_binomial(3, 0.3, (80, 2))


@pytest.fixture(scope="module")
def exposures():
    return np.random.default_rng(4).choice([0.5, 1.0, 2.0], 80)


@pytest.fixture
def folder(small, exposures, tmp_path):
    """Folder with the posterior of the first column."""
    nb.sample_columns(small, [0], ONE, exposures, out=tmp_path / "kept", **SMALL)
    return tmp_path / "kept"


def interrupted_at_the_end(monkeypatch):
    """Interrupt `sample` when its chains have their draws, and tell of which columns it was."""
    begun = []

    def interrupt(done, total):
        if done == total:
            raise KeyboardInterrupt

    def sample(counts, *arguments, **options):
        begun.append(counts)
        return nb.sample(counts, *arguments, on_draw=interrupt, **options)

    monkeypatch.setattr(posterior_columns, "sample", sample)
    return begun


def test_an_interrupted_posterior_ends_the_work_and_is_not_saved(
    small, tmp_path, monkeypatch, caplog
):
    options = {"method": "nuts", "out": tmp_path, **SMALL}
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        begun = interrupted_at_the_end(patched)
        found = nb.sample_columns(small, [0, 1], ONE, **options)
    assert len(begun) == 1
    assert found.column.to_numpy().tolist() == [0]
    assert found.reason.item().startswith("interrupted")
    assert found.method.item() == ""
    assert np.isnan(found.means).all()
    assert "keeping the 0 columns" in caplog.text
    assert list(tmp_path.iterdir()) == []
    again = nb.sample_columns(small, [0], ONE, **options)
    assert again.reason.item() == ""
    assert nb.load(tmp_path / "column-00000.nc").attrs["interrupted"] == 0


def test_finished_columns_are_returned_with_the_interrupted_one(small, folder, monkeypatch):
    nb.sample_columns(small, [0], ONE, method="nuts", out=folder / "nuts", **SMALL)
    interrupted_at_the_end(monkeypatch)
    found = nb.sample_columns(small, [0, 1], ONE, method="nuts", out=folder / "nuts", **SMALL)
    assert found.method.to_numpy().tolist() == ["nuts", ""]
    assert np.isfinite(found.means[0]).all()
    assert found.reason[0].item() == ""
    assert found.reason[1].item().startswith("interrupted")
    assert len(list((folder / "nuts").iterdir())) == 1


@pytest.mark.parametrize("mark", ["interrupted", "repetition_interrupted"])
def test_an_interrupted_posterior_that_was_saved_is_sampled_again(small, exposures, folder, mark):
    file = folder / "column-00000.nc"
    tree = nb.load(file)
    tree.attrs[mark] = 1
    short = tree.isel(draw=slice(0, 40))
    short.attrs.update(tree.attrs)
    nb.save(short, file)
    found = nb.sample_columns(small, [0], ONE, exposures, out=folder, **SMALL)
    assert found.reason.item() == ""
    again = nb.load(file)
    assert again["posterior"].sizes["draw"] == 100
    assert not again.attrs.get(mark)


def test_exposures_in_another_order_are_other_counts(small, exposures, folder):
    # the sums and numbers of rows may all be the same
    with pytest.raises(ValueError, match=r"column-00000\.nc is the posterior of other counts"):
        nb.sample_columns(small, [0], ONE, exposures[::-1].copy(), out=folder, **SMALL)
    values = small[:, 0].copy()
    values[[0, 1]] += [1, -1] if values[1] else [-1, 1]
    with pytest.raises(ValueError, match=r"count \d+ at exposure .* comes"):
        nb.sample_columns(values[:, None], [0], ONE, exposures, out=folder, **SMALL)


def test_rows_in_another_order_are_other_counts(small, exposures, folder):
    with pytest.raises(ValueError, match="the rows are in another order"):
        nb.sample_columns(small[::-1], [0], ONE, exposures[::-1].copy(), out=folder, **SMALL)


def test_other_priors_are_refused(small, exposures, folder):
    spec = nb.MixtureSpec(1, log_dispersions=nb.NormalPrior(0.0, 1.0))
    with pytest.raises(ValueError, match="the priors differ"):
        nb.sample_columns(small, [0], spec, exposures, out=folder, **SMALL)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"draws": 101}, "holds 4 chains of 100 draws, but 4 of draws=101 are asked for. Name"),
        ({"method": "nuts"}, "made by 'laplace' for method='auto', but method='nuts' is asked"),
        ({"method": "laplace"}, "for method='auto', but method='laplace' is asked for. Name"),
    ],
)
def test_posteriors_of_other_settings_are_refused(small, exposures, folder, change, text):
    with pytest.raises(ValueError, match=text):
        nb.sample_columns(small, [0], ONE, exposures, out=folder, **SMALL | change)


def test_posteriors_that_do_not_say_what_was_asked_for_go_by_what_they_are(
    small, exposures, folder
):
    """As earlier releases saved them."""
    tree = nb.load(folder / "column-00000.nc")
    del tree.attrs["method_asked"]
    nb.save(tree, folder / "column-00000.nc")
    for method in ("auto", "laplace"):
        options = {"method": method, "out": folder, **SMALL}
        assert nb.sample_columns(small, [0], ONE, exposures, **options).reason.item() == ""
    with pytest.raises(ValueError, match=r"made by 'laplace' .* but method='nuts' is asked"):
        nb.sample_columns(small, [0], ONE, exposures, method="nuts", out=folder, **SMALL)


def test_a_point_fit_in_the_place_of_a_posterior_is_refused(small, exposures, folder):
    fit = nb.fit_em(nb.Counts(small[:, 0], exposures), 1)
    nb.save(fit.to_datatree(), folder / "column-00000.nc")
    with pytest.raises(ValueError, match=r"column-00000\.nc: this is no posterior of"):
        nb.sample_columns(small, [0], ONE, exposures, out=folder, **SMALL)


def test_a_name_of_two_columns_is_refused(small):
    frame = pd.DataFrame(small, columns=["g", "g"])
    with pytest.raises(ValueError, match="2 columns of the matrix are called 'g'"):
        nb.sample_columns(frame, ["g"], ONE, **SMALL)


def test_a_file_in_the_place_of_the_folder_is_refused(small, tmp_path):
    (tmp_path / "file").write_text("years of work")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=f"{out}: .*Name a folder"):
            nb.sample_columns(small, [0], ONE, out=out, **SMALL)
    with pytest.raises(TypeError, match="out must be the name of a folder; got 7"):
        nb.sample_columns(small, [0], ONE, out=7, **SMALL)
    assert (tmp_path / "file").read_text() == "years of work"


def test_a_refused_seed_makes_no_folder(small, tmp_path):
    with pytest.raises(ValueError, match="random_seed must be 0 or above"):
        nb.sample_columns(small, [0], ONE, out=tmp_path / "none", **SMALL | {"random_seed": -1})
    assert not (tmp_path / "none").exists()
