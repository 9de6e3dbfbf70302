"""The three kinds of input, end to end: results, files, sidecars, nothing touched, no network."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from app_calls import tree

from bids_decoder.analyses.decode.outputs import PREDICTION_COLUMNS
from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import read_table
from bids_decoder.evaluation.tables import METRIC_COLUMNS
from bids_decoder.trials import TRIAL_COLUMNS

pytestmark = pytest.mark.slow

RUNS = ("betas_run", "category_run", "image_run")
DECODED = {"betas_run": "03", "category_run": "01", "image_run": "02"}
PEOPLE = {"betas_run": ("01", "02", "03"), "category_run": ("01",), "image_run": ("01", "02")}
TASK = {"betas_run": "pictures", "category_run": "categories", "image_run": "pictures"}


@pytest.fixture(params=RUNS)
def run(request):
    found = request.getfixturevalue(request.param)
    found.name = request.param
    return found


def metric(output, label, name, **wanted):
    (path,) = (output / f"sub-{label}").glob("func/*_desc-decoder_metrics.tsv")
    table = read_table(path)
    rows = table[(table["model"] == wanted.pop("model", "decoder")) & (table["metric"] == name)]
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_ends_well(run):
    assert run.done.code == 0, run.done.text
    assert "finished successfully" in run.done.text
    assert run.done.out == ""


def test_scores_of_pictures_and_features_are_above_chance(betas_run, image_run):
    for run, label in ((betas_run, "03"), (image_run, "02")):
        for unit in ("single", "averaged"):
            row = metric(run.output, label, "top1", direction="b2i", unit=unit, similarity="csls")
            assert float(row["value"]) > 4 * float(row["chance"])
            assert float(row["p"]) <= 0.01
            assert float(row["ci_low"]) > float(row["chance"])


def test_score_of_labels_is_above_chance(category_run):
    row = metric(category_run.output, "01", "balanced_accuracy")
    assert (row["split"], row["n"]) == ("cv", "24")
    assert float(row["chance"]) == pytest.approx(1 / 3)
    assert float(row["value"]) > 0.6
    # Better than under every permutation; how small p can be is a matter of their number.
    assert float(row["p"]) == pytest.approx(float(row["p_min"]))
    (table,) = category_run.output.glob("sub-01/func/*_desc-decoder_predictions.tsv")
    predictions = read_table(table)
    assert sorted(predictions["fold"].unique()) == ["1", "2", "3", "4"]
    share = (predictions["correct"] == "True").groupby(predictions["label"]).mean().mean()
    assert share == pytest.approx(float(row["value"]), abs=1e-6)


def test_baselines_stand_beside_the_decoder(run):
    (path,) = (run.output / f"sub-{DECODED[run.name]}").glob("func/*_desc-decoder_metrics.tsv")
    table = read_table(path)
    models = set(table["model"])
    assert {"decoder", "ridge-all", "ridge-troi"} <= models or len(models) >= 5
    assert ("svm" in " ".join(models)) == (run.name == "category_run")
    assert list(table.columns) == list(METRIC_COLUMNS)


def test_rows_of_trial_tables_are_volumes_of_beta_series(run):
    source = run.data.folder if run.name == "betas_run" else run.output
    for label in PEOPLE[run.name]:
        tables = sorted((run.output / f"sub-{label}").glob("func/*_desc-singletrial_trials.tsv"))
        assert tables
        for path in tables:
            table = read_table(path)
            name = path.name.replace("_trials.tsv", "_betaseries.nii.gz")
            image = nib.load(source / f"sub-{label}" / "func" / name)
            assert list(table.columns) == list(TRIAL_COLUMNS)
            assert image.shape[3] == len(table)
            assert list(table["trial"].astype(int)) == list(range(1, len(table) + 1))
            kept = (table["excluded"] == "False").to_numpy()
            values = np.asarray(image.dataobj)[..., kept]
            assert np.isfinite(values).any(axis=3).sum() > 100
            assert set(json.loads(sidecar_path(path).read_text())) == set(TRIAL_COLUMNS)


def test_onsets_in_trial_tables_are_those_of_the_events(image_run):
    for path in sorted(image_run.output.glob("sub-*/func/*_desc-singletrial_trials.tsv")):
        events = image_run.data.folder / path.relative_to(image_run.output).parent / (
            path.name.replace("_desc-singletrial_trials.tsv", "_events.tsv")
        )
        events, trials = read_table(events), read_table(path)
        assert list(trials["stimulus"]) == list(events["stim_file"])
        np.testing.assert_allclose(trials["onset"].astype(float), events["onset"].astype(float))


def test_test_stimuli_are_nowhere_in_training(betas_run, image_run):
    for run in (betas_run, image_run):
        plan = json.loads((run.output / "plan.json").read_text())
        test = set(plan["split"]["test_stimuli"])
        assert len(test) == 12
        card = json.loads((run.output / "group" / "desc-pretrained_model.json").read_text())
        assert not test & set(card["stimuli_seen"])
        for path in run.output.glob("sub-*/func/*_trials.tsv"):
            table = read_table(path)
            assert set(table.loc[table["split"] == "train", "stimulus"]).isdisjoint(test)
            assert set(table.loc[table["split"] == "test", "stimulus"]) <= test


def test_only_the_held_out_person_is_decoded(betas_run, image_run):
    for run in (betas_run, image_run):
        held = DECODED["betas_run" if run is betas_run else "image_run"]
        found = run.output.glob("sub-*/func/*_desc-decoder_metrics.tsv")
        assert {path.parts[-3] for path in found} == {f"sub-{held}"}
        card = json.loads((run.output / "group" / "desc-pretrained_model.json").read_text())
        assert held not in card["participants"]


def test_model_card_says_where_the_model_comes_from(run):
    label = DECODED[run.name]
    (path,) = (run.output / f"sub-{label}" / "model").glob("*_desc-decoder_model.json")
    card = json.loads(path.read_text())
    assert card["seed"] == 20250201
    assert card["dataset"] == json.loads((run.output / "plan.json").read_text())["dataset"]
    assert card["split"] == ("runs" if run.name == "category_run" else "stimuli")
    assert card["n_folds"] == (4 if run.name == "category_run" else 0)
    assert not card.get("seen_in_pretraining")
    assert re.fullmatch("[0-9a-f]{64}", card["sha256"])
    if run.name != "category_run":
        pretrained = json.loads((run.output / "group" / "desc-pretrained_model.json").read_text())
        assert card["pretrained_key"] == pretrained["stage_key"]


def expected_files(name, label):
    """Names that a participant's folder must have, without the prefix of the participant."""
    task = f"task-{TASK[name]}"
    runs = range(1, {"category_run": 5, "image_run": 3, "betas_run": 5}[name])
    files = {f"func/{task}_run-{run}_desc-singletrial_trials.tsv" for run in runs}
    if name != "betas_run":
        files |= {f"func/{task}_desc-singletrial_mask.nii.gz",
                  f"func/{task}_stat-rsquare_statmap.nii.gz"}
        for run in runs:
            files |= {f"func/{task}_run-{run}_{end}" for end in (
                "boldref.nii.gz", "desc-brain_mask.nii.gz", "desc-preproc_bold.nii.gz",
                "desc-confounds_timeseries.tsv", "desc-singletrial_betaseries.nii.gz",
            )}
    if name == "image_run":
        files |= {"anat/desc-preproc_T1w.nii.gz", "anat/desc-brain_mask.nii.gz",
                  "anat/dseg.nii.gz", "func/from-T1w_to-boldref_mode-image_xfm.txt",
                  "func/from-boldref_to-T1w_mode-image_xfm.txt"}
    if label == DECODED[name]:
        files |= {f"func/{task}_{end}" for end in (
            "desc-decoder_learning.tsv", "desc-decoder_metrics.tsv",
            "desc-decoder_predictions.tsv", "label-TROI_mask.nii.gz", "stat-troi_statmap.nii.gz",
            "label-TROI_stat-weight_statmap.nii.gz", "label-TROI_stat-pattern_statmap.nii.gz",
        )} | {f"model/{task}_desc-decoder_model.safetensors"}
    return files


