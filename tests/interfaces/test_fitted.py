"""The file of a fitted decoder: complete, movable, and the same answers as in decoding."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.config import Network, Troi
from bids_decoder.errors import InputError
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.files import write_json
from bids_decoder.interfaces.fitted import collect_fitted, fit_of
from bids_decoder.interfaces.heldout import read_heldout, save_heldout
from bids_decoder.interfaces.predicting import predict_test
from bids_decoder.interfaces.response_grids import MASK
from bids_decoder.interfaces.responses import ARRAY, SPACE, TABLE, load_person
from bids_decoder.models.store import Model, load_card, load_model, save_model
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.fitted import ENTRY, load_fitted
from bids_decoder.trials import TRIAL_COLUMNS, Targets

LABELS = ("face", "house", "shoe")
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
SHAPE = (5, 4, 3)


def write_responses(folder, n_runs=5, per_run=12, session=None):
    """Joined responses of one participant, with a pattern for each label."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    n_trials, n_voxels = n_runs * per_run, int(np.prod(SHAPE))
    numbers = np.arange(n_trials) % 3
    patterns = np.random.default_rng(7).standard_normal((3, n_voxels))
    betas = 5 + patterns[numbers] + 1.5 * rng.standard_normal((n_trials, n_voxels))
    np.save(folder / ARRAY, betas.astype(np.float32))
    table = pd.DataFrame({name: "" for name in TRIAL_COLUMNS}, index=range(n_trials)).assign(
        trial=np.tile(np.arange(1, per_run + 1), n_runs), split="cv", excluded=False,
        run_group=np.repeat([f"task-x_run-{n}" for n in range(1, n_runs + 1)], per_run),
        label=np.array(LABELS)[numbers], session=session,
        stimulus=np.array(LABELS)[numbers], fold=np.repeat(np.arange(1, n_runs + 1), per_run),
    )
    save_table(folder / TABLE, table)
    save_nifti(folder / MASK, np.ones(SHAPE, bool), AFFINE)
    write_json(folder / SPACE, {"space": ""})
    write_json(folder / "removed.json", [])
    return folder


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """What the nodes of decoding leave, of five folds and of all trials."""
    top = tmp_path_factory.mktemp("fitted")
    folder = write_responses(top / "responses")
    targets = Targets(LABELS, np.eye(3, dtype=np.float32), "category")
    context = FitContext(Network(), Troi(selector="all"), 1, "cpu")
    decoder, heldout = load_decoder("troi"), []
    for fold in range(1, 6):
        train, test = load_person(folder, "01", targets, fold=fold, normalise="session")
        model = decoder.fit(train, targets, None, context)[1]
        path = save_heldout(top / f"{fold}.npz", test.trials, {
            "decoder": predict_test(decoder, model, train, test, targets)
        })
        heldout.append(read_heldout(path))
    everything, _ = load_person(folder, "01", targets, fold=None, normalise="session")
    model = decoder.fit(everything, targets, None, context)[1]
    boldref = save_nifti(top / "boldref.nii.gz", np.arange(60.0).reshape(SHAPE), AFFINE)
    fitted = collect_fitted(
        fit_of(model, targets, heldout), folder, "session", boldref=boldref,
        facts={"participant": "01", "dataset": "d", "t_r": 2.0},
    )
    return SimpleNamespace(
        top=top, folder=folder, fitted=fitted, model=model, everything=everything, boldref=boldref,
        fit=fit_of(model, targets, heldout),
    )


@pytest.fixture(scope="module")
def moved(decoded, tmp_path_factory):
    """The decoder, read from a copy of its folder when the first one is gone."""
    path = decoded.fitted.save(decoded.top / "model" / "sub-01_desc-decoder_model.safetensors")
    place = tmp_path_factory.mktemp("elsewhere") / "model"
    shutil.move(path.parent, place)
    return load_fitted(place / path.name)


