"""CIFTI series: shapes, meshes, faults, and maps."""

import cifti_derivatives as cifti
import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids.cifti import find_meshes, load_series, read_models, save_maps
from bids_decoder.bids.images import read_header
from bids_decoder.bids.map_files import read_layout, save_beside
from bids_decoder.errors import InputError

MODELS = cifti.brain_models()
N = len(MODELS)


@pytest.fixture
def series(tmp_path):
    path = tmp_path / f"sub-01/func/sub-01_task-see_{cifti.STEM}_bold.dtseries.nii"
    cifti.save_dtseries(path, np.arange(5 * N).reshape(5, N), t_r=1.5)
    return path


def test_series_are_rows_of_grayordinates(series):
    header = read_header(series)
    assert header.shape == (N, 1, 1, 5) and header.t_r == 1.5
    values = load_series(series).get_fdata()
    np.testing.assert_array_equal(values[:, 0, 0, 2], np.arange(2 * N, 3 * N))
    assert read_models(series) == MODELS


def test_faults_of_series_are_named(series, tmp_path):
    content = series.read_bytes()
    series.write_bytes(content[:-40])
    with pytest.raises(InputError, match="truncated"):
        load_series(series)
    series.write_bytes(content[:300])
    with pytest.raises(InputError, match="not readable as CIFTI"):
        read_header(series)
    labels = nib.cifti2.ScalarAxis(["one"])
    series.write_bytes(nib.Cifti2Image(np.zeros((1, N), np.float32), (labels, MODELS)).to_bytes())
    with pytest.raises(InputError, match="Scalar × BrainModel: no series"):
        read_header(series)


def test_meshes_are_those_with_as_many_vertices(series, tmp_path, monkeypatch):
    monkeypatch.setattr("templateflow.conf.TF_HOME", tmp_path / "templates")
    assert find_meshes(tmp_path, series) == ()
    template = tmp_path / "templates" / "tpl-fsLR"
    for side in "LR":
        name = f"tpl-fsLR_den-{{}}_hemi-{side}_midthickness.surf.gii"
        cifti.save_surface(template / name.format("32k"), cifti.POINTS, cifti.TRIANGLES)
        cifti.save_surface(template / name.format("2k"), cifti.POINTS[:40], cifti.TRIANGLES[:1])
    assert [path.parent.name for path in find_meshes(tmp_path, series)] == ["tpl-fsLR"] * 2
    cifti.save_midthickness(tmp_path)
    own = find_meshes(tmp_path, series)
    assert [path.name[:13] for path in own] == ["sub-01_hemi-L", "sub-01_hemi-R"]


def test_maps_keep_rows_and_names_of_labels(series, tmp_path):
    layout = read_layout(series, [])
    path = tmp_path / "sub-01_space-fsLR_den-91k_stat-x_statmap.nii.gz"
    values = np.random.default_rng(0).normal(size=(N, 1, 1, 2))
    (written,) = save_beside(layout, path, values, {"Labels": ["face", "house"]})
    image = nib.load(written)
    assert image.header.get_axis(0).name.tolist() == ["face", "house"]
    assert image.nifti_header["intent_code"] == 3006  # dense scalars
    assert image.header.get_axis(1) == MODELS and layout.mesh is None
    np.testing.assert_allclose(image.get_fdata(), values[:, 0, 0].T, rtol=1e-6)
    (again,) = save_maps(path, values[..., 0], MODELS, {"Labels": 8})
    assert nib.load(again).header.get_axis(0).name.tolist() == ["map 1"]
