from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from epi_phantom import (
    EPI_AFFINE,
    EPI_LEVELS,
    EPI_SHAPE,
    T1W_LEVELS,
    brain_mask,
    coil,
    dice,
    sample,
)

from bids_decoder.errors import InputError
from bids_decoder.preprocessing import masks

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def epi(head, seed=0):
    clean = sample(head.intensity(EPI_LEVELS), head.affine, EPI_SHAPE, EPI_AFFINE)
    noise = 0.02 * np.random.default_rng(seed).standard_normal(EPI_SHAPE)
    return (1000 * (clean * coil(EPI_SHAPE, EPI_AFFINE) + noise)).astype(np.float32)


def test_epi_mask(head):
    assert dice(masks.epi_brain_mask(epi(head), EPI_AFFINE), brain_mask(head)) > 0.95


def test_head_mask_of_a_slab(head):
    slab, truth = epi(head)[:, :, 17:18], brain_mask(head)[:, :, 17:18]
    found = masks.epi_brain_mask(slab, EPI_AFFINE)
    assert found.shape == (64, 64, 1)
    assert dice(found, truth) > 0.9


def test_t1w_mask_and_tissues(head):
    rng = np.random.default_rng(0)
    t1w = head.intensity(T1W_LEVELS)
    t1w = np.clip(t1w + 0.02 * rng.standard_normal(t1w.shape), 0, None)
    truth = head.brain > 0.5
    mask = masks.t1w_brain_mask(t1w, head.affine)
    assert dice(mask, truth) > 0.95
    vessels = rng.random(t1w.shape) < 0.003
    t1w[vessels] = 6.0
    labels = masks.segment_tissues(np.where(mask, t1w, 0), head.affine)
    tissues = head.shares.argmax(axis=-1)
    for label in (1, 2, 3):
        assert dice((labels == label) & truth, (tissues == label) & truth) > 0.85


def test_image_without_a_picture_is_refused():
    with pytest.raises(InputError, match="have the value 7"):
        masks.head_mask(np.full((8, 8, 8), 7.0))
    with pytest.raises(InputError, match="litres"):
        masks.t1w_brain_mask(np.pad(np.full((4, 4, 4), 9.0), 8), np.diag([4.0, 4, 4, 1]))


def test_erosion_is_in_millimetres():
    mask = np.zeros((21, 21, 21), dtype=bool)
    mask[3:18, 3:18, 3:18] = True
    left = masks.eroded(mask, np.diag([1.0, 2.0, 4.0, 1.0]), 4.0)
    assert [int(left.any(axis=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))] == [7, 11, 13]


@pytest.mark.shared_data
def test_one_real_slice():
    path = DATA / "haxby-1slice/sub-1/func/sub-1_task-objectviewing_run-01_bold.nii.gz"
    if not path.exists():
        pytest.skip(f"no data at {DATA}")
    image = nib.load(path)
    volume = np.asarray(image.dataobj[..., :20], dtype=float).mean(axis=3)
    found = masks.epi_brain_mask(volume, image.affine)
    assert 450 < found.sum() < 620