def test_output_tree(run):
    for label in PEOPLE[run.name]:
        folder = run.output / f"sub-{label}"
        found = {
            str(path.relative_to(folder)).replace(f"sub-{label}_", "")
            for path in folder.rglob("*") if path.is_file() and path.parent.name != "figures"
        }
        assert expected_files(run.name, label) <= found
        strange = {name for name in found if name.rpartition("/")[2].startswith(".")}
        assert not strange
        assert (run.output / f"sub-{label}.html").stat().st_size > 10_000
    top = {path.name for path in run.output.iterdir() if path.is_file()}
    assert {"dataset_description.json", "descriptions.tsv", ".bidsignore", "README.md",
            "plan.json"} <= top
    assert ("group.html" in top) == (run.name != "category_run")
    assert {path.suffix for path in (run.output / "logs").glob("CITATION.*")} == {
        ".md", ".html", ".tex", ".bib",
    }
    assert not (run.output / "work").exists()


def test_images_and_tables_have_sidecars(run):
    files = [path for path in run.output.glob("sub-*/*/*")
             if path.name.endswith((".nii.gz", ".tsv", ".safetensors"))]
    assert files
    lacking = [path.name for path in files if not sidecar_path(path).is_file()]
    assert not lacking
    (table,) = run.output.glob("sub-*/func/*_desc-decoder_predictions.json")
    assert set(PREDICTION_COLUMNS) <= set(json.loads(table.read_text()))


