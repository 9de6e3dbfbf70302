"""What the results within a coarse region depend on: images of derivatives, by content."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bids_decoder.analyses.study import Study
from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.files import file_digest, write_text
from bids_decoder.markers import StageKey
from bids_decoder.workflows.work import PersonWork


@pytest.fixture
def person(tmp_path):
    files = {name: write_text(tmp_path / name, name) for name in ("boldref", "mask")}
    run = BoldRun(
        "01", None, "see", None, "fmriprep", {}, {}, tmp_path / "bold.nii.gz",
        boldref_file=files["boldref"], mask_file=files["mask"],
    )
    betas = StageKey("betas", "sub-01", {})
    return PersonWork(Participant("01", (), (run,)), "fmriprep", {}, betas)


def key_of(*people, region="occipital"):
    study = SimpleNamespace(
        settings=SimpleNamespace(troi=SimpleNamespace(region=region)), digest=file_digest,
    )
    return Study.region_key(study, *people)


def test_another_reference_of_derivatives_finds_another_region(person):
    before = key_of(person), key_of(person, region="brain")
    write_text(person.runs[0].boldref_file, "preprocessed again")
    assert key_of(person) != before[0]
    assert key_of(person, region="brain") == before[1] == "brain"


def test_images_of_all_source_participants_count(person):
    (run,) = person.participant.runs
    other = replace(person, participant=Participant("02", (), (replace(run, subject="02"),)))
    assert len({key_of(person), key_of(other), key_of(person, other)}) == 3


@pytest.mark.parametrize("changes", [{"source": "raw"}, {"space": "MNI152NLin2009cAsym"}])
def test_nothing_of_derivatives_is_registered(person, changes):
    (run,) = person.participant.runs
    if "space" in changes:
        run = replace(run, entities={**run.entities, **changes})
        changes = {"participant": Participant("01", (), (run,))}
    assert key_of(replace(person, **changes)) == "occipital"


def test_a_mask_counts_by_its_content(person, tmp_path):
    mask = write_text(tmp_path / "own", "a")
    before = key_of(person, region=str(mask))
    assert before == key_of(person, region=str(write_text(tmp_path / "copy", "a")))
    write_text(mask, "b")
    assert key_of(person, region=str(mask)) != before
