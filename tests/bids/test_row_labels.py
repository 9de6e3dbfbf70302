"""Labels of vertices and grayordinates: files, names, and the rows they belong to."""

from pathlib import Path

import cifti_derivatives as cifti
import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids.cifti import load_series
from bids_decoder.bids.label_files import LabelFile
from bids_decoder.bids.row_labels import (
    NO_LABEL,
    check_surface,
    describe_row_file,
    labels_on,
    read_row_labels,
)
from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.grids.grayordinates import Grayordinates
from bids_decoder.grids.surface import Mesh
from bids_decoder.interfaces.regions import PlacedLabels, collect_regions
from bids_decoder.trials import VoxelGrid

MODELS, N = cifti.brain_models(), cifti.N_SIDE
MESH = Mesh(np.concatenate([cifti.POINTS] * 2),
            np.concatenate([cifti.TRIANGLES, cifti.TRIANGLES + N]), N)
NAMES = ["unknown", "front", "back"]
SIDE = np.where(cifti.POINTS[:, 1] > 0, 1, np.where(cifti.POINTS[:, 1] < -20, 2, 0))


def annotations(folder, names=NAMES, n=N):
    """Both hemispheres with the same labels; the right one calls the first region otherwise."""
    folder.mkdir(exist_ok=True)
    colours = np.array([[10 * k + 25, 5, 5, 0] for k in range(len(names))])
    for side in "lr":
        own = [name.replace("back", f"{side}back") for name in names]
        nib.freesurfer.write_annot(folder / f"{side}h.two.annot", SIDE[:n], colours, own,
                                   fill_ctab=True)
    return folder / "lh.two.annot"


def label_gifti(folder, values=SIDE, structures=None):
    table = nib.gifti.GiftiLabelTable()
    for key, name in enumerate(NAMES):
        label = nib.gifti.GiftiLabel(key, *np.random.default_rng(key).random(3), 1)
        label.label = name
        table.labels.append(label)
    for side in "LR":
        array = nib.gifti.GiftiDataArray(values.astype(np.int32), "NIFTI_INTENT_LABEL")
        image = nib.GiftiImage(darrays=[array], labeltable=table)
        if structures is not None:
            image.meta["AnatomicalStructurePrimary"] = structures[side]
        nib.save(image, folder / f"sub-01_hemi-{side}_space-x_atlas-two_dseg.label.gii")
    return folder / "sub-01_hemi-R_space-x_atlas-two_dseg.label.gii"


def dlabel(path, values, models, n_maps=1):
    table = {0: ("???", (0, 0, 0, 0)), 1: ("front", (1, 0, 0, 1)), 2: ("back", (0, 1, 0, 1))}
    axis = nib.cifti2.LabelAxis(["two"] * n_maps, [table] * n_maps)
    image = nib.Cifti2Image(np.tile(values, (n_maps, 1)).astype(np.float32), (axis, models))
    path.write_bytes(image.to_bytes())
    return path


def grid(layout, n, used=None):
    mask = np.ones(n, bool) if used is None else used
    return VoxelGrid(mask[:, None, None], np.eye(4), layout)


def regions(path, where):
    found = collect_regions([PlacedLabels(describe_row_file(path))], where)
    return {region.name: region.voxels for region in found}


@pytest.mark.parametrize("layout", [MESH, None])
def test_annotations_are_on_their_vertices(tmp_path, layout):
    found = regions(annotations(tmp_path), grid(layout, 2 * N))
    assert list(found) == ["lh_front", "lback", "rh_front", "rback"]
    np.testing.assert_array_equal(found["lh_front"], np.flatnonzero(SIDE == 1))
    np.testing.assert_array_equal(found["rback"], N + np.flatnonzero(SIDE == 2))
    used = np.arange(2 * N) % 3 > 0
    masked = regions(tmp_path / "rh.two.annot", grid(layout, 2 * N, used))
    number = np.cumsum(used) - 1
    wanted = [k for k in found["rh_front"] if used[k]]
    np.testing.assert_array_equal(masked["rh_front"], number[wanted])


