import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.glm.first_level import FirstLevelModel

from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.config import Glm
from bids_decoder.errors import InputError, UsageError
from bids_decoder.glm.design import Timing, trial_regressors
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.interfaces.contrasts import ConditionContrast
from bids_decoder.interfaces.glm import SingleTrialGLM
from bids_decoder.trials import TRIAL_COLUMNS

LOCALIZER = Path(__file__).resolve().parents[2] / "../shared/data/localizer/sub-02/func"
SHAPE, AFFINE = (6, 5, 4), np.diag([3.0, 3, 3, 1])
LABELS = np.array(["face", "house", "cat"])


def trial_table(onsets, labels, run, split="train", duration=2.0):
    table = pd.DataFrame({name: ["n/a"] * len(onsets) for name in TRIAL_COLUMNS})
    return table.assign(
        trial=np.arange(1, len(onsets) + 1), onset=onsets, duration=duration, task="see", run=run,
        run_group=f"task-see_run-{run}", stimulus=[f"{name}.png" for name in labels],
        label=labels, split=split, excluded=False,
    )


def make_person(folder, t_r=(2.0, 1.0), seed=0):
    """Two runs of different repetition time; face voxels in one half, house in the other."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:, :, :] = 1
    nib.save(nib.Nifti1Image(mask, AFFINE), folder / "mask.nii.gz")
    inputs = {"bold_files": [], "trials_files": [], "confounds_files": []}
    truth = []
    for number, seconds in enumerate(t_r, start=1):
        timing = Timing(int(240 / seconds), seconds)
        onsets = np.arange(8.0, 215, 9.0)
        labels = rng.permutation(np.resize(LABELS, onsets.size))
        height = np.zeros((*SHAPE, onsets.size))
        height[:3, ..., labels == "face"] = 2.0
        height[3:, ..., labels == "house"] = 2.0
        response = trial_regressors(onsets, np.full(onsets.size, 2.0), timing, get_hrf("spm"))
        noise = 0.3 * rng.standard_normal((*SHAPE, timing.n_scans))
        bold = 500 * (1 + (height @ response.T + noise) / 100)
        bold[5, 4, 3] = 500.0
        bold[5, 4, 2, number] = np.nan
        stem = folder / f"run-{number}"
        nib.save(nib.Nifti1Image(bold.astype(np.float32), AFFINE), f"{stem}_bold.nii.gz")
        save_table(Path(f"{stem}_trials.tsv"), trial_table(onsets, labels, number))
        motion = rng.standard_normal((timing.n_scans, 6)) * 0.01
        names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
        save_table(Path(f"{stem}_confounds.tsv"), pd.DataFrame(motion, columns=names))
        for key, end in (("bold", "bold.nii.gz"), ("trials", "trials.tsv"),
                         ("confounds", "confounds.tsv")):
            inputs[f"{key}_files"].append(f"{stem}_{end}")
        truth.append(height[mask > 0].T)
    inputs.update(mask_file=str(folder / "mask.nii.gz"), t_r=list(t_r), start_time=[0.0, 0.0])
    return inputs, truth


def run_node(node, inputs, cwd, **settings):
    cwd.mkdir(exist_ok=True)
    glm = dataclasses.asdict(Glm(**settings))
    return node(**inputs, settings=glm).run(cwd=str(cwd)).outputs


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    folder = tmp_path_factory.mktemp("person")
    return (*make_person(folder), folder)


@pytest.fixture(scope="module")
def outputs(person):
    return run_node(SingleTrialGLM, person[0], person[2] / "node")


def test_responses_mask_and_tables(person, outputs):
    inputs, truth, folder = person
    mask = nib.load(outputs.glm_mask).get_fdata() > 0
    given = nib.load(inputs["mask_file"]).get_fdata() > 0
    assert mask.sum() == given.sum() - 2
    assert not mask[5, 4, 3] and not mask[5, 4, 2]
    for number in range(2):
        image = nib.load(outputs.betaseries[number])
        table = read_table(Path(outputs.trials[number]))
        assert image.get_data_dtype() == np.float32
        assert image.shape == (*SHAPE, len(table))
        data = image.get_fdata()
        assert np.isfinite(data).all()
        assert not data[~mask].any()
        found, expected = data[mask], truth[number].T[mask[given]]
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.85
        assert found[expected > 0].mean() == pytest.approx(2.0, abs=0.3)
        assert list(table.columns) == list(TRIAL_COLUMNS)
    assert sorted(p.name for p in (folder / "node").glob("tmp*")) == []


def test_sidecars_and_maps(outputs):
    first = outputs.betaseries_metadata[0]
    assert first["SkullStripped"] is True
    assert first["Estimator"] == "ridge" and first["HRF"] == "spm"
    assert [m["RepetitionTime"] for m in outputs.betaseries_metadata] == [2.0, 1.0]
    assert "trans_x" in first["Confounds"]
    stats = [entities["stat"] for entities in outputs.statmaps_entities]
    assert stats == ["rsquare", "reliability", "noiseceiling", "responseratio"]
    reliability = nib.load(outputs.statmaps[1]).get_fdata()
    mask = nib.load(outputs.glm_mask).get_fdata() > 0
    assert np.median(reliability[mask]) > 0.8
    assert not reliability[~mask].any()
    notes = json.loads(Path(outputs.notes).read_text())["Notes"]
    assert any(note.startswith("2 of") for note in notes)


def edited(inputs, folder, edit):
    files = []
    for number, path in enumerate(inputs["trials_files"]):
        table = read_table(Path(path))
        files.append(str(save_table(folder / f"edited-{number}.tsv", edit(table))))
    return {**inputs, "trials_files": files}


def test_excluded_trials_keep_their_row_and_lost_ones_are_zero(person, tmp_path):
    inputs, _, _ = person

    def edit(table):
        table.loc[2, ["excluded", "reason"]] = ["True", "no answer"]
        table.loc[4, "onset"] = None
        table.loc[5, "onset"] = "9999"
        table.loc[6, ["onset", "excluded", "reason"]] = ["9999", "True", "scanner stopped"]
        return table

    got = run_node(SingleTrialGLM, edited(inputs, tmp_path, edit), tmp_path / "node")
    data = nib.load(got.betaseries[0]).get_fdata()
    table = read_table(Path(got.trials[0]))
    assert data[..., 2].any()
    assert not data[..., [4, 5, 6]].any()
    assert table["excluded"].tolist()[:7] == [
        "False", "False", "True", "False", "True", "True", "True"]
    assert table["reason"].tolist()[2:7] == [
        "no answer", None, "no onset", "no response within the run", "scanner stopped"]


def test_censored_volumes_and_their_trials_are_counted_and_lost_ones_are_excluded(person, tmp_path):
    """The second run moves from 79 to 101 s: of the trial at 80 s no volume is left."""
    inputs, _, _ = person
    paths = []
    for number, path in enumerate(inputs["confounds_files"]):
        table = read_table(Path(path)).astype(float)
        table["non_steady_state_outlier00"] = (np.arange(len(table)) == 0).astype(float)
        moved = [20] if number == 0 else range(78, 126)
        for k, row in enumerate(moved):
            table[f"motion_outlier{k:02d}"] = (np.arange(len(table)) == row).astype(float)
        paths.append(str(save_table(tmp_path / f"{number}.tsv", table)))
    found = run_node(SingleTrialGLM, {**inputs, "confounds_files": paths}, tmp_path / "node",
                     confounds=("motion", "motion_outlier*"))
    counts = [m["Censored"] for m in found.betaseries_metadata]
    # The volume at 40 s is within 8 s after the end of the trial at 35 s only.
    assert counts[0] == {"Volumes": 120, "BeforeSteadyState": 1, "Motion": 1, "Trials": 1}
    assert counts[1]["Motion"] == 48 and counts[1]["Trials"] > 4
    first, second = (read_table(Path(path)) for path in found.trials)
    assert set(first["excluded"]) == {"False"}
    lost = second[second["reason"] == "volumes of the response are censored"]
    assert set(lost["onset"].astype(float)) == {80.0, 89.0} and set(lost["excluded"]) == {"True"}
    assert (second["excluded"] == "True").sum() == len(lost)


def test_own_regressors_are_in_the_model(person, tmp_path):
    inputs, _, _ = person
    own = []
    for number, path in enumerate(inputs["confounds_files"]):
        heart = np.sin(np.arange(len(read_table(Path(path)))))
        own.append(str(save_table(tmp_path / f"{number}.tsv", pd.DataFrame({"heart": heart}))))
    given = {key: value for key, value in inputs.items() if key != "confounds_files"}
    found = run_node(SingleTrialGLM, {**given, "regressors_files": own}, tmp_path / "node",
                     confounds=("/physio",))
    assert all("own_heart" in m["Confounds"] for m in found.betaseries_metadata)


def test_cross_validation_tunes_without_labels_and_says_so(person, tmp_path):
    inputs = edited(person[0], tmp_path, lambda table: table.assign(split="cv"))
    got = run_node(SingleTrialGLM, inputs, tmp_path / "node", estimator="glmsingle")
    notes = " ".join(json.loads(Path(got.notes).read_text())["Notes"])
    assert "0 of 46 trials take part in tuning that looks at repeats" in notes
    assert "without labels, over 46 of 46 trials" in notes
    assert "not to be used for choosing voxels" in notes


def test_tuning_choices_are_written_as_maps(person, tmp_path):
    got = run_node(SingleTrialGLM, person[0], tmp_path / "node", estimator="glmsingle")
    stats = {entities["stat"] for entities in got.statmaps_entities}
    assert {"hrf", "fraction"} <= stats


def test_contrast_finds_the_halves_and_agrees_with_nilearn(person, tmp_path):
    inputs, _, _ = person
    # One repetition time: nilearn's own designs allow no other.
    single = {k: v[:1] if isinstance(v, list) else v for k, v in inputs.items()}
    got = run_node(ConditionContrast, single, tmp_path / "node", contrasts=("face - house",))
    assert [e["stat"] for e in got.statmaps_entities] == ["z", "effect"]
    assert {e["contrast"] for e in got.statmaps_entities} == {"faceMinusHouse"}
    z = nib.load(got.statmaps[0]).get_fdata()
    effect = nib.load(got.statmaps[1]).get_fdata()
    assert z[1:3].min() > 5 and np.median(z[3:]) < -5
    assert effect[1:3].mean() == pytest.approx(2.0, abs=0.3)
    events = read_table(Path(single["trials_files"][0]))[["onset", "duration", "label"]]
    events = events.astype({"onset": float, "duration": float})
    model = FirstLevelModel(t_r=2.0, mask_img=inputs["mask_file"], hrf_model="spm",
                            high_pass=1 / 128, signal_scaling=0, noise_model="ar1")
    confounds = read_table(Path(single["confounds_files"][0])).astype(float)
    model.fit(single["bold_files"][0], events.rename(columns={"label": "trial_type"}), confounds)
    theirs = model.compute_contrast("face - house").get_fdata()
    inside = np.isfinite(theirs) & (theirs != 0) & (z != 0)
    assert np.corrcoef(z[inside], theirs[inside])[0, 1] > 0.999


def test_contrast_over_two_repetition_times_and_missing_conditions(person, tmp_path):
    def edit(table):
        if table["run"].iloc[0] == "2":
            table.loc[table["label"] == "cat", "label"] = "dog"
        return table

    inputs = edited(person[0], tmp_path, edit)
    got = run_node(ConditionContrast, inputs, tmp_path / "node",
                   contrasts=("face - house", "cat - house"))
    assert [m["RunsUsed"] for m in got.statmaps_metadata] == [[1, 2], [1, 2], [1], [1]]
    with pytest.raises(InputError, match="no run holds all"):
        run_node(ConditionContrast, inputs, tmp_path / "n2", contrasts=("cat - dog",))
    with pytest.raises(UsageError, match="known: cat, dog, face, house"):
        run_node(ConditionContrast, inputs, tmp_path / "n3", contrasts=("face - chair",))


def test_test_trials_do_not_enter_contrasts(person, tmp_path):
    def edit(table):
        table.loc[table.index % 3 == 0, "split"] = "test"
        return table

    first = edited(person[0], tmp_path, edit)
    (tmp_path / "b").mkdir()

    def relabelled(table):
        table = edit(table)
        table.loc[table["split"] == "test", "label"] = "cat"
        return table

    second = edited(person[0], tmp_path / "b", relabelled)
    maps = [
        nib.load(run_node(ConditionContrast, i, tmp_path / n,
                          contrasts=("face - house",)).statmaps[0]).get_fdata()
        for i, n in ((first, "x"), (second, "y"))
    ]
    assert np.array_equal(*maps)


def test_faults_are_named(person, tmp_path):
    inputs, _, _ = person
    moved = nib.load(inputs["mask_file"])
    nib.save(nib.Nifti1Image(np.asarray(moved.dataobj), AFFINE + 0.1), tmp_path / "moved.nii.gz")
    empty = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE)
    nib.save(empty, tmp_path / "empty.nii.gz")
    cases = [
        ({"mask_file": str(tmp_path / "moved.nii.gz")}, "of the data"),
        ({"mask_file": str(tmp_path / "empty.nii.gz")}, "not empty"),
        ({"t_r": [0.2, 1.0]}, "have no response within"),
        ({"confounds_files": inputs["confounds_files"][::-1]}, "rows for"),
        ({"trials_files": inputs["confounds_files"]}, "not usable"),
    ]
    for number, (change, message) in enumerate(cases):
        with pytest.raises(InputError, match=message):
            run_node(SingleTrialGLM, {**inputs, **change}, tmp_path / f"node-{number}")
    with pytest.raises(ValueError, match="shorter"):
        run_node(SingleTrialGLM, {**inputs, "t_r": [2.0]}, tmp_path / "uneven")


def test_demeaned_data_are_refused(person, tmp_path):
    inputs, _, _ = person
    image = nib.load(inputs["bold_files"][0])
    data = image.get_fdata() - 505
    nib.save(nib.Nifti1Image(data.astype(np.float32), AFFINE), tmp_path / "flat.nii.gz")
    files = [str(tmp_path / "flat.nii.gz"), inputs["bold_files"][1]]
    with pytest.raises(InputError, match="demeaned"):
        run_node(SingleTrialGLM, {**inputs, "bold_files": files}, tmp_path / "node")


@pytest.mark.shared_data
@pytest.mark.skipif(not LOCALIZER.exists(), reason=f"real data absent: {LOCALIZER}")
def test_real_localizer_agrees_with_nilearn_alone(tmp_path):
    from nilearn.masking import compute_epi_mask

    stem = LOCALIZER / "sub-02_task-oneback_run-01"
    bold = f"{stem}_bold.nii.gz"
    mask = compute_epi_mask(bold)
    mask.to_filename(tmp_path / "mask.nii.gz")
    events = pd.read_csv(f"{stem}_events.tsv", sep="\t")
    table = trial_table(events.onset, events.trial_type, 1, "cv", events.duration)
    save_table(tmp_path / "trials.tsv", table)
    inputs = {
        "bold_files": [bold], "trials_files": [str(tmp_path / "trials.tsv")], "t_r": [2.0],
        "start_time": [0.0], "mask_file": str(tmp_path / "mask.nii.gz"),
    }
    got = run_node(ConditionContrast, inputs, tmp_path / "node", confounds=["none"],
                   contrasts=("face - house",))
    z = nib.load(got.statmaps[0]).get_fdata()
    model = FirstLevelModel(t_r=2.0, mask_img=mask, hrf_model="spm", high_pass=1 / 128,
                            signal_scaling=0, noise_model="ar1")
    model.fit(bold, events[["onset", "duration", "trial_type"]])
    theirs = model.compute_contrast("face - house").get_fdata()
    inside = (theirs != 0) & (z != 0)
    assert z.max() == pytest.approx(7.6, abs=0.2)
    assert theirs.max() == pytest.approx(z.max(), abs=0.1)
    assert np.unravel_index(z.argmax(), z.shape) == np.unravel_index(theirs.argmax(), z.shape)
    assert np.corrcoef(z[inside], theirs[inside])[0, 1] > 0.9999
