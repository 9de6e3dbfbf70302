"""The decoder as estimators: scikit-learn's conventions, the app's numbers."""

import pickle

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import sklearn
from nilearn.maskers import NiftiLabelsMasker, NiftiMasker
from simulated import AFFINE, CLASSES, SHAPE, make_mask, make_trials, to_images
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from bids_decoder import EpisodicPretrainer, TROIDecoder, TROIRegressor, load_decoder
from bids_decoder.config import Network, Troi
from bids_decoder.errors import BidsDecoderError, InputError, MissingInputError
from bids_decoder.evaluation.similarity import label_scores
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.models.store import Model
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder as decoder_named
from bids_decoder.trials import Person, Targets, VoxelGrid

EXPECTED_FAILURES = dict.fromkeys(
    ("check_methods_subset_invariance", "check_methods_sample_order_invariance"),
    "responses are in single precision; subsets and orders agree to 1e-6, not to 1e-7",
)


@pytest.fixture(scope="module")
def split(trials):
    """Training and test trials; the last run is test."""
    X, y, runs = trials
    train = runs < 4
    return X[train], y[train], runs[train], X[~train], y[~train]


@pytest.fixture(scope="module")
def fitted(split):
    X, y, runs, _, _ = split
    return TROIDecoder(mask_img=make_mask(), random_state=0).fit(X, y, groups=runs)


@pytest.mark.parametrize("estimator", [
    TROIDecoder(calibration_folds=2, random_state=0), TROIRegressor(random_state=0),
], ids=lambda e: type(e).__name__)
def test_estimators_follow_the_conventions(estimator):
    check_estimator(estimator, expected_failed_checks=EXPECTED_FAILURES, on_skip=None)


def test_one_implementation(split, fitted):
    """The estimator says what the nodes' own calls say."""
    X, y, runs, new, _ = split
    mask = make_mask()
    grid = VoxelGrid(mask.get_fdata() > 0, AFFINE)
    one = np.full(len(X) + len(new), "none")
    both, _ = zscore_betas(np.concatenate([X, new]), one, np.arange(len(one)) < len(X))
    targets = Targets(CLASSES, np.eye(3, dtype=np.float32), "category")
    table = pd.DataFrame({
        "run_group": runs.astype(str), "trial": 1, "split": "train", "stimulus": y, "label": y,
        "fold": pd.array([None] * len(y), dtype="Int64"),
    })
    person = Person("", grid, both[:len(X)], table, targets.rows_of(y))
    decoder = decoder_named("troi")
    selection, model = decoder.fit(
        person, targets, None, FitContext(Network(), Troi(), 0, "cpu")
    )
    wanted = decoder.predict(model, both[len(X):])
    assert fitted.transform(new) == pytest.approx(wanted, abs=1e-4)
    assert fitted.decision_function(new) == pytest.approx(
        label_scores(wanted, decoder.gallery(model, targets)), abs=1e-4
    )
    assert np.array_equal(fitted.voxels_, selection.mask)


def test_labels_are_decoded_with_probabilities(split, fitted):
    new, truth = split[3:]
    assert fitted.classes_.tolist() == list(CLASSES)
    assert fitted.score(new, truth) > 0.9
    chances = fitted.predict_proba(new)
    assert chances.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(fitted.classes_[chances.argmax(axis=1)], fitted.predict(new))
    assert fitted.fitted_.calibration.source == "cross-validation"
    assert fitted.fitted_.calibration.n_trials == len(split[0])
    assert fitted.get_feature_names_out().tolist() == ["troidecoder0", "troidecoder1"]


def test_classes_keep_their_type_and_order(split):
    X, y, _, new, truth = split
    numbers = {"face": 10, "house": 2, "shoe": 30}
    decoder = TROIDecoder(calibration_folds=0, random_state=0)
    decoder.fit(X, np.array([numbers[name] for name in y]))
    assert decoder.classes_.tolist() == [2, 10, 30]
    assert decoder.score(new, np.array([numbers[name] for name in truth])) > 0.9
    assert decoder.decision_function(new).argmax(axis=1).tolist() == [
        decoder.classes_.tolist().index(one) for one in decoder.predict(new)
    ]


