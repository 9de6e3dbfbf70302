import json

import numpy as np
import pytest

from bids_decoder.bids.collect import select_participants
from bids_decoder.bids.layouts import same_label, strip_prefix
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.preflight import check_dataset
from bids_decoder.errors import (
    ExitCode,
    FindingsError,
    MissingInputError,
    UsageError,
    summarise,
)


def errors(dataset):
    return [f for f in dataset.findings if f.severity == "error"]


def test_toy_dataset_is_collected_whole(toy):
    dataset = toy.dataset()
    assert [p.label for p in dataset.participants] == ["01", "02"]
    assert [r.run_group for r in dataset.participants[0].runs] == [
        "task-see_run-1", "task-see_run-2", "task-see_run-3",
    ]
    run = dataset.participants[0].runs[0]
    assert run.source == "raw" and run.metadata["RepetitionTime"] == 2.0
    assert run.events_file.name == "sub-01_task-see_run-1_events.tsv"
    assert len(dataset.participants[0].t1w_files) == 1 and not dataset.participants[0].fieldmaps
    assert dataset.name == "toy" and not dataset.findings


def test_metadata_is_inherited_and_overridden(toy):
    toy.json("sub-02/func/sub-02_task-see_run-2_bold.json", {"RepetitionTime": 1.5})
    times = [[r.metadata["RepetitionTime"] for r in p.runs] for p in toy.dataset().participants]
    assert times == [[2.0, 2.0, 2.0], [2.0, 1.5, 2.0]]