def test_gifti_labels_are_joined_from_either_hemisphere(tmp_path):
    file = describe_row_file(label_gifti(tmp_path))
    assert "hemi-L" in file.path.name and "hemi-R" in file.right.name
    assert file.atlas == "sub-01_space-x_atlas-two_dseg"
    found = regions(file.right, grid(MESH, 2 * N))
    assert list(found) == ["lh_front", "lh_back", "rh_front", "rh_back"]
    np.testing.assert_array_equal(found["rh_back"], N + np.flatnonzero(SIDE == 2))


def test_labels_of_hemispheres_are_found_on_grayordinates(tmp_path):
    found = regions(annotations(tmp_path), grid(Grayordinates(MODELS), len(MODELS)))
    right = MODELS.name == "CIFTI_STRUCTURE_CORTEX_RIGHT"
    wanted = np.flatnonzero(right & (SIDE[np.maximum(MODELS.vertex, 0)] == 1))
    np.testing.assert_array_equal(found["rh_front"], wanted)
    assert not MODELS.volume_mask[np.concatenate(list(found.values()))].any()


def test_cifti_labels_are_found_whatever_their_rows(tmp_path):
    values = np.random.default_rng(0).integers(0, 3, len(MODELS))
    where = grid(Grayordinates(MODELS), len(MODELS))
    for name, order in (("same", slice(None)), ("other", slice(None, None, -1)),
                        ("cortex", np.flatnonzero(MODELS.surface_mask))):
        path = dlabel(tmp_path / f"{name}.dlabel.nii", values[order], MODELS[order])
        (found, names), = labels_on(read_row_labels(LabelFile(path, None, "x", None)), where)
        wanted = np.where(values == 0, NO_LABEL, values)
        if name == "cortex":
            wanted[MODELS.volume_mask] = NO_LABEL
        np.testing.assert_array_equal(found, wanted)
        assert names == {1: "front", 2: "back"}


def refused(path, where=None, match="", kind=InputError):
    with pytest.raises(kind, match=match):
        regions(path, grid(MESH, 2 * N) if where is None else where)


def test_labels_of_other_vertices_are_refused(tmp_path):
    few = annotations(tmp_path / "few", n=N - 5)
    refused(few, match=f"{N - 5} and {N - 5} vertices .* against {N} and {N}")
    refused(few, grid(None, 2 * N), match=f"against {2 * N} vertices")
    refused(few, grid(Grayordinates(MODELS), len(MODELS)), match=f"against {N} and {N}")
    path = dlabel(tmp_path / "x.dlabel.nii", np.ones(len(MODELS)), MODELS)
    refused(path, match="holds grayordinates, and the responses are vertices")
    models = nib.cifti2.BrainModelAxis
    other = models.from_surface(np.arange(5), N + 1, "CortexLeft")
    path = dlabel(tmp_path / "y.dlabel.nii", np.ones(5), other)
    refused(path, grid(Grayordinates(MODELS), len(MODELS)), match=f"{N + 1} vertices of CIFTI_STR")
    other = models.from_mask(np.ones((2, 2, 2)), "THALAMUS_LEFT", cifti.AFFINE)
    path = dlabel(tmp_path / "z.dlabel.nii", np.ones(8), other)
    refused(path, grid(Grayordinates(MODELS), len(MODELS)), match="on another grid")


@pytest.mark.parametrize("names", [
    ["ctx-lh-unknown", "???", "FreeSurfer_Defined_Medial_Wall"],
    ["Background+FreeSurfer_Defined_Medial_Wall", "MEDIAL.WALL", "L_???"],
    ["Unknown", "Medial_wall", "corpuscallosum"],
])
def test_medial_wall_and_unknown_vertices_are_no_region(tmp_path, names):
    refused(annotations(tmp_path, names=names), match="none of its vertices")