def test_no_probabilities_without_calibration(split):
    X, y, *_ = split
    decoder = TROIDecoder(calibration_folds=0)
    assert not hasattr(decoder, "predict_proba")
    assert not hasattr(decoder.fit(X, y), "predict_proba")


def test_offsets_of_runs_do_not_enter_the_fit():
    """A voxel that differs between runs only gets no weight where runs are known."""
    rng = np.random.default_rng(0)
    runs = np.repeat([1, 2, 3, 4], 12)
    y = np.where(runs % 2, np.tile(["a", "a", "b"], 16), np.tile(["b", "b", "a"], 16))
    X = rng.standard_normal((48, 40))
    X[:, 0] += 6 * (runs % 2)

    def share_of_weight(groups):
        decoder = TROIDecoder(calibration_folds=0, random_state=0).fit(X, y, groups=groups)
        squares = decoder.fitted_.model.part("input")["weight"] ** 2
        return squares[0].sum() / squares.sum()

    assert share_of_weight(None) > 0.1
    assert share_of_weight(runs) < 0.02


@pytest.mark.parametrize("routing", [False, True])
def test_runs_are_passed_in_cross_validation(trials, routing):
    X, y, runs = trials
    decoder = TROIDecoder(calibration_folds=0, random_state=0)
    given = {"params": {"groups": runs}}
    with sklearn.config_context(enable_metadata_routing=routing):
        if not routing:
            given["groups"] = runs
        scores = cross_val_score(decoder, X, y, cv=LeaveOneGroupOut(), **given)
    assert len(scores) == 4
    assert scores.mean() > 0.8


def test_in_a_pipeline(split):
    X, y, _, new, truth = split
    pipeline = make_pipeline(StandardScaler(), TROIDecoder(calibration_folds=0, random_state=0))
    assert pipeline.fit(X, y).score(new, truth) > 0.9


def test_images_and_maskers_are_read_as_arrays_are(split, fitted, tmp_path):
    new = split[3]
    wanted = fitted.decision_function(new)
    images = to_images(new)
    assert fitted.decision_function(images) == pytest.approx(wanted, abs=1e-5)
    images.to_filename(tmp_path / "x.nii.gz")
    assert fitted.decision_function(tmp_path / "x.nii.gz") == pytest.approx(wanted, abs=1e-5)
    masker = NiftiMasker(mask_img=make_mask(), standardize=None)
    X, y, runs, *_ = split
    other = TROIDecoder(mask_img=masker, random_state=0).fit(to_images(X), y, groups=runs)
    assert other.decision_function(images) == pytest.approx(wanted, abs=1e-5)
    assert masker.fit().transform(images) == pytest.approx(new, abs=1e-5)
    assert other.voxels_image().shape == SHAPE


@pytest.mark.parametrize("step", [1, 2])
def test_maskers_do_not_hide_values_that_are_not_finite(saved, split, step):
    """nilearn's maskers put zeros there; also where they resample."""
    images = to_images(split[3])
    data = images.get_fdata()
    data[0, 0, 0] = np.nan  # outside the mask
    repeated = data.repeat(step, 0).repeat(step, 1).repeat(step, 2)
    affine = images.affine @ np.diag([1 / step, 1 / step, 1 / step, 1])
    masker = NiftiMasker(mask_img=make_mask(), standardize=None, target_affine=AFFINE,
                         target_shape=SHAPE)
    loaded = load_decoder(saved, mask_img=masker, scaling="training")
    assert len(loaded.predict(nib.Nifti1Image(repeated, affine))) == len(split[3])
    repeated[step * 2, step * 2, step * 2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        loaded.predict(nib.Nifti1Image(repeated, affine))


def test_clones_and_pickles(fitted, split):
    assert clone(fitted).get_params()["random_state"] == 0
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(split[3]), fitted.predict(split[3]))


# ---------------------------------------------------------------------------------- saved decoders


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    return fitted.save(tmp_path_factory.mktemp("m") / "sub-01_desc-decoder_model.safetensors")


