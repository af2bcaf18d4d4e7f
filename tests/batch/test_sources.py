import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import sparse

import pmnbmix as nb
from pmnbmix.batch import disk, sources
from tests.batch.columns_data import FAULTY, faulty, simulate

NAMES = [f"gene{j}" for j in range(40)]


def fit(*args, **kwargs):
    return nb.fit_columns(*args, progressbar=False, **kwargs)


@pytest.fixture(scope="module")
def matrix():
    return simulate(40, 300, 11)[0]


@pytest.fixture(scope="module")
def expected(matrix):
    return fit(matrix)


def anndata_of(matrix, names=NAMES, **kwargs):
    ad = pytest.importorskip("anndata", reason="anndata is not installed")
    frame = pd.DataFrame(index=[str(name) for name in names])
    obs = pd.DataFrame(
        {"n_counts": np.linspace(0.5, 2, matrix.shape[0])},
        index=[f"cell{i}" for i in range(matrix.shape[0])],
    )
    return ad.AnnData(matrix, obs=obs, var=frame, **kwargs)


def backed(matrix, folder, names=NAMES):
    ad = pytest.importorskip("anndata", reason="anndata is not installed")
    anndata_of(matrix, names).write_h5ad(folder / "matrix.h5ad")
    return ad.read_h5ad(folder / "matrix.h5ad", backed="r")


def zarr_array(matrix, folder):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    array = zarr.create_array(
        str(folder / "m.zarr"), shape=matrix.shape, dtype=matrix.dtype, chunks=(60, 7)
    )
    array[:] = matrix
    return array


def h5_array(matrix, folder):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    return h5py.File(folder / "m.h5", "w").create_dataset("m", data=matrix)


def dask_array(matrix, chunks=(100, 9)):
    da = pytest.importorskip("dask.array", reason="dask is not installed")
    return da.from_array(matrix, chunks=chunks)


CONTAINERS = {
    "list": lambda m, _: m.tolist(),
    "int32": lambda m, _: m.astype(np.int32),
    "float": lambda m, _: m.astype(np.float64),
    "fortran": lambda m, _: np.asfortranarray(m),
    "readonly view": lambda m, _: np.broadcast_to(m, (1, *m.shape))[0],
    "csc": lambda m, _: sparse.csc_array(m),
    "csr": lambda m, _: sparse.csr_matrix(m),
    "coo": lambda m, _: sparse.coo_array(m),
    "frame": lambda m, _: pd.DataFrame(m, columns=NAMES[: m.shape[1]]),
    "nullable frame": lambda m, _: pd.DataFrame(m).astype("Float64"),
    "sparse frame": lambda m, _: pd.DataFrame.sparse.from_spmatrix(sparse.csc_array(m)),
    "xarray": lambda m, _: xr.DataArray(m, dims=("cell", "gene")),
    "xarray of dask": lambda m, _: xr.DataArray(dask_array(m), dims=("cell", "gene")),
    "anndata": lambda m, _: anndata_of(m, range(m.shape[1])),
    "anndata csr": lambda m, _: anndata_of(sparse.csr_array(m), range(m.shape[1])),
    "backed": lambda m, f: backed(m, f, range(m.shape[1])),
    "backed csr": lambda m, f: backed(sparse.csr_matrix(m), f, range(m.shape[1])),
    "backed csc": lambda m, f: backed(sparse.csc_matrix(m), f, range(m.shape[1])),
    "zarr": zarr_array,
    "h5py": h5_array,
    "dask": lambda m, _: dask_array(m),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_gives_the_same_bits(kind, matrix, expected, tmp_path):
    fits = fit(CONTAINERS[kind](matrix, tmp_path))
    for name in expected.data_vars:
        np.testing.assert_array_equal(fits[name], expected[name], err_msg=name)


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if kind not in ("int32",)])
def test_columns_that_are_no_counts_say_so_in_every_container(kind, tmp_path):
    dense = faulty()
    container = CONTAINERS[kind](dense, tmp_path)
    fits = fit(container)
    words = [word for _, _, word in FAULTY.values()]
    assert fits.status.to_numpy()[1:].tolist() == words[1:]
    rows = [row for row, _, _ in FAULTY.values()]
    for column in range(3, 8):
        assert f"Row {rows[column]} (from 0)" in fits.reason[column].item()