def test_moved_decoder_says_what_decoding_does(decoded, moved):
    betas, trained = np.load(decoded.folder / ARRAY), decoded.everything
    scaled = moved.scale(betas, np.repeat("none", len(betas)), "training")
    assert scaled == pytest.approx(trained.betas, abs=1e-4)
    embedding = moved.embed(scaled)
    decoder = load_decoder("troi")
    wanted = decoder.predict(decoded.model, trained.betas)
    assert embedding == pytest.approx(wanted, abs=1e-4)
    scores = moved.scores(embedding)
    assert scores == pytest.approx(
        label_scores(wanted, decoder.gallery(decoded.model, moved.targets)), abs=1e-4
    )
    right = np.array(moved.targets.ids)[scores.argmax(axis=1)] == trained.trials["label"]
    assert right.mean() > 0.9
    assert moved.probabilities(scores).sum(axis=1) == pytest.approx(1)


def test_file_holds_grid_image_targets_and_facts(decoded, moved):
    assert moved.grid.mask.shape == SHAPE
    assert np.array_equal(moved.grid.affine, AFFINE)
    assert np.array_equal(moved.boldref, np.arange(60.0).reshape(SHAPE))
    assert moved.targets.ids == LABELS
    assert moved.facts["runs"]["task-x_run-2"] == list(range(1, 13))
    assert moved.facts["t_r"] == 2.0
    assert moved.calibration == decoded.fitted.calibration
    assert moved.calibration.source == "cross-validation"
    assert moved.calibration.n_trials == 60
    assert moved.reference.measures == decoded.fitted.reference.measures
    assert len(moved.reference.runs) == 5
    assert ENTRY not in moved.model.card


def test_own_scaling_removes_gain_and_offset_of_a_session(moved, decoded):
    betas = np.load(decoded.folder / ARRAY)
    groups = np.repeat("other", len(betas))
    assert moved.scale(2 * betas - 9, groups) == pytest.approx(
        moved.scale(betas, groups), abs=1e-4
    )
    pooled = moved.scale(betas[:3], groups[:3])
    assert pooled == pytest.approx(moved.scale(betas[:3], groups[:3], "training"), abs=1e-6)
    assert not np.allclose(moved.scale(2 * betas, groups, "training"),
                           moved.scale(betas, groups, "training"))


def test_shifted_run_is_noticed_and_further_run_is_not(moved, decoded):
    betas, rng = np.load(decoded.folder / ARRAY), np.random.default_rng(3)
    patterns = np.random.default_rng(7).standard_normal((3, betas.shape[1]))
    new = 5 + patterns[np.arange(12) % 3] + 1.5 * rng.standard_normal((12, betas.shape[1]))
    run = np.repeat("new", 12)
    for scale, is_far in ((1, False), (4, True)):
        rows = (scale * new).astype(np.float32)
        judged = moved.judge_runs(rows, run, run)
        assert (judged["p_corrected"] < 0.05).any() == is_far


@pytest.mark.parametrize(("betas", "groups", "why"), [
    (np.ones((4, 7)), "aaaa", "60 voxels"),
    (np.ones((4, 60)), "aaa", "3 groups"),
    (np.full((4, 60), np.nan), "aaaa", "not finite"),
])
def test_wrong_responses_are_refused(moved, betas, groups, why):
    with pytest.raises(InputError, match=why):
        moved.scale(betas, np.array(list(groups)))


def test_boldref_of_another_grid_is_left_out(decoded, tmp_path):
    other = save_nifti(tmp_path / "b.nii.gz", np.ones(SHAPE), np.diag([2.0, 2.0, 2.0, 1.0]))
    found = collect_fitted(decoded.fit, decoded.folder, "session", boldref=other)
    assert found.boldref is None


def test_other_models_are_refused(decoded, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, Model(decoded.model.tensors, {**decoded.model.card, "participants": ["01"]}))
    with pytest.raises(InputError, match="share"):
        load_fitted(path)
    save_model(path, decoded.model)
    with pytest.raises(InputError, match="earlier version"):
        load_fitted(path)
    assert load_card(path) == load_model(path).card