def test_events_are_inherited_from_the_top(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    for run in "12":
        bare.image(f"sub-01/func/sub-01_task-see_run-{run}_bold.nii.gz")
    bare.events("task-see_events.tsv")
    bare.events("sub-01/func/sub-01_task-see_run-2_events.tsv")
    names = [r.events_file.name for r in bare.dataset().participants[0].runs]
    assert names == ["task-see_events.tsv", "sub-01_task-see_run-2_events.tsv"]


def test_all_participants_are_collected_whatever_was_asked(toy):
    dataset = toy.dataset(execution={"participant_label": ("02",)})
    assert [p.label for p in dataset.participants] == ["01", "02"]
    assert [p.label for p in select_participants(dataset, ["sub-02", "02"])] == ["02"]


def test_unknown_participant_names_those_that_exist(toy):
    with pytest.raises(FindingsError) as caught:
        select_participants(toy.dataset(), ["02", "20", "sub-21"])
    assert caught.value.code == ExitCode.NOTHING_SELECTED
    text = str(caught.value)
    assert "20" in text and "21" in text and "01, 02" in text


def test_selection_by_run_ignores_leading_zeros(toy):
    dataset = toy.dataset(execution={"run_id": ("run-02",)})
    assert {r.run for r in dataset.runs} == {"2"}
    assert same_label("1", "001") and not same_label("a1", "a01")
    assert strip_prefix("sub-sub", "sub") == "sub"


def test_selection_of_nothing_names_what_exists(toy):
    (finding,) = errors(toy.dataset(execution={"task_id": ("hear",)}))
    assert finding.code == ExitCode.NOTHING_SELECTED
    assert "hear" in finding.what and "see" in finding.why


def test_folder_that_is_no_dataset(toy):
    toy.root = toy.root / "sub-01"
    top = toy.root.parent
    fix = errors(toy.dataset())[0].fix
    assert "top folder of a dataset" in fix and f"{top} may be one" in fix


def test_folder_that_holds_a_dataset(toy):
    inside, toy.root = toy.root, toy.root.parent
    assert f"{inside} may be one" in errors(toy.dataset())[0].fix


def test_sessions_are_selected_but_anatomy_is_kept(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.image("sub-01/ses-anat/anat/sub-01_ses-anat_T1w.nii.gz", (4, 4, 4))
    for session in ("2", "10"):
        bare.run(ses=session)
    person = bare.dataset().participants[0]
    assert [r.session for r in person.runs] == ["2", "10"]
    person = bare.dataset(execution={"session_id": ("ses-10",)}).participants[0]
    assert [r.session for r in person.runs] == ["10"] and len(person.t1w_files) == 1


def test_filter_file_with_null_and_star(toy, tmp_path):
    toy.image("sub-01/func/sub-01_task-see_acq-hi_run-1_bold.nii.gz")
    toy.events("sub-01/func/sub-01_task-see_acq-hi_run-1_events.tsv")
    both = toy.dataset().participants[0].runs
    assert [r.run_group for r in both] == [
        "task-see_run-1", "task-see_run-1_acq-hi", "task-see_run-2", "task-see_run-3",
    ]
    for value, n_runs in ((None, 3), ("*", 1)):
        path = tmp_path / "filter.json"
        path.write_text(json.dumps({"bold": {"acquisition": value}}))
        dataset = toy.dataset(execution={"bids_filter_file": path})
        assert len(dataset.participants[0].runs) == n_runs


@pytest.mark.parametrize("content", [
    "{", "[]", '{"bold": 1}', '{"bold": {"nonsense": "x"}}', '{"bolt": {"run": "1"}}',
])
def test_wrong_filter_file_is_a_usage_error(toy, tmp_path, content):
    path = tmp_path / "filter.json"
    path.write_text(content)
    with pytest.raises(UsageError):
        toy.dataset(execution={"bids_filter_file": path})


def test_database_is_built_once_and_reopened(toy, tmp_path):
    place = {"bids_database_dir": tmp_path / "db"}
    first = toy.dataset(execution=place)
    index = tmp_path / "db" / "layout_index.sqlite"
    written = index.stat().st_mtime_ns
    again = toy.dataset(execution=place)
    assert index.stat().st_mtime_ns == written
    assert again.runs == first.runs


def test_database_of_another_place_is_built_anew(toy, tmp_path):
    place = {"bids_database_dir": tmp_path / "db"}
    toy.dataset(execution=place)
    moved = tmp_path / "moved"
    toy.root.rename(moved)
    toy.root = moved
    assert all(r.bold_file.is_relative_to(moved) for r in toy.dataset(execution=place).runs)


def test_runs_without_events_are_left_out_and_said(toy):
    toy.image("sub-01/func/sub-01_task-rest_bold.nii.gz")
    dataset = toy.dataset()
    assert {r.task for r in dataset.runs} == {"see"}
    (finding,) = dataset.findings
    assert finding.severity == "warning" and "rest" in finding.what


def test_dataset_without_any_events_is_an_error(bare):
    bare.image("sub-01/func/sub-01_task-rest_bold.nii.gz")
    assert errors(bare.dataset())[0].code == ExitCode.MISSING_INPUT


def test_several_tasks_need_a_choice(toy):
    toy.run("01", "1", task="hear")
    (finding,) = errors(toy.dataset())
    assert "-t" in finding.fix and "hear" in finding.why and "see" in finding.why
    assert not errors(toy.dataset(execution={"task_id": ("see",)}))
    assert not errors(toy.dataset(execution={"task_id": ("see", "hear")}))


def test_dead_links_do_not_stop_the_reader(toy):
    for name in ("_bold.nii.gz", "_bold.json"):
        link = toy.root / f"sub-01/func/sub-01_task-see_run-4{name}"
        link.symlink_to(f"/nowhere/{name}")
    (toy.root / "sub-03").symlink_to("/nowhere/z")
    toy.events("sub-01/func/sub-01_task-see_run-4_events.tsv")
    assert len(toy.dataset().participants[0].runs) == 4


def test_a_copy_of_a_participants_folder_is_not_read(toy):
    toy.image("sub-01_old/func/sub-01_task-see_run-1_bold.nii.gz")
    assert len(toy.dataset().participants[0].runs) == 3


def test_phase_images_are_not_taken_for_bold(toy):
    toy.image("sub-01/func/sub-01_task-see_run-1_part-phase_bold.nii.gz")
    assert len(toy.dataset().participants[0].runs) == 3


def test_two_images_of_one_run_are_an_error(toy):
    toy.image("sub-01/func/sub-01_task-see_run-1_bold.nii")
    (finding,) = errors(toy.dataset())
    assert finding.participant == "01" and "same run" in finding.why


def test_leading_zeros_make_no_other_run(toy):
    toy.run("01", "01")
    (finding,) = errors(toy.dataset())
    assert finding.participant == "01" and "same run" in finding.why


def test_empty_description_is_not_called_absent(toy):
    toy.json("dataset_description.json", {})
    (finding,) = toy.dataset().findings
    assert "is empty" in finding.why


def test_broken_sidecar_is_named(toy):
    toy.text("sub-01/func/sub-01_task-see_run-1_bold.json", "{")
    toy.text("sub-02/func/sub-02_task-see_run-1_bold.json", "[1, 2]")
    found = errors(toy.dataset())
    assert [f.what.rpartition("/")[2] for f in found] == [
        "sub-01_task-see_run-1_bold.json", "sub-02_task-see_run-1_bold.json",
    ]
    assert [f.participant for f in found] == ["01", "02"]
    assert "JSON" in found[0].why and "no JSON object" in found[1].why


def test_absent_dataset(bare, tmp_path):
    bare.root = tmp_path / "absent"
    with pytest.raises(MissingInputError):
        bare.dataset()


def test_names_of_outputs_follow_from_the_run(toy, tmp_path):
    toy.image("sub-01/func/sub-01_task-see_acq-hi_rec-a_dir-AP_run-1_bold.nii.gz")
    toy.events("sub-01/func/sub-01_task-see_acq-hi_rec-a_dir-AP_run-1_events.tsv")
    paths = {
        derivative_path(tmp_path, "betaseries", **r.name_entities)
        for r in toy.dataset().participants[0].runs
    }
    name = "sub-01_task-see_acq-hi_rec-a_dir-AP_run-1_desc-singletrial_betaseries.nii.gz"
    assert len(paths) == 4 and name in {p.name for p in paths}


@pytest.fixture
def fmriprep(toy):
    """Derivatives of the toy dataset: native grids differ, T1w and MNI grids do not."""
    shift = np.diag([3.0, 3.0, 3.0, 1.0])
    for sub in ("01", "02"):
        toy.image(f"../fp/sub-{sub}/anat/sub-{sub}_desc-preproc_T1w.nii.gz", (4, 4, 4))
        toy.image(f"../fp/sub-{sub}/anat/sub-{sub}_desc-brain_mask.nii.gz", (4, 4, 4))
        toy.image(f"../fp/sub-{sub}/anat/sub-{sub}_space-MNI_desc-preproc_T1w.nii.gz", (4, 4, 4))
        for run in "123":
            stem = f"../fp/sub-{sub}/func/sub-{sub}_task-see_run-{run}"
            for space in ("", "_space-T1w", "_space-MNI152NLin2009cAsym_res-2"):
                affine = shift.copy()
                affine[0, 3] = float(run) if not space else 0.0
                toy.image(f"{stem}{space}_desc-preproc_bold.nii.gz", affine=affine)
                toy.image(f"{stem}{space}_desc-brain_mask.nii.gz", SHAPE3, affine=affine)
                reference = space or "_desc-coreg"
                toy.image(f"{stem}{reference}_boldref.nii.gz", SHAPE3, affine=affine)
                toy.json(f"{stem}{space}_desc-preproc_bold.json", {
                    "RepetitionTime": 2.0, "StartTime": 0.9, "SliceTimingCorrected": True,
                })
            toy.text(f"{stem}_desc-confounds_timeseries.tsv", "trans_x\n0\n")
    return toy


SHAPE3 = (4, 4, 3)


def given(toy):
    return {"derivatives": {"fmriprep": toy.root.parent / "fp"}}


def test_fmriprep_derivatives(fmriprep):
    dataset = fmriprep.dataset(execution=given(fmriprep))
    person = dataset.participants[0]
    run = person.runs[0]
    assert dataset.source == run.source == "fmriprep"
    # Native grids differ between runs, so the default "func" gives way to T1w.
    assert run.entities["space"] == "T1w" and run.metadata["StartTime"] == 0.9
    assert [d.value for d in dataset.decisions if d.what == "decoding space"] == ["T1w"]
    assert run.mask_file.name == "sub-01_task-see_run-1_space-T1w_desc-brain_mask.nii.gz"
    assert run.boldref_file.name == "sub-01_task-see_run-1_space-T1w_boldref.nii.gz"
    assert run.confounds_file.name == "sub-01_task-see_run-1_desc-confounds_timeseries.tsv"
    assert run.events_file.is_relative_to(fmriprep.root)
    assert run.run_group == "task-see_run-1" and run.name_entities["space"] == "T1w"
    assert person.preproc_t1w.name == "sub-01_desc-preproc_T1w.nii.gz"
    assert person.anat_mask.name == "sub-01_desc-brain_mask.nii.gz"


@pytest.mark.parametrize(("wanted", "space"), [
    ("MNI152NLin2009cAsym:res-2", "MNI152NLin2009cAsym"),
    ("MNI152NLin2009cAsym", "MNI152NLin2009cAsym"), ("T1w", "T1w"), ("MNI305", "T1w"),
])
def test_output_spaces_choose(fmriprep, wanted, space):
    dataset = fmriprep.dataset(
        execution=given(fmriprep), preprocessing={"output_spaces": (wanted,)},
    )
    assert {r.entities["space"] for r in dataset.runs} == {space}


def test_native_space_is_taken_where_grids_agree(fmriprep):
    for path in (fmriprep.root.parent / "fp").rglob("*_run-?_desc-preproc_bold.nii.gz"):
        fmriprep.image(path)
    run = fmriprep.dataset(execution=given(fmriprep)).runs[0]
    assert "space" not in run.entities
    assert run.boldref_file.name == "sub-01_task-see_run-1_desc-coreg_boldref.nii.gz"


def test_unknown_derivatives_are_said(toy, tmp_path):
    with pytest.raises(FindingsError) as caught:
        toy.dataset(execution={"derivatives": {"other": tmp_path}})
    (finding,) = caught.value.findings
    assert finding.code == ExitCode.USAGE and "fmriprep=PATH, betas=PATH" in finding.fix


def betas_of(toy, folder="../betas"):
    for sub in ("01", "02"):
        for run in "12":
            stem = f"{folder}/sub-{sub}/func/sub-{sub}_task-see_run-{run}_desc-singletrial"
            toy.image(f"{stem}_betaseries.nii.gz", (4, 4, 3, 4))
            toy.events(f"{stem}_trials.tsv", [(i, "ab"[i % 2]) for i in range(1, 5)],
                       columns=("trial", "trial_type"))


def test_betas_beside_a_raw_dataset(toy):
    betas_of(toy)
    dataset = toy.dataset(execution={"derivatives": {"betas": toy.root.parent / "betas"}})
    run = dataset.runs[0]
    assert dataset.source == run.source == "betas"
    assert run.events_file.name == "sub-01_task-see_run-1_events.tsv"
    assert run.trials_file.name == "sub-01_task-see_run-1_desc-singletrial_trials.tsv"
    assert len(dataset.participants[0].t1w_files) == 1


def test_betas_as_the_dataset_itself(bare):
    betas_of(bare, ".")
    assert bare.dataset().source == "betas" and len(bare.dataset().runs) == 4


def test_betas_without_table_are_an_error(bare):
    betas_of(bare, ".")
    next(bare.root.rglob("*run-2*_trials.tsv")).unlink()
    (found,) = errors(bare.dataset())
    assert found.code == ExitCode.MISSING_INPUT
    assert "found: sub-" in found.why


def test_trial_table_need_not_name_the_space(bare):
    betas_of(bare, ".")
    for path in bare.root.rglob("*_betaseries.nii.gz"):
        path.rename(path.with_name(path.name.replace("_desc-", "_space-MNI_desc-")))
    run = bare.dataset().runs[0]
    assert run.entities["space"] == "MNI"
    assert run.trials_file.name == "sub-01_task-see_run-1_desc-singletrial_trials.tsv"
    assert len(bare.build().tables) == 2
    own = run.trials_file.with_name(run.image_file.name.replace("betaseries.nii.gz", "trials.tsv"))
    own.write_bytes(run.trials_file.read_bytes())
    assert bare.dataset().runs[0].trials_file == own


def test_no_trial_table_at_all_is_said_with_every_image(bare):
    betas_of(bare, ".")
    for path in bare.root.rglob("*_trials.tsv"):
        path.unlink()
    dataset, build = bare.dataset(), bare.build()
    found = check_dataset(dataset, build, dataset.participants, bare.settings())
    assert [f.code for f in found if f.severity == "error"] == [ExitCode.MISSING_INPUT] * 4
    assert not any("beside this" in str(f) for f in found)
    (joined,) = summarise(found, "-v")
    assert "no table of trials belongs to it" in joined.why and "and 1 more" in joined.what


def test_two_sources_of_responses_are_refused(fmriprep):
    betas_of(fmriprep)
    both = {"derivatives": {"fmriprep": fmriprep.root.parent / "fp",
                            "betas": fmriprep.root.parent / "betas"}}
    (found,) = errors(fmriprep.dataset(execution=both))
    assert found.code == ExitCode.USAGE and "one is used" in found.why


def renamed(root, old, new):
    for path in sorted(root.rglob(f"*{old}*"), key=lambda p: -len(p.parts)):
        path.rename(path.with_name(path.name.replace(old, new)))


@pytest.mark.parametrize(("old", "new"), [
    ("_run-", "_run-0"), ("sub-01", "sub-1"), ("task-see", "task-see_acq-02"),
])
def test_padding_makes_no_other_run(fmriprep, old, new):
    derived = fmriprep.root.parent / "fp"
    if "acq" in new:
        renamed(fmriprep.root, "task-see_run", "task-see_acq-2_run")
    renamed(derived, old, new)
    for path in derived.rglob("*_desc-preproc_bold.json"):
        path.write_text("{}")
    dataset = fmriprep.dataset(execution=given(fmriprep))
    assert not dataset.findings
    assert len(dataset.runs) == 6 and all(run.events_file for run in dataset.runs)
    assert {run.sidecar_t_r for run in dataset.runs} == {2.0}
    next(derived.rglob("*run*2*space-T1w_desc-preproc_bold.nii.gz")).unlink()
    for path in derived.rglob("*run*3*bold.nii.gz"):
        path.unlink()
    whats = [f.what for f in fmriprep.dataset(execution=given(fmriprep)).findings]
    assert "2 run(s) are not in the derivatives" in whats


@pytest.mark.parametrize(("keep", "extra", "why", "fix"), [
    ("*_boldref.nii.gz", "from-boldref_to-T1w_mode-image_xfm.txt", "boldref images, 1 transforms",
     "--level full"),
    ("", "hemi-R_space-fsaverage_bold.func.gii", "surface series", "volumetric space"),
    ("", "desc-confounds_timeseries.tsv", "no functional file", "output folder of fMRIPrep"),
])
def test_output_of_fmriprep_without_volumes_is_explained(fmriprep, keep, extra, why, fix):
    derived = fmriprep.root.parent / "fp"
    for path in [p for p in derived.rglob("*") if p.is_file() and "anat" not in p.parts]:
        if not keep or not path.match(keep):
            path.unlink()
    fmriprep.text(f"../fp/sub-01/func/sub-01_task-see_run-1_{extra}", "x")
    (found,) = errors(fmriprep.dataset(execution=given(fmriprep)))
    assert found.code == ExitCode.MISSING_INPUT
    assert why in found.why and fix in found.fix


@pytest.mark.parametrize(("name", "tasks", "n_runs", "n_t1w"), [
    ("openneuro-text/ds000105", (), [12, 12], [1, 1]),
    ("openneuro-text/ds001246", ("perception",), [20], [1]),
    ("openneuro-text/ds001499", (), [20, 10], [2, 0]),
    ("openneuro-text/ds004192", (), [20, 10], [0, 0]),
    ("haxby-1slice", (), [12], [0]),
    ("localizer", (), [1], [1]),
    ("raider-betas", (), [8] * 6, [0] * 6),
])
def test_real_datasets(shared_data, name, tasks, n_runs, n_t1w):
    dataset = shared_data(name).dataset(execution={"task_id": tasks})
    assert [len(p.runs) for p in dataset.participants] == n_runs
    assert [len(p.t1w_files) for p in dataset.participants] == n_t1w
    assert not errors(dataset)


def test_a_task_without_any_events_may_be_rest(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.json("task-rest_bold.json", {"RepetitionTime": 2.0})
    bare.run(run="1")
    bare.image("sub-01/func/sub-01_task-rest_bold.nii.gz")
    bare.image("sub-01/func/sub-01_task-see_run-2_bold.nii.gz")
    found = {f.what.split()[-3]: f for f in bare.dataset().findings if "left out" in f.what}
    assert "no run of this task has one" in found["rest"].why
    assert "nothing needs to be done" in found["rest"].fix
    assert "1 run(s) of this task have one" in found["see"].why
    assert found["see"].fix.startswith("add the events")
