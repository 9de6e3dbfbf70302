"""The field that is estimated from the T1w image, on the head of the demo."""

import json
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow
from scipy import ndimage

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import Settings
from bids_decoder.interfaces import distortion
from bids_decoder.preprocessing.distortion import Epi, EstimatedField, PhaseEncoding
from bids_decoder.preprocessing.field_of_t1w import Tissues, expected_image, field_of_t1w
from bids_decoder.preprocessing.masks import epi_brain_mask, segment_tissues, t1w_brain_mask
from bids_decoder.preprocessing.registration import Picture
from bids_decoder.simulate.distortion import distort, susceptibility_field
from bids_decoder.simulate.heads import centred_affine, draw_head, magnitude, make_phantom
from bids_decoder.workflows.distortion import DistortionNodes

pytestmark = pytest.mark.usefixtures("quick_bias")
READOUT, PEAK_HZ, MM = 0.04, 70.0, 4.0


@dataclass
class Scan:
    """Images of one head, its field in Hz, and its brain on the grid of the EPI image."""

    head: object
    clean: np.ndarray
    field: np.ndarray
    brain: np.ndarray
    affine: np.ndarray
    tissues: Tissues

    def epi(self, sign, peak=1.0):
        way = PhaseEncoding(1, sign, READOUT)
        moved = distort(self.clean, peak * self.field * way.voxels_per_hz, 1)
        noisy = magnitude(moved.astype(np.float32), 5.0, np.random.default_rng(1))
        return Epi(noisy, self.affine, way)


def pictured(head, volume, box, size, centre):
    """Image a volume of the phantom; also gives the points in the template, and the affine."""
    shape = tuple(int(v / size) for v in box)
    affine = centred_affine(shape, size, np.array(centre))
    points = apply_affine(affine, np.indices(shape).reshape(3, -1).T.astype(float))
    places = head.to_template(points)
    smooth = ndimage.gaussian_filter(volume, 0.8 * size / 2.355 / 2.0)
    return head.phantom.sample(smooth, places).reshape(shape), places, affine


@pytest.fixture(scope="module")
def scan():
    rng = np.random.default_rng(7)
    head = draw_head(make_phantom(2), rng)
    phantom = head.phantom
    grid = (200.0, 230.0, 150.0), MM, (0.0, -17.0, 5.0)
    clean, places, affine = pictured(head, phantom.t2star, *grid)
    tissue = (phantom.gm + (phantom.t2star > 150) * (phantom.csf < 0.5)).astype(np.float32)
    brain = ndimage.binary_opening(pictured(head, tissue, *grid)[0] > 0.5)
    t1w, _, t1w_affine = pictured(
        head, phantom.t1w, (200.0, 240.0, 200.0), 2.0, (0.0, -17.0, 0.0)
    )
    t1w = magnitude(t1w.astype(np.float32), 15.0, rng)
    mask = t1w_brain_mask(t1w, t1w_affine)
    t1w = np.where(mask, t1w, 0)
    tissues = Tissues(Picture(t1w, t1w_affine, mask), segment_tissues(t1w, t1w_affine))
    field = susceptibility_field(places, PEAK_HZ).reshape(clean.shape)
    return Scan(head, clean, field, brain, affine, tissues)


def estimate(scan, epi):
    return field_of_t1w(epi, epi_brain_mask(epi.volume, epi.affine, 1), scan.tissues)


def medians(scan, found):
    """Median displacement in mm that is left where it was above 1 mm, and in the brain."""
    scale = READOUT * MM
    error, true = (np.abs(v)[scan.brain] * scale for v in (found - scan.field, scan.field))
    return np.median(error[true > 1.0]), np.median(error)


@pytest.fixture(scope="module")
def case(scan):
    """The sign that a method which ignores it would get wrong."""
    epi = scan.epi(-1)
    return epi, estimate(scan, epi)


def test_displacement_becomes_smaller(scan, case):
    _, found = case
    strong_before, brain_before = medians(scan, np.zeros_like(scan.field))
    strong, brain = medians(scan, found.field)
    assert strong_before > 1.5 and strong < strong_before * 2 / 3
    assert brain < brain_before + 0.05
    assert found.agreement[1] > found.agreement[0]
    assert found.field.shape == found.corrected.shape == scan.clean.shape
    assert np.isfinite(found.field).all()


