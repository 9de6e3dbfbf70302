"""Regions of several label files on the voxels of a participant, and their file."""

import numpy as np

from bids_decoder.bids.label_files import LabelFile, describe_file
from bids_decoder.bids.writer import save_nifti
from bids_decoder.interfaces.regions import (
    FindRegions,
    PlacedLabels,
    collect_regions,
    read_regions,
    save_regions,
)
from bids_decoder.preprocessing.registration import Pull
from bids_decoder.trials import VoxelGrid

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
SHAPE = (4, 4, 4)


def placed(folder):
    """Halves of a cube, and a mask that overlaps both and is called like one of them."""
    halves = np.ones(SHAPE, dtype=np.int16)
    halves[2:] = 2
    save_nifti(folder / "halves.nii.gz", halves, AFFINE)
    (folder / "halves.tsv").write_text("index\tname\n1\tleft\n2\tright\n")
    odd = np.arange(64).reshape(SHAPE) % 2 == 1
    save_nifti(folder / "left.nii.gz", odd, AFFINE)
    return [PlacedLabels(describe_file(folder / f"{name}.nii.gz")) for name in ("halves", "left")]


def test_voxels_may_be_in_several_regions(tmp_path):
    mask = np.ones(SHAPE, dtype=bool)
    mask[0] = False
    regions = collect_regions(placed(tmp_path), VoxelGrid(mask, AFFINE))
    assert [(r.name, len(r.voxels)) for r in regions] == [
        ("left (halves)", 16), ("right", 32), ("left (left)", 24)
    ]
    assert set(regions[2].voxels) & set(regions[1].voxels)


def test_regions_come_back_from_their_file(tmp_path):
    regions = collect_regions(placed(tmp_path), VoxelGrid(np.ones(SHAPE, bool), AFFINE))
    for one, again in zip(
        regions, read_regions(save_regions(tmp_path / "x.npz", regions)), strict=True
    ):
        assert (one.name, one.atlas, one.label) == (again.name, again.atlas, again.label)
        np.testing.assert_array_equal(one.voxels, again.voxels)


def test_records_come_back(tmp_path):
    file = LabelFile(tmp_path / "a.nii.gz", "T1w", "a", tmp_path / "a.tsv")
    for one in (PlacedLabels(file, (Pull(tmp_path / "x.txt", True), Pull(tmp_path / "y.h5"))),
                PlacedLabels(LabelFile(tmp_path / "b.nii", None, "b", None))):
        assert PlacedLabels.from_record(one.record()) == one


def test_small_regions_are_named(tmp_path):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:] = True
    mask[1, :2] = False
    save_nifti(tmp_path / "mask.nii.gz", mask, AFFINE)
    node = FindRegions(
        folder=str(tmp_path), placed=[one.record() for one in placed(tmp_path)[:1]]
    )
    found = node.run(cwd=str(tmp_path)).outputs
    assert found.left_out == ["left"]
    (region,) = read_regions(found.regions_file)
    assert (region.name, len(region.voxels)) == ("right", 32)