def test_vertices_without_annotation_have_no_label(tmp_path):
    path = annotations(tmp_path)
    values, table, names = nib.freesurfer.read_annot(path)
    nib.freesurfer.write_annot(path, np.where(values == 1, -1, values), table[:, :4],
                               names, fill_ctab=True)
    left, _ = read_row_labels(describe_row_file(path)).parts
    assert left[1] == {2: "lback"} and np.array_equal(left[0] != NO_LABEL, SIDE == 2)


def test_files_without_labels_are_refused(tmp_path):
    one = annotations(tmp_path / "one")
    (tmp_path / "one" / "rh.two.annot").write_bytes(b"text")
    refused(one, match="readable as labels")
    (tmp_path / "one" / "rh.two.annot").unlink()
    refused(one, match="no such file", kind=MissingInputError)
    refused(tmp_path / "aparc.annot", match="of which hemisphere")
    path = dlabel(tmp_path / "two.dlabel.nii", np.ones(len(MODELS)), MODELS, n_maps=2)
    refused(path, match="holds 2 maps of labels")
    path = dlabel(tmp_path / "half.dlabel.nii", np.full(len(MODELS), 0.5), MODELS)
    refused(path, match="not whole numbers")


def test_series_are_no_labels_and_labels_no_series(tmp_path):
    cifti.save_dtseries(tmp_path / "x.dtseries.nii", np.ones((3, len(MODELS))))
    series = (tmp_path / "x.dtseries.nii").rename(tmp_path / "x.dlabel.nii")
    refused(series, match="holds Series × BrainModel: no labels of grayordinates")
    path = dlabel(tmp_path / "x.dtseries.nii", np.ones(len(MODELS)), MODELS)
    with pytest.raises(InputError, match="holds Label × BrainModel: no series of grayordinates"):
        load_series(path)


def test_labels_of_the_other_hemisphere_are_refused(tmp_path):
    right = {"L": "CortexLeft", "R": "CortexRight"}
    assert regions(label_gifti(tmp_path, structures=right), grid(MESH, 2 * N))
    wrong = {"L": "CortexRight", "R": "CortexLeft"}
    refused(label_gifti(tmp_path, structures=wrong), match="of CortexRight by its Anatomical")


@pytest.mark.parametrize(("path", "space", "fits"), [
    ("fsaverage5/label/lh.aparc.annot", "fsaverage5", True),
    ("fsaverage/label/lh.aparc.annot", "fsLR", False),
    ("fsaverage/label/lh.aparc.annot", "fsnative", False),
    ("label/lh.aparc.annot", "fsLR", True),
    ("sub-01/label/lh.aparc.annot", "fsnative", True),
    ("tpl-fsaverage_hemi-L_den-164k_atlas-x_dseg.label.gii", "fsaverage", True),
    ("tpl-fsaverage_hemi-L_den-164k_atlas-x_dseg.label.gii", "fsLR", False),
    ("tpl-fsLR_den-91k_atlas-x_dseg.dlabel.nii", "fsLR", True),
    ("tpl-fsLR_den-91k_atlas-x_dseg.dlabel.nii", "", True),
    ("tpl-fsLR_den-91k_atlas-x_dseg.dlabel.nii", "fsaverage6", False),
])
def test_names_say_the_surface(path, space, fits):
    file = describe_row_file(Path("/atlases") / path)
    if fits:
        check_surface(file, space)
    else:
        with pytest.raises(InputError, match=f"the responses are on {space}"):
            check_surface(file, space)


def test_records_keep_both_hemispheres(tmp_path):
    one = PlacedLabels(describe_row_file(annotations(tmp_path)))
    assert PlacedLabels.from_record(one.record()) == one


def test_lack_of_memory_is_no_damage(tmp_path, monkeypatch):
    def fail(path):
        raise MemoryError("Unable to allocate 40 GiB")

    file = describe_row_file(annotations(tmp_path))
    monkeypatch.setattr(nib.freesurfer, "read_annot", fail)
    with pytest.raises(MemoryError, match="Unable"):
        read_row_labels(file)