def test_the_corrected_image_is_nearer_to_the_undistorted_one(scan, case):
    epi, found = case
    strong = scan.brain & (np.abs(scan.field) * READOUT * MM > 1.0)
    before, after = (
        np.corrcoef(image[strong], scan.clean[strong])[0, 1]
        for image in (epi.volume, found.corrected)
    )
    assert after > before + 0.05


def test_little_is_found_without_distortion(scan):
    found = estimate(scan, scan.epi(1, peak=0.0))
    assert np.median(np.abs(found.field[scan.brain])) * READOUT * MM < 0.5


def test_expected_image_has_the_brightness_of_the_tissues():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (8, 9, 7))
    labels[0] = labels[-1] = -1
    shares = np.stack([labels == k for k in range(3)], axis=-1).astype(np.float32)
    across = 1 + 0.2 * np.linspace(-1, 1, 9)[None, :, None]
    image = np.where(labels < 0, 0.05, shares @ np.array([0.9, 0.6, 0.4]) * across)
    spoiled = image.copy()
    spoiled[4, 4, :2] = 5.0
    expected, near = expected_image(spoiled, shares, labels >= 0)
    assert near.all()
    np.testing.assert_allclose(expected, image, atol=0.02)


def given(name, **files):
    node = Node(IdentityInterface(fields=list(files)), name)
    node.inputs.trait_set(**{key: str(path) for key, path in files.items()})
    return node


def test_nodes_correct_a_run_by_the_t1w_image(scan, tmp_path, monkeypatch):
    epi, anat = scan.epi(-1), scan.tissues
    files = {
        name: save_nifti(tmp_path / f"{name}.nii.gz", values, affine) for name, values, affine in (
            ("boldref", epi.volume, epi.affine),
            ("mask", epi_brain_mask(epi.volume, epi.affine, 1), epi.affine),
            ("t1w", anat.brain.volume.astype(np.float32), anat.brain.affine),
            ("t1w_mask", anat.brain.mask, anat.brain.affine),
            ("dseg", anat.labels.astype(np.uint8), anat.brain.affine),
        )
    }
    metadata = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": READOUT}
    person = Participant("01", (files["t1w"],), (
        BoldRun("01", None, "see", "1", "raw", {}, metadata, files["boldref"]),
    ))
    settings = Settings().replaced(
        execution={"bids_dir": tmp_path}, preprocessing={"use_syn_sdc": "error"}
    )
    workflow, out = Workflow("sdc", base_dir=str(tmp_path / "work")), tmp_path / "out"
    nodes = DistortionNodes(workflow, person, settings, out, 1, [], given(
        "anat", t1w_brain=files["t1w"], t1w_mask=files["t1w_mask"], t1w_dseg=files["dseg"],
    ))
    reference = given("reference", out_file=files["boldref"])
    nodes.correct(1, person.runs[0], reference, given("masked", mask_file=files["mask"]))
    asked = []

    def known(own, mask, tissues, seed):
        asked.append((own, mask, tissues, seed))
        return EstimatedField(scan.field.astype(np.float32), scan.clean, (0.25, 0.75))

    monkeypatch.setattr(distortion, "field_of_t1w", known)
    workflow.run()
    ((own, mask, tissues, seed),) = asked
    assert (own.encoding, seed) == (epi.encoding, 1)
    np.testing.assert_array_equal(own.volume, epi.volume)
    assert mask.shape == epi.volume.shape and mask.any()
    np.testing.assert_array_equal(tissues.labels, anat.labels)
    np.testing.assert_array_equal(tissues.brain.mask, anat.brain.mask)
    (field,) = out.rglob("*_desc-preproc_fieldmap.nii.gz")
    (shifts,) = out.rglob("*_shiftmap.nii.gz")
    np.testing.assert_allclose(nib.load(field).get_fdata(), scan.field, atol=1e-3)
    card = json.loads(field.with_name(field.name.replace(".nii.gz", ".json")).read_text())
    assert card["Method"] == "registration to the T1w image" and card["Units"] == "Hz"
    assert (card["CorrelationBefore"], card["CorrelationAfter"]) == (0.25, 0.75)
    assert card["Sources"] == ["bids:raw:boldref.nii.gz", "bids:raw:t1w.nii.gz"]
    # The run itself is corrected by shifts of the sign of its own encoding.
    voxels = scan.field * epi.encoding.voxels_per_hz
    strong = scan.brain & (np.abs(voxels) > 0.5)
    moved = nib.load(shifts).get_fdata()
    assert np.median(np.abs(moved - voxels)[strong]) < 0.3
