"""Outputs of encoders: their maps on surfaces."""

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.analyses.encode.outputs import EncodingOutputs
from bids_decoder.bids.writer import save_nifti
from bids_decoder.files import read_json
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.interfaces.response_grids import MASK, MESH
from bids_decoder.models.store import Model

N, N_LEFT = 6, 2
VOXELS = np.array([0, 1, 2, 4])


def write_maps(tmp_path, *, on_surface):
    folder = tmp_path / "responses"
    save_nifti(folder / MASK, np.ones((N, 1, 1), dtype=np.uint8), np.eye(4))
    if on_surface:
        np.savez(folder / MESH, points=np.eye(N, 3), triangles=[[0, 1, 0], [2, 3, 4]],
                 n_left=N_LEFT)
    values = np.arange(1.0, 5.0, dtype=np.float32)
    model = Model({"voxels": VOXELS, "calibration.sd": values}, {})
    outputs = PersonOutputs(tmp_path / "out", {"sub": "01", "space": "fsnative"}, {})
    EncodingOutputs(
        outputs, folder, {"ridge": model}, {"correlation": values / 10, "selected": values > 1},
    ).write_maps()
    assert len(set(outputs.written)) == len(outputs.written)
    assert all(path.is_file() for path in outputs.written)
    return outputs.written


def test_maps_of_vertices_are_written_for_each_hemisphere(tmp_path):
    written = write_maps(tmp_path, on_surface=True)
    sides = {side: next(path for path in written if f"hemi-{side}" in path.name
                        and "stat-correlation" in path.name and path.suffix == ".gii")
             for side in "LR"}
    found = [nib.load(path).darrays[0].data for path in sides.values()]
    assert [len(part) for part in found] == [N_LEFT, N - N_LEFT]
    np.testing.assert_allclose(np.concatenate(found), [0.1, 0.2, 0.3, 0, 0.4, 0], rtol=1e-6)
    card = read_json(sides["L"].with_name(sides["L"].name.replace(".func.gii", ".json")))
    assert card["encoder"] == "ridge" and card["Space"] == "fsnative"
    assert sum("midthickness" in path.name for path in written) == 2
    assert sum(path.name.endswith("encoder_mask.func.gii") for path in written) == 2
    predicted = [nib.load(path).darrays[0].data for path in written
                 if path.name.endswith("encoded_mask.func.gii")]
    assert np.concatenate(predicted).tolist() == [1, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("on_surface", [True, False])
def test_only_vertices_have_hemispheres(tmp_path, on_surface):
    written = write_maps(tmp_path, on_surface=on_surface)
    assert any("hemi-" in path.name for path in written) == on_surface
