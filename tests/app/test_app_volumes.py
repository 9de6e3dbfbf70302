"""The whole program with decoders that read volumes."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.models import relevance
from bids_decoder.simulate.pet import simulate_pet, write_pet_dataset

pytestmark = pytest.mark.slow

SHORT = """
[volumes]
epochs = 1
batch_size = 4
explained_trials = 2
[subjects]
n_splits = 2
n_repeats = 2
"""


@pytest.fixture
def short(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return path


@pytest.mark.parametrize(("name", "n_permutations"), [("deeplight", 2), ("cnn3d", 0)])
def test_trials_are_decoded_and_explained(
    category_run, main, tmp_path, short, name, n_permutations, monkeypatch,
):
    """Refits of cnn3d under permuted labels are in the test of people below."""
    # How finely volumes are occluded is seen in the tests of models; here it is most of the time.
    monkeypatch.setattr(relevance, "_MAX_WINDOWS", 40)
    data, output = category_run.data, category_run.copy(tmp_path / "out")
    done = main(data.folder, output, "participant", *data.options, "--decoder", name,
                "--config-file", short, "--nprocs", 1, "--n-permutations",
                n_permutations)
    assert done.code == 0, done.text
    func = output / "sub-01" / "func"
    maps = sorted(func.glob("*_contrast-*_stat-relevance_statmap.nii.gz"))
    assert maps
    card = json.loads(maps[0].with_name(maps[0].name.replace(".nii.gz", ".json")).read_text())
    assert card["Label"] in ("face", "house", "tool")
    assert ("relevance_per_logit" in card) == (name == "deeplight")
    mask = np.asarray(nib.load(next(func.glob("*_label-TROI_mask.nii.gz"))).dataobj) > 0
    values = np.asarray(nib.load(maps[0]).dataobj)
    assert values.shape == mask.shape
    assert not values[~mask].any()
    page = (output / "sub-01.html").read_text(encoding="utf-8")
    assert "Sanity checks of the maps" in page
    text = (output / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert ("DeepLight" in text) == (name == "deeplight")
    assert "region of interest after Wang" not in text


def test_labels_of_people_and_nothing_to_do_the_second_time(main, tmp_path, short):
    data = write_pet_dataset(tmp_path / "pet", simulate_pet(24, 2, seed=0, shape=(6, 6, 5)))
    people = read_table(data / "participants.tsv")
    save_table(data / "participants.tsv", people.assign(age=range(50, 50 + len(people))))
    words = (data, tmp_path / "out", "group", "--decoder", "cnn3d", "--subject-label", "diagnosis",
             "--external-label", "FTLD", "--site-column", "site", "--config-file", short,
             "--device", "cpu", "--nprocs", 1, "--n-permutations", 2, "--control", "age",
             "--confound-removal", "regress")
    done = main(*words)
    assert done.code == 0, done.text
    group = tmp_path / "out" / "group"
    metrics = read_table(group / "desc-subjects_metrics.tsv")
    assert set(metrics["model"]) == {"cnn3d", "linear-voxels", "confound-age"}
    assert set(metrics["metric"]) == {"balanced_accuracy", "accuracy", "nmi", "macro_auc"}
    assert set(metrics["null"]) == {"refitted"} and set(metrics["n_null"]) == {"2"}
    assert len(read_table(group / "desc-null_metrics.tsv")) == 3 * 2 * 4
    people = read_table(group / "desc-subjects_predictions.tsv")
    assert (people["model"] == "cnn3d").sum() == 26
    assert set(people.loc[people["external"] == "True", "label"]) == {"FTLD"}
    assert len(list(group.glob("contrast-*_stat-occlusion_statmap.nii.gz"))) == 4
    page = (tmp_path / "out" / "group.html").read_text(encoding="utf-8")
    assert "External labels" in page
    assert "age alone: balanced accuracy" in page and "Regressed out of the volumes" in page
    assert "Soliman" in (tmp_path / "out" / "logs" / "CITATION.md").read_text(encoding="utf-8")
    again = main(*words)
    assert again.code == 0
    assert again.todo() == {}
