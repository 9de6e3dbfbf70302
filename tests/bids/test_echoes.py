"""Multi-echo runs: joined, chosen, and refused where echoes do not fit together."""

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from bids_decoder.bids import echoes
from bids_decoder.bids.echo_settings import MultiEcho
from bids_decoder.bids.inputs import input_digests

TIMES = (0.012, 0.028, 0.044)


def write_echoes(skeleton, run="1", times=TIMES, **image):
    stem = f"sub-01/func/sub-01_task-see_run-{run}"
    skeleton.events(f"{stem}_events.tsv")
    for number, time in enumerate(times, start=1):
        name = f"{stem}_echo-{number}_bold"
        skeleton.image(f"{name}.nii.gz", **image)
        skeleton.json(f"{name}.json", {} if time is None else {"EchoTime": time})


@pytest.fixture
def multi(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0, "TaskName": "see"})
    for run in "12":
        write_echoes(bare, run)
    return bare


def errors(dataset):
    return [finding for finding in dataset.findings if finding.severity == "error"]


def chosen(dataset, what):
    return [decision.value for decision in dataset.decisions if decision.what == what]


def test_echoes_of_a_run_become_one_run(multi):
    dataset = multi.dataset()
    assert not errors(dataset)
    first, second = dataset.runs
    assert [echo.time for echo in first.echoes] == list(TIMES)
    names = [path.name for path in first.image_files]
    assert names == [f"sub-01_task-see_run-1_echo-{n}_bold.nii.gz" for n in "123"]
    assert first.bold_file == first.image_files[0]
    assert first.entities == {} and "EchoTime" not in first.metadata
    assert first.metadata["RepetitionTime"] == 2.0 and first.events_file is not None
    assert (first.run_group, second.run_group) == ("task-see_run-1", "task-see_run-2")
    assert chosen(dataset, "echoes") == ["2 run(s) with echo times of 12, 28, 44 ms"]


