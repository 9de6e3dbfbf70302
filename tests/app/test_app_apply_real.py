"""A decoder of real data that is used again: runs without labels, by a call and in Python."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder import load_decoder, load_results
from bids_decoder.bids.writer import read_table, save_table

DATA = Path(__file__).resolve().parents[2] / "../shared/data/haxby-1slice"
LATER = ("09", "10", "11", "12")

pytestmark = [
    pytest.mark.slow, pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="data not beside the project"),
]


def blocks_of(path):
    """Label of each block of an events file, in order."""
    events = read_table(path)
    number = (events["trial_type"] != events["trial_type"].shift()).cumsum()
    return events.groupby(number)["trial_type"].first().tolist()


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """Runs 9 to 12 without any label, and the labels of their blocks."""
    folder, true = tmp_path_factory.mktemp("later") / "data", []
    for path in sorted(DATA.rglob("*")):
        copy = folder / path.relative_to(DATA)
        is_earlier = "run-" in path.name and not any(f"run-{n}" in path.name for n in LATER)
        if path.is_dir() or is_earlier:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith("_events.tsv"):
            true += blocks_of(path)
            save_table(copy, read_table(path).assign(trial_type=None))
        else:
            copy.symlink_to(path.resolve())
    return folder, true


@pytest.fixture(scope="module")
def applied(compute, later, tmp_path_factory):
    """A decoder fitted to runs 1 to 8 and applied to the others, as events and volume by volume."""
    top = tmp_path_factory.mktemp("applied")
    given = ["--device", "cpu", "--nprocs", 1]
    first = [f"{run:02d}" for run in range(1, 9)]
    done = compute(DATA, top / "fit", "participant", "--run-id", *first, "--n-permutations", 0,
                "--from-scratch", *given)
    assert done.code == 0, done.text
    for name, more in (("new", []), ("volumes", ["--trial-unit", "volume"])):
        done = compute(later[0], top / name, "participant", "--apply", top / "fit", *given, *more)
        assert done.code == 0, done.text
    return top


def test_blocks_without_labels_are_decoded(applied, later):
    answers = load_results(applied / "new").predictions.query("analysis == 'applied'")
    assert len(answers) == 32 and not answers["is_known"].any()
    assert (answers["top1"].to_numpy() == later[1]).mean() > 0.75  # chance: 1 / 8


def test_python_writes_the_same_bytes(applied, tmp_path):
    func = applied / "new" / "sub-1" / "func"
    images = nib.concat_images(sorted(map(str, func.glob("*_betaseries.nii.gz"))), axis=3)
    decoder = load_decoder(applied / "fit" / "sub-1" / "model")
    (path,) = func.glob("*_desc-applied_predictions.tsv")
    written = read_table(path)
    names = [f"{kind}_{label}" for kind in ("probability", "score") for label in decoder.classes_]
    values = np.hstack([decoder.predict_proba(images), decoder.decision_function(images)])
    own = save_table(tmp_path / "own.tsv", pd.DataFrame(values, columns=names).assign(
        top1=decoder.predict(images)
    ))
    save_table(tmp_path / "written.tsv", written[[*names, "top1"]])
    assert own.read_bytes() == (tmp_path / "written.tsv").read_bytes()


def test_single_volumes_hold_evidence(applied):
    volumes = load_results(applied / "volumes").predictions.query("analysis == 'applied'")
    assert len(volumes) > 400 and set(volumes["run_group"].str[-2:]) == set(LATER)
    chances = volumes.filter(like="probability_").to_numpy(float)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
