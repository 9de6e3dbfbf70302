"""Outputs of GLMsingle of Python and MATLAB, with events or with numbers of conditions."""

import numpy as np
import pytest
import samples

from bids_decoder.released.files import read_dictionary


def with_numbers(truth):
    """Stimuli as numbers of conditions; GLMsingle has no sessions."""
    truth.stimuli = [name.removeprefix("picture") for name in truth.stimuli]
    truth.sessions = [None] * len(truth.stimuli)
    return truth


@pytest.mark.parametrize("extension", ["npy", "hdf5", "mat"])
@pytest.mark.parametrize("kind", ["TYPED_FITHRF_GLMDENOISE_RR", "TYPEB_FITHRF"])
def test_formats(place, check_read, extension, kind):
    truth, mask = samples.trials(), samples.mask_of(24)
    samples.glmsingle(place.folder / "sub-03", extension, kind, truth, mask)
    samples.save_image(place.folder / "sub-03/mask.nii.gz", mask.astype(np.uint8))
    dataset = place.dataset()
    (person,) = dataset.participants
    assert person.label == "03"
    check_read(person, with_numbers(truth))
    grid = person.runs[0].released.responses.grid
    np.testing.assert_array_equal(grid.mask, mask)
    np.testing.assert_array_equal(grid.affine, samples.AFFINE)
    assert person.runs[0].released.layout == f"outputs of GLMsingle, type {kind[4]}"
    assert any("numbers of conditions" in d.value for d in dataset.decisions)


def test_the_best_type_is_taken(place):
    for kind in ("TYPEB_FITHRF", "TYPED_FITHRF_GLMDENOISE_RR", "TYPEC_FITHRF_GLMDENOISE"):
        samples.glmsingle(place.folder, "npy", kind)
    (person,) = place.dataset().participants
    assert person.label == "01"
    assert person.runs[0].released.responses.parts[0].file.stem == "TYPED_FITHRF_GLMDENOISE_RR"


def test_without_mask_there_are_no_positions(place):
    samples.glmsingle(place.folder)
    grid = place.dataset().participants[0].runs[0].released.responses.grid
    assert grid.mask.shape == (120, 1, 1)


def test_events_name_the_trials(place):
    truth, mask = samples.trials(), samples.mask_of(24)
    samples.glmsingle(place.folder / "sub-01", truth=truth, mask=mask)
    samples.save_image(place.folder / "sub-01/mask.nii.gz", mask.astype(np.uint8))
    place.bids = place.top / "bids"
    place.bids.mkdir()
    samples.events(place.bids, truth)
    plan = place.plan()
    table = plan.study.tables["01"]
    assert table["stimulus"].tolist() == truth.stimuli
    assert table["label"].tolist() == [name[-1] for name in truth.stimuli]
    assert table["onset"].tolist()[:3] == [4.5, 9.5, 14.5]
    assert table["run_group"].unique().tolist() == [
        f"ses-{1 + (run > 2)}_task-see_run-{run}" for run in (1, 2, 3, 4)
    ]


def test_sessions_are_folders(place):
    first, second = samples.trials(1, n_runs=2), samples.trials(2, n_runs=2)
    samples.glmsingle(place.folder / "sub-01/ses-a", truth=first)
    samples.glmsingle(place.folder / "sub-01/ses-b", truth=second)
    dataset = place.dataset()
    assert [run.run_group for run in dataset.participants[0].runs] == [
        f"ses-{session}_task-none_run-{run}" for session in "ab" for run in (1, 2)
    ]
    # Each output counts its conditions for itself.
    (warning,) = [f for f in dataset.findings if "numbers of conditions" in f.what]
    assert warning.severity == "warning" and "2 outputs" in warning.why


def test_faults(place):
    for label in ("01", "02", "03", "04", "05"):
        samples.glmsingle(place.folder / f"sub-{label}", truth=samples.trials())
    name = "TYPED_FITHRF_GLMDENOISE_RR.npy"
    path = place.folder / "sub-01" / name
    path.write_bytes(path.read_bytes()[:-200])
    (place.folder / "sub-02/DESIGNINFO.npy").unlink()
    np.save(place.folder / "sub-03/DESIGNINFO.npy", {"stimorder": [0, 1]}, allow_pickle=True)
    np.save(place.folder / "sub-04/DESIGNINFO.npy",
            {"stimorder": [0] * 24, "numtrialrun": [1, 2]}, allow_pickle=True)
    np.save(place.folder / "sub-05" / name, {"other": np.ones(3)}, allow_pickle=True)
    errors = place.errors()
    for label, code, word in (
        ("01", 65, "damaged or truncated"), ("02", 66, "neither DESIGNINFO nor events"),
        ("03", 65, "stimorder in DESIGNINFO.npy has 2 entries"),
        ("04", 65, "adds up to 3 trials, there are 24"), ("05", 65, "betasmd"),
    ):
        (found,) = [error for error in errors if f"sub-{label}" in error[1]]
        assert found[0] == code and word in found[1]


def test_events_that_do_not_fit(place):
    truth = samples.trials()
    samples.glmsingle(place.folder / "sub-01", truth=truth)
    place.bids = place.top / "bids"
    place.bids.mkdir()
    samples.events(place.bids, truth)
    path = next(place.bids.rglob("*run-2_events.tsv"))
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    ((code, text),) = place.errors()
    assert code == 65 and "[6, 6, 6, 6]" in text and "[6, 5, 6, 6]" in text


def test_pickles_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    np.save(tmp_path / "evil.npy", {"betasmd": Evil()}, allow_pickle=True)
    with pytest.raises(Exception, match="only arrays, numbers and text") as caught:
        read_dictionary(tmp_path / "evil.npy")
    assert int(caught.value.finding.code) == 65
    assert not (tmp_path / "ran").exists()