def test_mask_is_explained(run):
    (path,) = run.output.glob("sub-*/func/*_label-TROI_mask.nii.gz")
    notes = json.loads(sidecar_path(path).read_text())
    mask = np.asarray(nib.load(path).dataobj) > 0
    assert notes["n_voxels"] == mask.sum() < notes["n_candidates"]
    assert notes["TrainingTrialsOnly"] is True
    assert {"rule", "budget", "seed"} <= set(notes)


def test_truth_is_found(image_run):
    line = next(line for line in image_run.done.text.splitlines() if "Dice" in line)
    assert float(re.search(r"= ([\d.]+) \(", line)[1]) > 0.5


def test_run_is_on_record(run):
    (folder,) = [path.parent for path in run.output.glob("logs/*/run.json")]
    record = json.loads((folder / "run.json").read_text())
    assert record["command"][0] == "bids_decoder"
    stages = {timing["stage"] for timing in record["timings"]}
    assert {"betas", "decode"} <= stages
    assert ("preprocess" in stages) == (run.name != "betas_run")
    assert (folder / "settings.toml").is_file()
    log = (folder / "bids_decoder.log").read_text()
    assert "decode done" in log
    assert "finished successfully" in log


def test_validator_has_no_errors(run, call):
    import subprocess
    import sys
    from pathlib import Path

    program = Path(sys.executable).with_name("bids-validator-deno")
    if not program.exists():
        pytest.skip("bids-validator-deno is not installed beside this Python")
    answer = subprocess.run(
        [program, run.output, "--json"], capture_output=True, text=True, check=False, timeout=120,
    )
    issues = json.loads(answer.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_input_is_as_it_was(run):
    assert tree(run.data.folder) == run.data.digests


def test_no_socket_was_opened_anywhere(run, call):
    guarded = call.socket_log.with_name("sockets.log.guarded").read_text().split()
    assert len(set(guarded)) >= 3, "main process and workers must be guarded"
    attempts = call.socket_log.read_text() if call.socket_log.exists() else ""
    assert attempts == ""
