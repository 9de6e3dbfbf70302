"""Natural Scenes Dataset: betas in both formats, design, regions, pictures, faults."""

import h5py
import nibabel as nib
import numpy as np
import pytest
import samples

from bids_decoder.bids.inputs import input_digests
from bids_decoder.interfaces.released import write_noise_ceiling
from bids_decoder.released import blocks
from bids_decoder.released.blocks import read_runs


def values_of(person):
    return np.concatenate(
        [values for _, values in read_runs([run.released for run in person.runs])]
    )


@pytest.mark.parametrize("extension", ["nii.gz", "hdf5"])
@pytest.mark.parametrize("block", [1 << 27, 5000])
def test_betas_are_per_cent_signal_change(place, monkeypatch, extension, block):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
    monkeypatch.setattr(blocks, "BATCH_BYTES", 50 * block)
    truth, mask = samples.nsd(place.folder, 3, extension)
    (person,) = place.dataset().participants
    assert person.label == "03" and len(person.runs) == 24
    expected = np.concatenate(list(truth.values()))
    np.testing.assert_allclose(values_of(person), expected, rtol=1e-6)
    grid = person.runs[0].released.responses.grid
    np.testing.assert_array_equal(grid.mask, mask)
    np.testing.assert_array_equal(grid.affine, samples.AFFINE)


def test_trials_are_those_of_the_design(place):
    samples.nsd(place.folder, 2)
    person = place.dataset().participants[0]
    design = samples.nsd_design()
    shown = design["subjectim"][1, design["masterordering"][0] - 1][:1500]
    stimuli = np.concatenate([run.released.table["stimulus"] for run in person.runs])
    np.testing.assert_array_equal(stimuli.astype(int), shown - 1)
    split = np.concatenate([run.released.table["split"] for run in person.runs])
    np.testing.assert_array_equal(split == "test", np.isin(shown, design["sharedix"]))
    assert [len(run.released.table) for run in person.runs] == [63, 62] * 12
    assert person.runs[13].run_group == "ses-nsd02_task-nsdcore_run-02"


def test_pictures_of_the_release_are_found(place):
    samples.nsd(place.folder)
    stimuli = place.folder / "nsddata_stimuli/stimuli/nsd"
    stimuli.mkdir(parents=True)
    with h5py.File(stimuli / "nsd_stimuli.hdf5", "w") as file:
        file.create_dataset("imgBrick", (73_000, 4, 4, 3), np.uint8, chunks=(50, 4, 4, 3))
    assert place.dataset().stimuli_dir == stimuli


def test_coco_ids(place):
    samples.nsd(place.folder)
    path = place.folder / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
    rows = [f"{i},{500_000 + i},train2017,{i},False" for i in range(73_000)]
    path.write_text("\n".join([",cocoId,cocoSplit,nsdId,shared1000", *rows]) + "\n")
    table = place.dataset().participants[0].runs[0].released.table
    assert [int(c) - 500_000 for c in table["cocoId"]] == [int(s) for s in table["stimulus"]]
    path.write_text("\n".join([",cocoId,cocoSplit,nsdId,shared1000", *rows[:50]]) + "\n")
    ((code, text),) = place.errors()
    assert code == 65 and "50 pictures of 73000" in text


def test_preparations_and_formats_that_are_preferred(place):
    samples.nsd(place.folder)
    good = place.folder / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    other = good.with_name("betas_assumehrf")
    other.mkdir()
    (other / "betas_session01.nii.gz").write_bytes((good / "betas_session01.nii.gz").read_bytes())
    (good / "betas_session01.hdf5").write_bytes(b"not read")
    dataset = place.dataset()
    assert {run.image_file.parent for run in dataset.runs} == {good}
    assert {run.image_file.suffix for run in dataset.runs} == {".gz"}
    assert any(d.value == "betas_fithrf_GLMdenoise_RR, voxels of nsdgeneral.nii.gz"
               for d in dataset.decisions)


