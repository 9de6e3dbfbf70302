"""Headers and first volumes equal what nibabel reads."""

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids.images import read_first_volumes, read_header
from bids_decoder.errors import InputError

SHAPE = (4, 3, 2, 5)


def saved(path, kind, dtype, *, slope=None, order="<"):
    data = np.random.default_rng(0).integers(0, 200, SHAPE).astype(dtype)
    image = kind(data, np.diag([2.0, 2.5, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 1500.0
    if slope is not None:
        image.header.set_slope_inter(slope, 7.0)
    if order == ">":
        image = kind(data, image.affine, image.header.as_byteswapped(">"))
    nib.save(image, path)
    return path


CASES = [
    (nib.Nifti1Image, np.int16, {}), (nib.Nifti1Image, np.float32, {"order": ">"}),
    (nib.Nifti1Image, np.uint8, {"slope": 0.5}), (nib.Nifti2Image, np.int16, {}),
]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("kind", "dtype", "options"), CASES)
def test_the_same_as_nibabel(tmp_path, suffix, kind, dtype, options):
    path = saved(tmp_path / f"a{suffix}", kind, dtype, **options)
    image, header = nib.load(path), read_header(path)
    assert header.shape == image.shape == SHAPE and header.t_r == 1.5
    np.testing.assert_array_equal(header.affine, image.affine)
    if suffix == ".nii":
        assert header.n_bytes == path.stat().st_size
    for n_volumes in (2, 9):
        wanted = np.asarray(image.dataobj[..., :n_volumes], dtype=np.float32)
        values = read_first_volumes(path, n_volumes)
        np.testing.assert_array_equal(values, wanted.reshape(24, -1, order="F"))


def test_one_volume_of_three_dimensions(tmp_path):
    data = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    values = read_first_volumes(tmp_path / "a.nii.gz", 3)
    np.testing.assert_array_equal(values[:, 0], data.ravel(order="F"))


def test_files_that_end_early_are_refused(tmp_path):
    path = saved(tmp_path / "a.nii", nib.Nifti1Image, np.int16)
    content = path.read_bytes()
    path.write_bytes(content[:380])
    with pytest.raises(ValueError, match="reshape"):
        read_first_volumes(path, 2)
    path.write_bytes(content[:200])
    with pytest.raises(InputError, match="not readable as NIfTI"):
        read_header(path)
