"""Runs whose field is estimated from the T1w image: which, and what the plan says."""

from dataclasses import replace

import numpy as np
import pytest
from fieldmap_person import AFFINE, AP, INTENDED, PA, SHAPE, Person

from bids_decoder.bids.dataset import Participant
from bids_decoder.bids.writer import save_nifti
from bids_decoder.workflows.fieldmaps import plan_fieldmaps


class PersonWithT1w(Person):
    """The participant has a T1w image besides."""

    def __init__(self, folder, metadata=AP):
        super().__init__(folder, metadata)
        self.t1w = folder / "sub-01/anat/sub-01_T1w.nii.gz"

    def plan(self, use_syn_sdc="error", with_t1w=True):
        person = Participant(
            "01", (self.t1w,) if with_t1w else (), tuple(self.runs), tuple(self.images),
        )
        return plan_fieldmaps(person, use_syn_sdc)


@pytest.fixture
def person(tmp_path):
    return PersonWithT1w(tmp_path)


def test_runs_without_field_maps_share_the_field_of_the_first(person):
    plan = person.plan()
    assert not plan.findings
    (found,) = plan.fields.values()
    assert found.kind == "t1w" and found.files == (person.runs[0].image_file,)
    assert set(plan.by_run) == {"task-see_run-1", "task-see_run-2"}
    (decision,) = plan.decisions
    assert "T1w" in decision.reason and "--use-syn-sdc" in decision.reason


def test_other_phase_encoding_needs_another_field(person):
    person.runs[1] = replace(person.runs[1], metadata=PA)
    plan = person.plan()
    assert len(plan.fields) == 2
    assert [way.sign for _, way in plan.by_run.values()] == [-1, 1]


def test_field_maps_come_first(person):
    for name, way in (("dir-PA_epi", PA), ("dir-AP_epi", AP)):
        person.add(name, way | INTENDED)
    assert {found.kind for found in person.plan().fields.values()} == {"pair"}


def test_it_is_off_by_default(person):
    plan = person.plan("no")
    assert not plan.fields and not plan.findings


def test_an_unusable_field_map_is_reported_and_replaced(person):
    person.add("dir-PA_epi", INTENDED)
    plan = person.plan()
    assert {found.kind for found in plan.fields.values()} == {"t1w"}
    assert {f.severity for f in plan.findings} == {"warning"} and len(plan.findings) == 2
    assert "not used" in plan.findings[0].what and "PhaseEncodingDirection" in plan.findings[0].why


@pytest.mark.parametrize(("use", "severity", "way"), [
    ("error", "error", "--use-syn-sdc warn"), ("warn", "warning", "leave out --use-syn-sdc"),
])
@pytest.mark.parametrize("lack", ["t1w", "encoding", "slices"])
def test_what_is_not_possible(tmp_path, lack, use, severity, way):
    person = PersonWithT1w(tmp_path, {} if lack == "encoding" else AP)
    if lack == "slices":
        for run in person.runs:
            save_nifti(run.image_file, np.ones((*SHAPE[:2], 1, 3), np.int16), AFFINE, t_r=2.0)
    plan = person.plan(use, with_t1w=lack != "t1w")
    assert not plan.by_run and len(plan.findings) == 2
    why = {"t1w": "no T1w image", "encoding": "PhaseEncodingDirection", "slices": "slice(s)"}[lack]
    for finding in plan.findings:
        assert finding.severity == severity and way in finding.fix and why in finding.why
        assert "--ignore" not in finding.fix