def test_echo_ten_comes_after_echo_two(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    write_echoes(bare, times=[0.005 * n for n in range(1, 11)])
    (run,) = bare.dataset().runs
    assert [path.name.split("_")[3] for path in run.image_files] == [
        f"echo-{n}" for n in range(1, 11)
    ]


def test_one_echo_is_chosen(multi):
    dataset = multi.dataset(multiecho={"echo": 2})
    assert not errors(dataset)
    assert [run.entities for run in dataset.runs] == [{"echo": "2"}] * 2
    assert dataset.runs[0].echoes == () and dataset.runs[0].metadata["EchoTime"] == 0.028


@pytest.mark.parametrize("fixture", ["multi", "toy"])
def test_an_echo_that_is_not_there_is_refused(fixture, request):
    dataset = request.getfixturevalue(fixture).dataset(multiecho={"echo": 4})
    (finding,) = errors(dataset)
    assert finding.what == "--echo 4"
    assert ("found: 1 2 3" if fixture == "multi" else "no run has several") in finding.why


@pytest.mark.parametrize(("times", "words"), [
    ((0.012, None, 0.044), "absent or not in seconds"),
    ((12, 28, 44), "absent or not in seconds"),
    ((0.012, "0.028", 0.044), "absent or not in seconds"),
    ((0.012, 0.012, 0.044), "does not rise"),
    ((0.044, 0.028, 0.012), "does not rise"),
    ((0.012, 0.028), "at least 3"),
])
def test_echo_times_that_cannot_be_fitted_are_refused(bare, times, words):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    write_echoes(bare, times=times)
    (finding,) = errors(bare.dataset())
    assert words in finding.why and finding.participant == "01"


def test_an_absent_echo_is_named(multi):
    for name in multi.root.rglob("*run-2_echo-2_bold.*"):
        name.unlink()
    (finding,) = errors(multi.dataset())
    assert "run-2" in finding.what and finding.why.startswith("echo 2 is absent")


def test_only_the_first_echo_of_a_run_is_no_single_echo_run(multi):
    for number in "23":
        for name in multi.root.rglob(f"*run-2_echo-{number}_bold.*"):
            name.unlink()
    (finding,) = errors(multi.dataset())
    assert finding.why.startswith("echo 2 3 is absent")


def test_combined_image_is_used_instead_of_its_echoes(multi):
    """Otherwise one run would be two, on both sides of the split."""
    for run in "12":
        multi.image(f"sub-01/func/sub-01_task-see_run-{run}_bold.nii.gz")
    dataset = multi.dataset()
    assert not errors(dataset)
    assert [run.entities for run in dataset.runs] == [{}, {}]
    assert chosen(dataset, "echoes") == ["the combined image of 2 run(s)"]


def derive(skeleton, *echoes_):
    for echo in echoes_:
        name = f"sub-01/func/sub-01_task-see_run-1{echo}_desc-preproc_bold.nii.gz"
        skeleton.image(f"derivatives/fmriprep/{name}")
        mask = name.replace("preproc_bold", "brain_mask")
        skeleton.image(f"derivatives/fmriprep/{mask}", (4, 4, 3))
    skeleton.json(
        "derivatives/fmriprep/dataset_description.json",
        {"Name": "fMRIPrep", "BIDSVersion": "1.10.0", "DatasetType": "derivative"},
    )
    return {"derivatives": {"fmriprep": skeleton.root / "derivatives/fmriprep"}}


def test_derivatives_of_echoes_are_left_out_beside_the_combined_one(multi):
    dataset = multi.dataset(execution=derive(multi, "", "_echo-1", "_echo-2", "_echo-3"))
    assert not errors(dataset)
    assert [run.entities for run in dataset.runs] == [{}]


def derive_in_template(skeleton):
    """Write what fMRIPrep writes for ``--me-output-echos --output-spaces MNI…``."""
    execution = derive(
        skeleton, "_space-MNI152NLin2009cAsym", *(f"_echo-{number}" for number in "123")
    )
    func = skeleton.root / "derivatives/fmriprep/sub-01/func"
    for mask in func.glob("*_echo-*_mask.nii.gz"):
        mask.unlink()
    stem = "derivatives/fmriprep/sub-01/func/sub-01_task-see_run-1_desc-"
    skeleton.image(f"{stem}brain_mask.nii.gz", (4, 4, 3))
    skeleton.image(f"{stem}coreg_boldref.nii.gz", (4, 4, 3))
    skeleton.text(f"{stem}confounds_timeseries.tsv", "rot_x\n0\n")
    return execution


def test_combined_derivatives_in_a_template_are_used_instead_of_native_echoes(multi):
    dataset = multi.dataset(execution=derive_in_template(multi))
    assert not errors(dataset)
    assert [run.entities for run in dataset.runs] == [{"space": "MNI152NLin2009cAsym"}]
    assert not [f for f in dataset.findings if "without an image in space" in f.what]


def test_an_echo_of_derivatives_has_the_files_of_its_run(multi):
    dataset = multi.dataset(execution=derive_in_template(multi), multiecho={"echo": 2})
    (run,) = dataset.runs
    assert run.entities == {"echo": "2"}
    names = [path.name for path in (run.mask_file, run.boldref_file, run.confounds_file)]
    assert names == [f"sub-01_task-see_run-1_desc-{name}" for name in (
        "brain_mask.nii.gz", "coreg_boldref.nii.gz", "confounds_timeseries.tsv",
    )]


def test_derivatives_of_echoes_alone_need_a_choice(multi):
    execution = derive(multi, "_echo-1", "_echo-2", "_echo-3")
    (finding,) = errors(multi.dataset(execution=execution))
    assert "only raw echoes are combined" in finding.why and "--echo" in finding.fix
    dataset = multi.dataset(execution=execution, multiecho={"echo": 2})
    assert not errors(dataset) and dataset.runs[0].entities == {"echo": "2"}


@pytest.mark.parametrize("image", [{"shape": (4, 4, 3, 39)}, {"shape": (4, 4, 2, 40)}])
def test_echoes_of_other_shape_are_refused(multi, image):
    multi.image("sub-01/func/sub-01_task-see_run-2_echo-3_bold.nii.gz", **image)
    found = [f for f in multi.check() if f.severity == "error"]
    assert [Path(f.what).name for f in found] == ["sub-01_task-see_run-2_echo-3_bold.nii.gz"]
    assert "first echo" in found[0].why


def test_damage_of_a_later_echo_is_found(multi):
    path = multi.root / "sub-01/func/sub-01_task-see_run-1_echo-3_bold.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    found = [f for f in multi.check() if f.severity == "error"]
    assert len(found) == 1 and "echo-3" in found[0].what


def test_a_later_echo_without_content_is_found(multi):
    path = multi.root / "sub-01/func/sub-01_task-see_run-1_echo-2_bold.nii.gz"
    path.unlink()
    path.symlink_to("/nowhere/image")
    (finding,) = [f for f in multi.check() if f.severity == "error"]
    assert "without content" in finding.what and "echo-2" in finding.why


def test_content_and_time_of_every_echo_count(multi):
    def digests():
        return input_digests(multi.dataset().participants[0])["runs"]["task-see_run-1"]

    before = digests()
    multi.image("sub-01/func/sub-01_task-see_run-1_echo-3_bold.nii.gz")
    changed = digests()
    assert changed["echoes"][:2] == before["echoes"][:2]
    assert changed["echoes"][2] != before["echoes"][2]
    multi.json("sub-01/func/sub-01_task-see_run-1_echo-3_bold.json", {"EchoTime": 0.05})
    assert digests()["echoes"][2] == (0.05, changed["echoes"][2][1])


def test_phase_images_are_left_out_and_named(multi):
    for number in "123":
        multi.image(f"sub-01/func/sub-01_task-see_run-1_echo-{number}_part-phase_bold.nii.gz")
    dataset = multi.dataset()
    assert len(dataset.runs[0].echoes) == 3
    assert chosen(dataset, "complex data") == ["6 magnitude image(s) are used"]


def test_library_is_asked_for_only_where_echoes_are_combined(multi, monkeypatch):
    people = multi.dataset().participants
    monkeypatch.setattr(echoes, "find_spec", lambda name: ModuleSpec(name, None))
    assert echoes.check_library(people, MultiEcho()) == []
    monkeypatch.setattr(echoes, "find_spec", lambda name: None)
    (finding,) = echoes.check_library(people, MultiEcho())
    assert finding.what == "2 multi-echo run(s)" and "[multiecho]" in finding.fix
    single = multi.dataset(multiecho={"echo": 1}).participants
    assert echoes.check_library(single, MultiEcho()) == []


def test_decomposition_needs_echoes_and_two_packages(multi, monkeypatch):
    people, rules = multi.dataset().participants, MultiEcho(tedana=True)
    monkeypatch.setattr(
        echoes, "find_spec", lambda name: None if name == "six" else ModuleSpec(name, None)
    )
    assert echoes.check_library(people, MultiEcho()) == []
    (finding,) = echoes.check_library(people, rules)
    assert "package six, which --tedana needs" in finding.why and finding.code == 66
    single = multi.dataset(multiecho={"echo": 1}).participants
    (finding,) = echoes.check_library(single, rules)
    assert finding.what == "--tedana" and finding.code == 64