def test_saved_decoders_say_the_same(saved, fitted, split):
    new, truth = split[3:]
    loaded = load_decoder(saved, scaling="training")
    assert loaded.predict_proba(new) == pytest.approx(fitted.predict_proba(new), abs=1e-5)
    assert loaded.transform(to_images(new)) == pytest.approx(fitted.transform(new), abs=1e-4)
    assert loaded.score(new, truth) == fitted.score(new, truth)
    assert np.array_equal(loaded.mask_image().get_fdata(), make_mask().get_fdata())
    assert is_classifier(loaded)
    assert not is_regressor(loaded)
    assert loaded.n_features_in_ == new.shape[1]


def test_folders_hold_one_decoder(saved, tmp_path):
    assert load_decoder(saved.parent).classes_.tolist() == list(CLASSES)
    with pytest.raises(InputError, match="0 files"):
        load_decoder(tmp_path)
    with pytest.raises(MissingInputError, match="does not exist"):
        load_decoder(tmp_path / "x.safetensors")


def test_new_sessions_are_scaled_by_themselves(saved, split):
    new, truth = split[3:]
    assert load_decoder(saved).score(3 * new + 7, truth) > 0.9
    assert load_decoder(saved, scaling="training").score(3 * new + 70, truth) < 0.9


def test_maskers_of_loaded_decoders_agree_with_them(saved, split):
    new = split[3]
    masker = NiftiMasker(mask_img=make_mask(), standardize=None)
    loaded = load_decoder(saved, mask_img=masker)
    assert np.array_equal(loaded.predict(to_images(new)), load_decoder(saved).predict(new))
    box = nib.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE)
    with pytest.raises(ValueError, match="not those of the decoder"):
        load_decoder(saved, mask_img=NiftiMasker(mask_img=box, standardize=None))


# ------------------------------------------------------------------------- pretraining, zero-shot


@pytest.fixture(scope="module")
def world():
    """Three people who see stimuli with known vectors, in six runs."""
    rng = np.random.default_rng(1)
    vectors = {f"s{k:02d}": rng.standard_normal(5) for k in range(48)}
    table = pd.DataFrame(vectors).T
    names, runs = table.index.to_numpy(), np.repeat(np.arange(6), 8)

    def person(seed):
        own = np.random.default_rng(seed)
        noise = 0.4 * own.standard_normal((48, 40))
        return table.to_numpy() @ own.standard_normal((5, 40)) + noise

    return table, names, runs, [person(seed) for seed in range(3)]


def test_stimuli_without_trials_are_decoded(world):
    table, names, runs, people = world
    pretrainer = EpisodicPretrainer(embeddings=table, epochs=1, random_state=0)
    pretrainer.fit(people[:2], [names] * 2, [runs] * 2)
    train = runs < 4
    decoder = TROIDecoder(
        embeddings=table, pretrained=pretrainer, calibration_folds=2, random_state=0
    )
    decoder.fit(people[2][train], names[train], groups=runs[train])
    assert decoder.classes_.tolist() == names.tolist()
    assert decoder.fitted_.model.card["pretrained_on"] == ["1", "2"]
    found = decoder.predict(people[2][~train])
    assert (found == names[~train]).mean() > 0.4
    chances = decoder.predict_proba(people[2][~train])
    assert chances.shape == (16, 48)
    assert chances.sum(axis=1) == pytest.approx(1)


def test_pretrained_models_are_saved_and_checked(world, tmp_path, split):
    table, names, runs, people = world
    pretrainer = EpisodicPretrainer(embeddings=table, epochs=1, random_state=0)
    pretrainer.fit(people[:2], [names] * 2, [runs] * 2)
    path = pretrainer.save(tmp_path / "desc-pretrained_model.safetensors")
    decoders = [
        TROIDecoder(embeddings=table, pretrained=given, calibration_folds=0, random_state=0)
        .fit(people[2], names, groups=runs) for given in (path, pretrainer, pretrainer.model_)
    ]
    first, *others = (decoder.transform(people[2]) for decoder in decoders)
    for other in others:
        assert np.array_equal(first, other)
    X, y, *_ = split
    with pytest.raises(InputError, match="its targets differ"):
        TROIDecoder(pretrained=path).fit(X, y)


