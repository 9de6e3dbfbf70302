"""Plans of one volume per person: images, labels, sites, and what is wrong with them."""

import shutil

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.errors import FindingsError
from bids_decoder.simulate.pet import simulate_pet, write_pet_dataset

WORDS = ("--decoder", "cnn3d", "--subject-label", "diagnosis", "--external-label", "FTLD")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pet") / "data"
    return write_pet_dataset(folder, simulate_pet(44, 3, seed=0, shape=(6, 6, 5)))


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


@pytest.fixture
def plan(tmp_path):
    def make(folder, *words, level="group"):
        settings, _ = parse_args([
            str(folder), str(tmp_path / "out"), level, *(words or WORDS), "--device", "cpu",
        ])
        return make_plan(settings, tmp_path / "work")

    return make


def problems(plan, *words, **options):
    with pytest.raises(FindingsError) as caught:
        plan(*words, **options)
    return [f"{f.what}: {f.why}" for f in caught.value.findings if f.severity == "error"]


def edit(folder, change):
    path = folder / "participants.tsv"
    save_table(path, change(read_table(path)))


def test_everybody_with_image_and_label_takes_part(plan, data, tmp_path):
    made = plan(data)
    table = made.study.data.table
    assert len(table) == 47
    assert table["external"].sum() == 3
    assert [(s.unit, s.stage, s.todo) for s in made.steps] == [("group", "subjects", True)]
    content = made.record
    assert content["labels"] == {name: 11 for name in ("AD", "CN", "DLB", "MCI")}
    assert content["n_external"] == 3
    assert list(tmp_path.iterdir()) == []


def test_people_without_label_or_image_are_left_out_and_named(plan, copy):
    edit(copy, lambda t: t.assign(diagnosis=[None, *t["diagnosis"][1:]]))
    shutil.rmtree(copy / "sub-002")
    made = plan(copy)
    assert len(made.study.data.table) == 45
    warnings = " ".join(f.what + f.why for f in made.findings)
    assert "without an image" in warnings
    assert "no diagnosis" in warnings


def test_site_that_tells_the_label_is_warned_about(plan, copy):
    edit(copy, lambda t: t.assign(site=t["diagnosis"]))
    (warning,) = plan(copy, *WORDS, "--site-column", "site").findings
    assert "predicts the label" in warning.why
    assert warning.severity == "warning"


def test_site_that_does_not_is_not(plan, copy):
    edit(copy, lambda t: t.assign(site=([*"aaaabbbb"] * 6)[:47]))
    assert plan(copy, *WORDS, "--site-column", "site").findings == ()


def test_wrong_columns_labels_and_levels_are_named(plan, data):
    assert "no column dx" in problems(plan, data, "--decoder", "cnn3d", "--subject-label", "dx")[0]
    found = problems(plan, data, "--decoder", "cnn3d", "--subject-label", "diagnosis",
                     "--external-label", "PPA")
    assert any("no such label" in text for text in found)
    assert any("fewer than 10 participants" in text for text in found)
    found = problems(plan, data, "--subject-label", "diagnosis", level="participant")
    assert len(found) == 2
    assert "--decoder troi" in found[0]


def test_images_on_another_grid_are_refused(plan, copy):
    path = copy / "sub-005" / "pet" / "sub-005_pet.nii.gz"
    image = nib.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 4
    save_nifti(path, np.asarray(image.dataobj), affine)
    (text,) = problems(plan, copy)
    assert "sub-005_pet.nii.gz" in text


def test_participants_with_the_same_image_are_named_in_one_finding(plan, copy):
    for number in range(1, 9, 2):
        source, target = (
            copy / f"sub-{n:03d}" / "pet" / f"sub-{n:03d}_pet.nii.gz" for n in (number, number + 1)
        )
        image = nib.load(source)
        image.header["descrip"] = b"another one"
        nib.save(image, target)
    (text,) = problems(plan, copy)
    assert text.startswith("identical images: 4 group(s)")
    assert "sub-001 = sub-002, sub-003 = sub-004, sub-005 = sub-006" in text
    assert "sub-007" not in text


def test_several_images_of_a_person_and_none_at_all(plan, copy):
    pet = copy / "sub-001" / "pet"
    shutil.copy(pet / "sub-001_pet.nii.gz", pet / "sub-001_run-2_pet.nii.gz")
    assert "2 images with suffix pet" in problems(plan, copy)[0]
    assert "no image with suffix dwi" in problems(plan, copy, *WORDS, "--subject-image", "dwi")[0]


def test_confounds_are_columns_with_a_value_for_everybody_that_varies(plan, copy):
    edit(copy, lambda t: t.assign(
        age=range(47), one=1, holes=[None, *range(46)], copy=t["diagnosis"],
    ))
    made = plan(copy, *WORDS, "--control", "age")
    assert list(made.study.data.confounds) == ["age"] and len(made.study.data.confounds) == 47
    assert made.jobs[0].spec.removed == ()
    removed = plan(copy, *WORDS, "--control", "age", "--confound-removal", "regress")
    assert removed.jobs[0].spec.removed == ("age",)
    assert len({p.jobs[0].key.key for p in (made, removed, plan(copy))}) == 3
    found = " | ".join(problems(plan, copy, *WORDS, "--control", "one", "holes", "copy"))
    assert "one: is 1 in all participants" in found
    assert "holes: 1 of 47 participants have no value" in found
    assert "copy: is what is decoded" in found
    assert "no column agee" in problems(plan, copy, *WORDS, "--control", "agee")[0]
    assert "no confound is named" in problems(
        plan, copy, *WORDS, "--confound-removal", "regress")[0]


def test_confounds_called_label_or_site_replace_neither(plan, copy):
    edit(copy, lambda t: t.assign(site=([*"aaaabbbb"] * 6)[:47], label=range(47)))
    made = plan(copy, *WORDS, "--site-column", "site", "--control", "label", "site")
    table = made.study.data.table
    assert set(table["label"]) == {"AD", "CN", "DLB", "MCI", "FTLD"}
    assert set(table["site"]) == {"a", "b"}
    assert list(made.study.data.confounds) == ["label", "site"]


def test_labels_and_settings_decide_whether_it_is_done(plan, copy):
    before = plan(copy).jobs[0].key.key
    assert plan(copy).jobs[0].key.key == before
    edit(copy, lambda t: t.assign(diagnosis=t["diagnosis"][::-1].to_numpy()))
    assert plan(copy).jobs[0].key.key != before