def test_ncsnr_becomes_a_map_of_the_noise_ceiling(place, tmp_path):
    _, mask = samples.nsd(place.folder)
    folder = next(place.folder.rglob("betas_session01.nii.gz")).parent
    ratios = np.full(mask.shape, np.nan, dtype=np.float32)
    ratios[mask] = np.linspace(0, 2, mask.sum())
    inside = tuple(np.argwhere(mask)[0])
    ratios[inside] = np.inf  # as where the estimate of the noise is 0
    samples.save_image(folder / "ncsnr.nii.gz", ratios)
    person = place.dataset().participants[0]
    run = person.runs[0].released
    assert run.ncsnr == folder / "ncsnr.nii.gz"
    target = tmp_path / "sub-01_stat-noiseceiling_statmap.nii.gz"
    write_noise_ceiling(run.ncsnr, run.responses.grid, target)
    values = nib.load(target).get_fdata()
    squared = np.linspace(0, 2, mask.sum()) ** 2
    np.testing.assert_allclose(values[mask], 100 * squared / (squared + 1), rtol=1e-5)
    assert values[inside] == 0
    assert not values[~mask].any()
    before = input_digests(person)
    samples.save_image(folder / "ncsnr.nii.gz", 2 * ratios)
    assert input_digests(person) != before


def test_ncsnr_on_another_grid_is_refused(place):
    samples.nsd(place.folder)
    folder = next(place.folder.rglob("betas_session01.nii.gz")).parent
    samples.save_image(folder / "ncsnr.nii.gz", np.ones((4, 5, 7), np.float32))
    assert any(code == 65 and "ncsnr.nii.gz: (4, 5, 7) voxels" in text
               for code, text in place.errors())


def test_faults(place):
    for subject in (1, 2, 3, 4):
        samples.nsd(place.folder, subject, sessions=(1, 3))
    betas = "nsddata_betas/ppdata/subj{:02d}/func1pt8mm/betas_fithrf_GLMdenoise_RR/"
    betas += "betas_session{:02d}.nii.gz"
    path = place.folder / betas.format(1, 1)
    path.write_bytes(path.read_bytes()[:-2000])
    samples.save_image(place.folder / betas.format(2, 3), np.ones((4, 5, 6, 749), np.int16))
    samples.save_image(place.folder / betas.format(3, 3), np.ones((6, 5, 4, 750), np.int16))
    (place.folder / betas.format(4, 1)).write_bytes(b"nothing")
    errors = place.errors()
    for label, word in (
        ("01", "truncated"), ("02", "749 trials; a session has 750"),
        ("03", "the axes seem to be in reversed order"), ("04", "damaged or truncated"),
    ):
        (found,) = [error for error in errors if f"subj{label}" in error[1]]
        assert found[0] == 65 and word in found[1]
    assert any("betas of sessions 2 are not there" in f.why for f in place.dataset().findings)


def test_design_is_needed(place):
    samples.nsd(place.folder)
    (place.folder / "nsddata/experiments/nsd/nsd_expdesign.mat").unlink()
    ((code, text),) = place.errors()
    assert code == 66 and "nsd_expdesign.mat" in text


def test_positions_of_hdf5_need_an_image(place):
    samples.nsd(place.folder, extension="hdf5")
    next(place.folder.rglob("nsdgeneral.nii.gz")).unlink()
    ((code, text),) = place.errors()
    assert code == 66 and "nsdgeneral.nii.gz" in text


def test_plan_says_in_what_data_differ_from_a_protocol(place):
    samples.nsd(place.folder)
    place.set("trials", protocol="mindeye2-1h", split_column="split")
    errors = [text for code, text in place.errors() if code == 65 and "mindeye2-1h" in text]
    assert any("2 sessions instead of 40" in text for text in errors)
    assert any("test trials instead of 3000" in text for text in errors)
    assert not any("session(s) that train" in text for text in errors)
