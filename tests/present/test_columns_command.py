import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pmnbmix as nb
from tests.batch.columns_data import faulty, simulate
from tests.present.test_cli import call


@pytest.fixture(scope="module")
def counts():
    return simulate(24, 250, 41, exposed=True)


@pytest.fixture
def folder(counts, tmp_path, monkeypatch):
    matrix, exposure = counts
    frame = pd.DataFrame(matrix, columns=[f"g{j}" for j in range(24)]).assign(size=exposure)
    frame.to_csv(tmp_path / "cells.csv", index=False)
    (tmp_path / "cells.csv.gz").write_bytes(
        gzip.compress(frame.rename_axis("cell").rename("c{}".format).to_csv().encode())
    )
    sparse.save_npz(tmp_path / "cells.npz", sparse.csr_array(matrix))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(counts):
    matrix, exposure = counts
    return nb.fit_columns(matrix, exposure=exposure, progressbar=False)


def h5ad(counts, folder):
    ad = pytest.importorskip("anndata", reason="anndata is not installed")
    matrix, exposure = counts
    obs = pd.DataFrame({"size": exposure}, index=[f"c{i}" for i in range(250)])
    var = pd.DataFrame(index=[f"g{j}" for j in range(24)])
    adata = ad.AnnData(sparse.csr_matrix(matrix.astype(np.float32)), obs=obs, var=var)
    adata.write_h5ad(folder / "cells.h5ad")
    adata.write_zarr(folder / "cells.zarr")


@pytest.mark.parametrize("file", ["cells.csv", "cells.csv.gz", "cells.h5ad", "cells.zarr"])
def test_every_kind_of_file_gives_the_fits_of_its_matrix(file, folder, counts, expected):
    if file.endswith(("h5ad", "zarr")):
        h5ad(counts, folder)
    result = call("columns", file, "--exposure", "size")
    assert result.exit_code == 0, result.output
    assert "24 columns of 250 observations" in result.output
    read = nb.ColumnFits.read(folder / "cells-columns.zarr")
    np.testing.assert_allclose(read.log_likelihood, expected.log_likelihood, rtol=1e-12)
    assert read.column.to_numpy().tolist() == [f"g{j}" for j in range(24)]


def test_a_sparse_file_has_no_exposures_but_is_fitted(folder, counts):
    result = call("columns", "cells.npz", "--json")
    assert json.loads(result.output)["columns"] == 24
    refused = call("columns", "cells.npz", "--exposure", "size", "--out", "other.zarr")
    assert refused.exit_code == 2
    assert "no column 'size'" in refused.output


def test_a_table_is_written_where_its_name_ends_in_csv(folder, expected):
    assert call("columns", "cells.csv", "--exposure", "size", "--out", "fits.csv").exit_code == 0
    # as text first, for the parser of pandas 2 loses digits
    table = pd.read_csv("fits.csv", index_col="column", dtype=str)
    np.testing.assert_allclose(table["means[1]"].astype(float), expected.means[:, 1], rtol=1e-12)
    again = call("columns", "cells.csv", "--exposure", "size", "--out", "fits.csv")
    assert again.exit_code == 2
    assert "fits.csv exists" in again.output
    forced = call("columns", "cells.csv", "--exposure", "size", "--out", "fits.csv", "--force")
    assert forced.exit_code == 0


def test_the_same_command_goes_on_and_another_one_is_refused(folder):
    assert call("columns", "cells.csv", "--out", "fits.zarr").exit_code == 0
    assert call("columns", "cells.csv", "--out", "fits.zarr").exit_code == 0
    other = call("columns", "cells.csv", "--out", "fits.zarr", "--components", "bic")
    assert other.exit_code == 2
    assert "candidates" in other.output
    replaced = call(
        "columns", "cells.csv", "--out", "fits.zarr", "--components", "bic", "--force", "--json"
    )
    assert sum(json.loads(replaced.output)["n_components"].values()) == 25


def test_force_removes_nothing_but_fits(folder):
    (folder / "mine.zarr").mkdir()
    (folder / "mine.zarr" / "notes").write_text("mine")
    refused = call("columns", "cells.csv", "--out", "mine.zarr", "--force")
    assert refused.exit_code == 2
    assert (folder / "mine.zarr" / "notes").read_text() == "mine"


def test_columns_that_are_no_counts_are_counted(folder):
    pd.DataFrame(faulty()).to_csv("faulty.csv", index=False)
    result = call("columns", "faulty.csv", "--json")
    assert result.exit_code == 0
    status = json.loads(result.output)["status"]
    assert status["negative"] == status["fractional"] == status["missing"] == 1


BAD = {
    "missing": (["none.h5ad"], "there is no such file"),
    "kind": (["cells.txt"], "files of this kind cannot be read"),
    "damaged": (["broken.h5ad"], "cannot be read as .h5ad"),
    "damaged archive": (["broken.npz"], "cannot be read as .npz"),
    "components": (["cells.csv", "--components", "two"], "got 'two'"),
    "exposure": (["cells.csv", "--exposure", "depth"], "there is no column 'depth'"),
    "out": (["cells.csv", "--out", "fits.txt"], "must end in .zarr or .csv"),
    "folder": (["cells.csv", "--out", "no/fits.csv"], "there is no such folder"),
    "text": (["text.csv"], "column 'b' must hold numbers; data row 1 has 'x'"),
    "objects": (["objects.npz"], "cannot be read as .npz"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case, folder):
    arguments, text = BAD[case]
    (folder / "cells.txt").write_text("1")
    (folder / "broken.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    (folder / "broken.npz").write_bytes(b"PK")
    (folder / "text.csv").write_text("a,b\n1,x\n2,y\n")
    np.savez(folder / "objects.npz", data=np.array([{}]), allow_pickle=True)
    if case == "damaged":
        pytest.importorskip("anndata", reason="anndata is not installed")
    result = call("columns", *arguments)
    assert result.exit_code == 2, result.output
    assert text in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_without_anndata_it_says_what_to_install(folder):
    (folder / "cells.h5ad").write_bytes(b"")
    code = (
        "import sys\n"
        "sys.modules['anndata'] = None\n"
        "from pmnbmix.present.cli import main\n"
        "main(['columns', 'cells.h5ad'])\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert 'pip install "pmnbmix[anndata]"' in done.stderr