def test_vectors_of_images_go_with_models_of_images(world):
    table, names, runs, people = world
    pretrainer = EpisodicPretrainer(embeddings=table, epochs=1, random_state=0)
    model = pretrainer.fit(people[:2], [names] * 2, [runs] * 2).model_
    told = {**model.card["targets"], "kind": "image", "encoder": "gabor-1"}
    of_images = Model(model.tensors, {**model.card, "targets": told})
    decoder = TROIDecoder(
        embeddings=table, pretrained=of_images, calibration_folds=0, random_state=0
    ).fit(people[2], names, groups=runs)
    assert decoder.fitted_.targets.source == "gabor-1"
    with pytest.raises(InputError, match="n_dims"):
        clone(decoder).set_params(embeddings=table.iloc[:, :3]).fit(people[2], names)


def test_labels_are_pretrained(split):
    X, y, runs, new, truth = split
    pretrainer = EpisodicPretrainer(epochs=1, random_state=0)
    others = [make_trials(n_runs=3, seed=seed)[0] for seed in (3, 4)]
    pretrainer.fit(others, [y] * 2, [runs] * 2)
    assert pretrainer.classes_.tolist() == list(CLASSES)
    decoder = TROIDecoder(pretrained=pretrainer, calibration_folds=0, random_state=0)
    # Clones keep what was learned from others.
    assert clone(decoder).fit(X, y, groups=runs).score(new, truth) > 0.8


# ---------------------------------------------------------------------------------------- numbers


def test_numbers_are_decoded():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((60, 2)) * [1, 100]
    X = y / [1, 100] @ rng.standard_normal((2, 30)) + 0.5 * rng.standard_normal((60, 30))
    regressor = TROIRegressor(random_state=0).fit(X[:40], y[:40], groups=np.repeat(range(4), 10))
    assert regressor.predict(X[40:]).shape == (20, 2)
    assert regressor.score(X[40:], y[40:]) > 0.7
    assert not hasattr(regressor, "predict_proba")
    assert not hasattr(regressor, "decision_function")


