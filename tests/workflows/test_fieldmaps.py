"""Which field corrects which run, and what the plan says where none does."""

from dataclasses import replace

import pytest
from fieldmap_person import AFFINE, AP, INTENDED, PA, READ, Person


@pytest.fixture
def person(tmp_path):
    return Person(tmp_path)


def only(plan):
    assert not plan.findings, [str(finding) for finding in plan.findings]
    (found,) = plan.fields.values()
    assert {name for name, _ in plan.by_run.values()} == {found.name}
    assert set(plan.by_run) == {"task-see_run-1", "task-see_run-2"}
    return found


def problem(plan):
    """The one kind of problem that both runs have."""
    assert not plan.by_run
    assert [f.severity for f in plan.findings] == ["warning"] * 2
    assert len({(f.why, f.fix) for f in plan.findings}) == 1
    assert "not corrected" in plan.findings[0].what
    assert "--ignore fieldmaps" in plan.findings[0].fix
    return plan.findings[0].why


def test_pair_by_intended_for(person):
    paths = [person.add("dir-PA_epi", PA | INTENDED), person.add("dir-AP_epi", AP | INTENDED)]
    plan = person.plan()
    found = only(plan)
    # First the image that is encoded as the run is.
    assert found.kind == "pair" and found.files == (paths[1], paths[0])
    assert [way.sign for way in found.encodings] == [-1, 1]
    assert plan.by_run["task-see_run-1"][1].direction == "j-"
    (decision,) = plan.decisions
    assert "2 run(s)" in decision.what and "dir-AP_epi" in decision.value


def test_one_image_is_paired_with_the_first_run(person):
    path = person.add("dir-PA_epi", PA | INTENDED)
    found = only(person.plan())
    assert found.files == (person.runs[0].bold_file, path)


def test_identifiers_come_before_intended_for(tmp_path):
    person = Person(tmp_path, AP | {"B0FieldSource": "pe-1"})
    person.add("acq-x_dir-PA_epi", PA | INTENDED)
    wanted = person.add("dir-PA_epi", PA | {"B0FieldIdentifier": "pe-1"})
    person.add("dir-AP_epi", AP | {"B0FieldIdentifier": ["pe-1", "other"]})
    found = only(person.plan())
    assert wanted in found.files and found.name == "pe1"


def test_an_identifier_of_several_sessions_means_the_own_one(tmp_path):
    person = Person(tmp_path, AP | {"B0FieldSource": "pepolar"})
    identified = {"B0FieldIdentifier": "pepolar"}
    for session in ("1", "2"):
        person.add(f"ses-{session}_dir-PA_epi", PA | identified)
        person.add(f"ses-{session}_dir-AP_epi", AP | identified)
    assert "several sessions" in problem(person.plan())
    person.runs = [replace(run, session="2") for run in person.runs]
    (found,) = person.plan().fields.values()
    assert found.session == "2" and all("ses-2" in path.name for path in found.files)


def test_the_partner_of_an_image_has_its_source(tmp_path):
    person = Person(tmp_path, AP)
    for number, run in enumerate(person.runs):
        source = {"B0FieldSource": f"pe-{number}"}
        person.runs[number] = replace(run, metadata=AP | source)
        person.add(f"acq-{number}_dir-PA_epi", PA | {"B0FieldIdentifier": f"pe-{number}"})
    fields = person.plan().fields.values()
    assert {found.files[0] for found in fields} == {run.bold_file for run in person.runs}


def test_measured_maps(person):
    person.add("magnitude")
    person.add("fieldmap", {"Units": "rad/s", **INTENDED})
    found = only(person.plan())
    assert (found.kind, found.units, found.magnitude.name) == (
        "direct", "rad/s", "sub-01_magnitude.nii.gz",
    )


@pytest.mark.parametrize("times", [(0.00492, 0.00738), (0.00738, 0.00492)])
def test_phase_difference(person, times):
    person.add("magnitude2")
    person.add("magnitude1")
    person.add("phasediff", {"EchoTime1": times[0], "EchoTime2": times[1], **INTENDED})
    found = only(person.plan())
    assert found.kind == "phasediff" and found.echo_gap == pytest.approx(0.00246)
    assert found.magnitude.name == "sub-01_magnitude1.nii.gz"


def test_two_phases(person):
    person.add("magnitude1")
    person.add("phase1", {"EchoTime": 0.005, **INTENDED})
    person.add("phase2", {"EchoTime": 0.0075})
    found = only(person.plan())
    assert found.kind == "phases" and found.echo_gap == pytest.approx(0.0025)
    assert [path.name for path in found.files] == ["sub-01_phase1.nii.gz", "sub-01_phase2.nii.gz"]


