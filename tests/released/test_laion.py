"""LAION-fMRI: betas of sessions, tables, masks, faults."""

import numpy as np
import pytest
import samples


@pytest.mark.parametrize("mask_as", ["mask", "explained variance"])
def test_sessions(place, check_read, mask_as):
    truth, mask = samples.laion(place.folder, mask_as=mask_as)
    dataset = place.dataset()
    (person,) = dataset.participants
    check_read(person, truth)
    np.testing.assert_array_equal(person.runs[0].released.responses.grid.mask, mask)
    assert person.runs[0].run_group == "ses-01_task-images_run-01"
    assert dataset.stimuli_dir == place.folder / "stimuli"


def test_faults(place):
    for label in ("01", "02", "03", "04"):
        samples.laion(place.folder, label)
    place.set("execution", stage=("prepare",))
    one, two, three, four = (
        place.folder / f"derivatives/glmsingle-tedana/sub-{label}" for label in
        ("01", "02", "03", "04")
    )
    path = next(one.rglob("*ses-02*statmap.nii.gz"))
    path.write_bytes(path.read_bytes()[:-300])
    path = next(two.rglob("*ses-01*trials.tsv"))
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    next(three.rglob("*ses-02*trials.tsv")).unlink()
    samples.save_image(next(four.glob("*mask.nii.gz")), np.ones((6, 5, 4), np.uint8))
    errors = place.errors()
    for label, code, word in (
        ("01", 65, "truncated"), ("02", 65, "has 11 rows"), ("03", 66, "there is no such table"),
        ("04", 65, "reversed order"),
    ):
        (found,) = [error for error in errors if f"sub-{label}" in error[1]]
        assert found[0] == code and word in found[1]