def test_saved_numbers(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(40)
    X = np.outer(y, np.ones(12)) + 0.3 * rng.standard_normal((40, 12))
    regressor = TROIRegressor(random_state=0).fit(X, y)
    loaded = load_decoder(regressor.save(tmp_path / "m.safetensors"), scaling="training")
    assert loaded.predict(X) == pytest.approx(regressor.predict(X), abs=1e-4)
    assert loaded.score(X, y) > 0.9
    assert is_regressor(loaded)
    assert not hasattr(loaded, "classes_")


# --------------------------------------------------------------------------------------- refusals


def fit(trials, change=lambda X: X, **parameters):
    X, y, runs = trials
    return TROIDecoder(**parameters).fit(change(X), y, groups=runs)


@pytest.mark.parametrize(("call", "why"), [
    (lambda t: fit(t, to_images), "which voxels to read"),
    (lambda t: fit(t, lambda X: X[:, :9], mask_img=make_mask()), "mask has 59 voxels"),
    (lambda t: fit(t, mask_img=NiftiMasker(standardize=None)), "not fitted and has no mask_img"),
    (lambda t: fit(t, mask_img=NiftiLabelsMasker(labels_img=make_mask()).fit()), "no image"),
    (lambda t: fit(t, mask_img=3), "no image, path or masker"),
    (lambda t: fit(t, embeddings={"face": [1, 2], "house": [2, 1]}), "not among the 2"),
    (lambda t: fit(t, embeddings={"face": [1, 2], "house": [np.nan, 1]}), "not finite"),
    (lambda t: TROIDecoder().fit(t[0], t[1], groups=t[2][:5]), "there are 60 trials"),
    (lambda t: TROIDecoder().fit(t[0], np.repeat("a", 60)), "one class"),
    (lambda t: TROIDecoder().fit(t[0], t[1], groups=np.where(t[2] == t[2][0], None, t[2])),
     "trials have none"),
    (lambda t: fit(t, selector="best"), "use one of: graded"),
    (lambda t: fit(t, n_voxels=0), "whole number of 1 or more"),
    (lambda t: fit(t, spatial_prior="always"), "use one of: auto, never"),
    (lambda t: fit(t, calibration_folds=-1), "calibration_folds -1"),
    (lambda t: fit(t, pretrained=3), "pretrained of type int"),
    (lambda t: EpisodicPretrainer(epochs=-1).fit([t[0]], [t[1]]), "epochs -1"),
    (lambda t: fit(t).voxels_image(), "without a mask"),
    (lambda t: EpisodicPretrainer().fit([t[0]], [t[1]] * 2), "1 arrays of responses, 2 of"),
])
def test_refusals_are_value_errors_with_a_way_out(trials, call, why):
    with pytest.raises(ValueError, match=why) as refused:
        call(trials)
    assert isinstance(refused.value, BidsDecoderError)
    assert refused.value.finding.fix


def test_images_on_another_grid_are_refused(fitted, split):
    images = to_images(split[3])
    moved = type(images)(np.asarray(images.dataobj), np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="grid differs"):
        fitted.predict(moved)


def test_loaded_decoders_refuse_other_voxels(saved, split):
    with pytest.raises(ValueError, match="array with 9 columns"):
        load_decoder(saved).predict(split[3][:, :9])


def test_models_are_saved_with_the_ending_they_are_read_with(fitted, tmp_path):
    with pytest.raises(InputError, match="does not end in"):
        fitted.save(tmp_path / "decoder.json")


def test_unknown_scalings_are_refused(saved):
    with pytest.raises(ValueError, match="no such scaling"):
        load_decoder(saved, scaling="other")


def test_scaling_of_a_loaded_decoder_can_be_set(saved, split):
    loaded = load_decoder(saved)
    wanted = load_decoder(saved, scaling="training").decision_function(3 * split[3])
    before = loaded.decision_function(3 * split[3])
    after = loaded.set_params(scaling="training").decision_function(3 * split[3])
    assert np.array_equal(after, wanted)
    assert not np.allclose(before, after)
    with pytest.raises(ValueError, match="no such scaling"):
        loaded.set_params(scaling="other").predict(split[3])


def test_shifted_maskers_are_refused(saved):
    mask, shifted = make_mask(), AFFINE.copy()
    shifted[0, 3] += 3
    moved = nib.Nifti1Image(np.asarray(mask.dataobj), shifted)
    with pytest.raises(ValueError, match="shape, affine or mask"):
        load_decoder(saved, mask_img=NiftiMasker(mask_img=moved, standardize=None))


def test_saving_keeps_the_order_of_classes(split, tmp_path):
    X, y, runs, new, _ = split
    few = y != "shoe"
    numbers = np.where(y[few] == "face", 2, 10)
    decoder = TROIDecoder(calibration_folds=2, random_state=0)
    decoder.fit(X[few], numbers, groups=runs[few])
    loaded = load_decoder(decoder.save(tmp_path / "m.safetensors"), scaling="training")
    assert decoder.classes_.tolist() == [2, 10]
    assert loaded.classes_.tolist() == ["2", "10"]
    assert loaded.decision_function(new) == pytest.approx(decoder.decision_function(new), abs=1e-5)
    assert loaded.predict_proba(new) == pytest.approx(decoder.predict_proba(new), abs=1e-5)


def test_pretrained_labels_may_be_in_the_order_of_their_text(split):
    """The app sorts labels as text, scikit-learn numbers as numbers."""
    X, y, runs, new, truth = split
    as_text = {"face": "10", "house": "2", "shoe": "3"}
    texts = np.array([as_text[name] for name in y])
    pretrainer = EpisodicPretrainer(epochs=1, random_state=0)
    pretrainer.fit([X, X], [texts, texts], groups=[runs, runs])
    decoder = TROIDecoder(pretrained=pretrainer, calibration_folds=0, random_state=0)
    decoder.fit(X, texts.astype(int), groups=runs)
    assert decoder.classes_.tolist() == [2, 3, 10]
    assert decoder.score(new, [int(as_text[name]) for name in truth]) > 0.8