def test_pairs_come_first(person):
    person.add("magnitude1")
    person.add("phasediff", {"EchoTime1": 0.005, "EchoTime2": 0.0075, **INTENDED})
    person.add("dir-PA_epi", PA | INTENDED)
    assert only(person.plan()).kind == "pair"


def test_where_a_pair_fails_another_kind_is_used(person):
    person.add("dir-AP_epi", AP | INTENDED)
    person.add("magnitude1")
    person.add("phasediff", {"EchoTime1": 0.005, "EchoTime2": 0.0075, **INTENDED})
    assert only(person.plan()).kind == "phasediff"


@pytest.mark.parametrize(("images", "expected"), [
    ({"dir-PA_epi": PA}, "IntendedFor"),
    ({"dir-PA_epi": READ | INTENDED}, "PhaseEncodingDirection"),
    ({"dir-PA_epi": {"PhaseEncodingDirection": "j"} | INTENDED}, "TotalReadoutTime"),
    ({"dir-PA_epi": PA | INTENDED | {"TotalReadoutTime": 50}}, "50"),
    ({"dir-AP_epi": AP | INTENDED}, "opposite"),
    ({"fieldmap": INTENDED, "magnitude": {}}, "no Units"),
    ({"fieldmap": INTENDED | {"Units": "ms"}, "magnitude": {}}, "'ms'"),
    ({"fieldmap": INTENDED | {"Units": "Hz"}}, "magnitude"),
    ({"phasediff": INTENDED, "magnitude1": {}}, "EchoTime1"),
    ({"phasediff": INTENDED | {"EchoTime1": 4.9, "EchoTime2": 7.4}, "magnitude1": {}}, "seconds"),
    ({"phase1": INTENDED | {"EchoTime": 0.005}, "magnitude1": {}}, "phase2"),
    ({"magnitude1": INTENDED}, "magnitude1"),
])
def test_what_cannot_be_used_is_reported(person, images, expected):
    for name, metadata in images.items():
        person.add(name, metadata)
    assert expected in problem(person.plan())


def test_runs_without_phase_encoding(tmp_path):
    person = Person(tmp_path, {})
    person.add("dir-PA_epi", PA | INTENDED)
    plan = person.plan()
    assert not plan.by_run and all("PhaseEncodingDirection" in f.why for f in plan.findings)


def test_the_direction_in_the_scanner_counts(person):
    flipped = AFFINE.copy()
    flipped[1, 1] = -3.0
    person.add("dir-PA_epi", PA | INTENDED, flipped)
    assert "opposite" in problem(person.plan())


def test_nothing_is_planned_without_images(person):
    assert not person.plan().findings


def test_an_unreadable_image_does_not_cost_a_good_pair(person):
    bad = person.add("acq-0_dir-PA_epi", PA | INTENDED)
    lacking = person.add("acq-1_dir-PA_epi", INTENDED)
    good = [person.add("dir-AP_epi", AP | INTENDED), person.add("dir-PA_epi", PA | INTENDED)]
    bad.write_bytes(b"no image")
    plan = person.plan()
    (found,) = plan.fields.values()
    assert list(found.files) == good and len(plan.by_run) == 2
    assert [(f.severity, f.place) for f in plan.findings] == [
        ("warning", str(bad)), ("warning", str(lacking)),
    ]


def test_an_unreadable_image_without_a_pair_is_an_error(person):
    path = person.add("dir-PA_epi", PA | INTENDED)
    path.write_bytes(b"no image")
    assert {f.severity for f in person.plan().findings} == {"error"}


def test_the_first_usable_source_counts(tmp_path):
    person = Person(tmp_path, AP | {"B0FieldSource": ["bad", "absent", "good"]})
    person.add("phasediff", {"B0FieldIdentifier": "bad"})
    person.add("dir-PA_epi", PA | {"B0FieldIdentifier": "good"})
    assert only(person.plan()).name == "good"
    person.images = person.images[:1]
    assert "EchoTime1" in problem(person.plan())


def test_a_field_of_another_session_is_used_with_a_warning(tmp_path):
    person = Person(tmp_path, AP | {"B0FieldSource": "pe"})
    person.runs = [replace(run, session="2") for run in person.runs]
    person.add("ses-1_dir-PA_epi", PA | {"B0FieldIdentifier": "pe"})
    plan = person.plan()
    assert len(plan.by_run) == 2
    assert {(f.severity, "ses-1" in f.why) for f in plan.findings} == {("warning", True)}
    person.runs = [replace(run, session="1") for run in person.runs]
    assert not person.plan().findings


def test_damaged_images_stop_the_call(person):
    path = person.add("dir-PA_epi", PA | INTENDED)
    path.write_bytes(path.read_bytes()[:-30])
    errors = [f for f in person.plan().findings if f.severity == "error"]
    assert errors and path.name in errors[0].what