def test_masked_counts_are_missing(matrix):
    masked = np.ma.masked_array(matrix, mask=np.zeros(matrix.shape, dtype=bool))
    masked[4, 2] = np.ma.masked
    fits = fit(masked)
    assert np.flatnonzero(fits.status.to_numpy() == "missing").tolist() == [2]


def test_missing_numbers_of_a_nullable_frame_are_missing(matrix):
    frame = pd.DataFrame(matrix, columns=NAMES).astype("Int64")
    frame.iloc[3, 5] = pd.NA
    assert fit(frame).sel(column="gene5").status.item() == "missing"


def test_integers_that_no_float_holds_are_too_large(matrix):
    large = matrix.astype(np.int64)
    large[0, 1] = 2**53 + 1
    fits = fit(large)
    assert np.flatnonzero(fits.status.to_numpy() == "too-large").tolist() == [1]


def test_names_are_those_of_the_container(matrix):
    assert fit(pd.DataFrame(matrix, columns=NAMES)).column.to_numpy().tolist() == NAMES
    assert fit(anndata_of(matrix)).column.to_numpy().tolist() == NAMES
    named = xr.DataArray(matrix, dims=("cell", "gene"), coords={"gene": NAMES})
    assert fit(named).column.to_numpy().tolist() == NAMES


@pytest.mark.parametrize("budget", [1, 3_000, 50_000])
def test_rows_on_disk_are_gathered_in_as_many_passes_as_memory_asks(
    matrix, expected, tmp_path, monkeypatch, budget
):
    monkeypatch.setattr(sources, "BUDGET", budget)
    monkeypatch.setattr(disk, "_READ", 500)
    passes = 0
    parts = disk.RowsOnDisk._parts

    def counted(self):
        nonlocal passes
        passes += 1
        return parts(self)

    monkeypatch.setattr(disk.RowsOnDisk, "_parts", counted)
    fits = fit(backed(sparse.csr_matrix(matrix), tmp_path))
    np.testing.assert_array_equal(fits.log_likelihood, expected.log_likelihood)
    stored = 12 * np.count_nonzero(matrix)
    # one pass counts, the others gather
    assert passes - 1 >= min(stored / budget, 10)
    if budget > stored:
        assert passes == 2


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_a_sparse_group_of_a_file_is_opened(kind, matrix, expected, tmp_path):
    file = backed(getattr(sparse, f"{kind}_matrix")(matrix), tmp_path)
    group = file.file._file["X"]
    np.testing.assert_array_equal(fit(group).log_likelihood, expected.log_likelihood)


