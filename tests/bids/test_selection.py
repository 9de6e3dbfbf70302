import nibabel as nib
import numpy as np
import pytest

from bids_decoder.errors import ExitCode


def people(dataset):
    return [person.label for person in dataset.participants]


def listed(toy, rows=(("sub-01", 25, "control"), ("sub-02", 17, "patient"))):
    lines = ["participant_id\tage\tgroup", *("\t".join(map(str, row)) for row in rows)]
    toy.text("participants.tsv", "\n".join(lines) + "\n")


def found(toy, **execution):
    return toy.dataset(execution=execution)


def test_participants_are_chosen_by_columns(toy):
    listed(toy)
    dataset = found(toy, participant_filter=("age>=18",))
    assert people(dataset) == ["01"] and not dataset.findings
    (decision,) = [d for d in dataset.decisions if d.what == "participants"]
    assert decision.value == "1 of 2" and "left out: sub-02" in decision.reason
    assert people(found(toy, participant_filter=("age<99", "group=patient"))) == ["02"]


def test_the_first_row_of_a_participant_counts(toy):
    listed(toy, (("sub-01", 25, "control"), ("sub-02", 17, "patient"), ("01", 3, "patient")))
    assert people(found(toy, participant_filter=("age>=18",))) == ["01"]


def test_misspelt_columns_and_values_get_the_nearest(toy):
    listed(toy)
    for rule, nearest in (("agee>18", "age"), ("group=controls", "control")):
        (finding,) = found(toy, participant_filter=(rule,)).findings
        assert finding.code == ExitCode.USAGE and finding.fix == f"did you mean {nearest}?"


def test_rules_that_nobody_satisfies(toy):
    listed(toy)
    dataset = found(toy, participant_filter=("age>18", "group=patient"))
    codes = {finding.code for finding in dataset.findings}
    assert not dataset.participants and ExitCode.NOTHING_SELECTED in codes


def test_without_the_table_rules_are_an_error(toy):
    (finding,) = found(toy, participant_filter=("age>18",)).findings
    assert finding.code == ExitCode.MISSING_INPUT and "participants.tsv" in finding.why


def test_people_who_are_not_listed_count_as_missing(toy):
    listed(toy, [("sub-01", 25, "control")])
    dataset = found(toy, participant_filter=("age>=18",))
    (finding,) = dataset.findings
    assert people(dataset) == ["01"] and finding.severity == "warning" and "sub-02" in finding.why


def test_what_is_no_rule_is_a_finding(toy):
    listed(toy)
    (finding,) = found(toy, participant_filter=("age",)).findings
    assert finding.code == ExitCode.USAGE and "quotes" in finding.fix


@pytest.fixture
def sessions(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    for sub in ("01", "02"):
        for ses in ("1", "2"):
            bare.run(sub, "1", ses=ses)
    bare.text("sub-01/sub-01_sessions.tsv", "session_id\tpain\nses-1\t3\nses-2\t7\n")
    bare.text("sub-02/sub-02_sessions.tsv", "session_id\tpain\nses-1\t6\nses-2\tn/a\n")
    return bare


def test_sessions_are_chosen_by_columns(sessions):
    dataset = found(sessions, session_filter=("pain>5",))
    assert [(r.subject, r.session) for r in dataset.runs] == [("01", "2"), ("02", "1")]
    dataset = found(sessions, session_filter=("pain=n/a",))
    assert [(r.subject, r.session) for r in dataset.runs] == [("02", "2")]


def test_one_volume_per_person(bare):
    from bids_decoder.analyses.subjects.collect import collect_subjects

    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        image = nib.Nifti1Image(rng.normal(size=(4, 4, 4)).astype(np.float32), np.eye(4))
        path = bare.root / f"sub-{i:02d}/anat/sub-{i:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(image, path)
        rows.append((f"sub-{i:02d}", 10 + i, "ab"[i % 2]))
    listed(bare, rows)
    settings = bare.settings(
        execution={"participant_filter": ("age>=14",)}, subjects={"label_column": "group"},
    )
    collected = collect_subjects(settings)
    assert collected.table["participant"].tolist() == [f"{i:02d}" for i in range(4, 24)]
    assert not [f for f in collected.findings if "without an image" in f.why]
