"""Which component each row belongs to: in the order of the file, with identifiers if asked."""

import io

import numpy as np
import pandas as pd
import pytest

import pmnbmix as nb
from pmnbmix.mixture.draws import Draws
from pmnbmix.present.assignments import assignments, turning_points
from pmnbmix.present.cli.kept import read_kept
from pmnbmix.present.cli.source import Source
from pmnbmix.study import Fitted
from pmnbmix.tree.writing import assemble

LAW = nb.MixtureParams([0.7, 0.3], [2.0, 40.0], [0.2, 0.1])


def fitted_to(counts):
    """A posterior whose every draw is the law itself."""
    rng = np.random.default_rng(0)
    arrays = [
        np.tile(array, (4, 100, 1)) * rng.uniform(0.999999, 1.000001, (4, 100, 1))
        for array in (LAW.means, LAW.dispersions)
    ]
    tree = assemble(counts, Draws(np.tile(LAW.weights, (4, 100, 1)), *arrays), {})
    em = nb.fit_em(counts, 2, random_seed=1)
    diagnosis = nb.diagnose(tree)
    assert diagnosis.components_ok
    return Fitted(em, em, tree, diagnosis, None, None)


def test_probabilities_are_those_of_each_row_in_its_order():
    rng = np.random.default_rng(1)
    exposure = rng.lognormal(0.0, 0.3, 60)
    counts = nb.Counts(LAW.sample(60, rng, exposure)[0], exposure, name="molecules")
    table = pd.read_csv(io.BytesIO(assignments(fitted_to(counts))))
    assert list(table) == ["molecules", "exposure", "p_component_0", "p_component_1", "component"]
    np.testing.assert_array_equal(table["molecules"], counts.values)
    exact = LAW.responsibilities(counts.values, exposure)
    np.testing.assert_allclose(table[["p_component_0", "p_component_1"]], exact, atol=1e-4)
    np.testing.assert_array_equal(table["component"], exact.argmax(axis=1))


def test_rows_that_were_never_seen_are_empty():
    counts = nb.Counts([0, 3, 50, 2], frequency=[9, 0, 4, 5])
    table = pd.read_csv(io.BytesIO(assignments(fitted_to(counts))))
    assert table["component"].isna().tolist() == [False, True, False, False]
    assert table["frequency"].tolist() == [9, 0, 4, 5]


def test_it_is_said_from_which_count_on_the_next_component_is_more_likely():
    counts = nb.Counts(LAW.sample(300, random_seed=2)[0])
    held = LAW.responsibilities(np.arange(60))
    start = int(np.argmax(held[:, 1] > held[:, 0]))
    said = turning_points(fitted_to(counts))
    assert said == f"From a count of {start} on, component 1 is more likely than 0."


def test_kept_columns_stand_in_the_table(tmp_path):
    file = tmp_path / "cells.csv"
    file.write_text("barcode,count\nAC,0\nGT,3\nTT,41\n")
    counts = nb.read_counts(file, "count")
    kept = read_kept(Source(file, None, "count"), "barcode", counts)
    table = pd.read_csv(io.BytesIO(assignments(fitted_to(counts), kept)))
    assert table["barcode"].tolist() == ["AC", "GT", "TT"]
    assert next(iter(table)) == "barcode"


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("barcod", "barcod"),
        ("count", "has a column of that name anyway"),
        ("p_component_0", "has a column of that name anyway"),
    ],
)
def test_a_column_that_cannot_be_kept_is_said_so(tmp_path, keep, words):
    file = tmp_path / "cells.csv"
    file.write_text("barcode,count\nAC,0\nTT,41\n")
    counts = nb.read_counts(file, "count")
    with pytest.raises(ValueError, match=words):
        read_kept(Source(file, None, "count"), keep, counts)
    with pytest.raises(ValueError, match="needs a csv"):
        read_kept(Source(dataset="crab_satellites"), keep, counts)
    file.write_text("barcode,count\nAC,0\n")
    with pytest.raises(ValueError, match="the column has 1 rows, and 2 were read as counts"):
        read_kept(Source(file, None, "count"), "barcode", counts)