def test_a_chunked_array_is_read_by_whole_chunks(matrix, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BUDGET", 300 * 8 * 21)
    source = sources.open_source(zarr_array(matrix, tmp_path))
    read = []
    monkeypatch.setattr(
        sources.Slices, "_read", lambda self, a, b: read.append((a, b)) or self.data[:, a:b]
    )
    list(source.blocks([(a, a + 2) for a in range(0, 40, 2)]))
    assert all(b - a <= 22 for a, b in read)
    assert len(read) <= 3


def test_exposures_come_from_obs_and_counts_from_a_layer(matrix):
    adata = anndata_of(np.log1p(matrix), layers={"counts": sparse.csr_array(matrix)})
    exposure = adata.obs["n_counts"].to_numpy()
    fits = fit(adata, exposure="n_counts", layer="counts")
    other = fit(matrix, exposure=exposure)
    np.testing.assert_array_equal(fits.means, other.means)
    held = fits.responsibilities(adata, ["gene3"], "n_counts", layer="counts")
    np.testing.assert_allclose(held[:, 0], other.params(3).responsibilities(matrix[:, 3], exposure))


def test_columns_are_found_by_name_in_whatever_order(matrix):
    adata = anndata_of(matrix)
    fits = fit(adata)
    wanted = adata.var_names[[5, 2]]
    held = fits.responsibilities(adata, wanted)
    turned = anndata_of(matrix[:, ::-1], NAMES[::-1])
    np.testing.assert_array_equal(fits.responsibilities(turned, wanted), held)
    few = pd.DataFrame(matrix[:, [2, 5]], columns=["gene2", "gene5"])
    np.testing.assert_array_equal(fits.responsibilities(few, wanted), held)
    with pytest.raises(ValueError, match=r"no column 'gene7' among the 2 of the matrix"):
        fits.responsibilities(few, ["gene7"])
    with pytest.raises(ValueError, match=r"'gen2' among the 40 of the fits. Did you mean gene2"):
        fits.responsibilities(few, ["gen2"])
    with pytest.raises(ValueError, match="39 columns but 40 were fitted, and there are no names"):
        fits.responsibilities(matrix[:, 1:], ["gene3"])


def test_exposures_labelled_in_another_order_are_refused(matrix):
    frame = pd.DataFrame(matrix, columns=NAMES, index=[f"cell{i}" for i in range(300)])
    exposure = pd.Series(np.linspace(1, 2, 300), index=frame.index)
    fit(frame, exposure=exposure)
    with pytest.raises(ValueError, match="in another order"):
        fit(frame, exposure=exposure[::-1])


def test_fits_go_to_var_and_varm(matrix, expected):
    adata = anndata_of(matrix)
    fit(adata).to_anndata(adata)
    np.testing.assert_array_equal(adata.varm["nb_means"], expected.means)
    np.testing.assert_array_equal(adata.var["nb_bic"], expected.bic)
    assert adata.var["nb_status"].tolist() == expected.status.to_numpy().tolist()


def test_an_anndata_with_fits_can_be_written(matrix, tmp_path):
    adata = anndata_of(matrix)
    fit(adata).to_anndata(adata, key_added="mix")
    adata.write_h5ad(tmp_path / "with.h5ad")
    import anndata as ad

    back = ad.read_h5ad(tmp_path / "with.h5ad")
    np.testing.assert_array_equal(back.varm["mix_weights"], adata.varm["mix_weights"])


def test_fits_do_not_go_to_other_genes(matrix):
    adata = anndata_of(matrix)
    fits = fit(adata)
    with pytest.raises(ValueError, match="the same in the same order"):
        fits.to_anndata(adata[:, ::-1])
    with pytest.raises(TypeError, match="must be an AnnData; got int"):
        fits.to_anndata(3)


REFUSED = {
    "no such layer": (ValueError, lambda m: fit(anndata_of(m), layer="x"), "no layer 'x'.*none"),
    "no such obs": (ValueError, lambda m: fit(anndata_of(m), exposure="x"), "it has 'n_counts'"),
    "empty X": (ValueError, lambda m: fit(anndata_of(m)[:, :0]), "is empty"),
    "text": (TypeError, lambda m: fit(pd.DataFrame({"a": ["x", "y"]})), "column 'a' of the Data"),
    "true and false": (TypeError, lambda m: fit(pd.DataFrame({"a": [True]})), "holds bool"),
    "sparse booleans": (TypeError, lambda m: fit(sparse.csc_array(m > 0)), "its dtype is bool"),
    "dataset": (TypeError, lambda m: fit(xr.Dataset({"a": ("x", m[0])})), "got Dataset"),
    "dask of text": (TypeError, lambda m: fit(dask_array(m.astype(str))), "its dtype is <U"),
    "dask without a shape": (
        ValueError,
        lambda m: fit(dask_array(m)[dask_array(m[:, 0], 100) > 0]),
        "compute_chunk_sizes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_containers_without_counts_are_refused(case, matrix):
    error, call, text = REFUSED[case]
    with pytest.raises(error, match=text):
        call(matrix)
