"""Answers of decoders of values and of stimuli, and of single volumes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bids_decoder.analyses.apply.answers import NewTrials, answer, describe
from bids_decoder.analyses.apply.gallery import search, write_searched
from bids_decoder.analyses.apply.reconstruction import Request, reconstruct, write_reconstructed
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.similarity import cosine_similarity
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.fitted import collect_fitted, fit_of
from bids_decoder.interfaces.heldout import read_heldout, save_heldout
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.interfaces.pictures import ReconstructionPlan
from bids_decoder.interfaces.predicting import predict_test
from bids_decoder.interfaces.response_grids import MASK
from bids_decoder.interfaces.responses import ARRAY, SPACE, TABLE, load_person
from bids_decoder.stimuli.sheets import save_picture, to_picture
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.fitted_parts import Fit, HeldoutFold, Responses, complete_fit
from bids_decoder.training.painter import Painter
from bids_decoder.training.picture_basis import PictureBasis
from bids_decoder.trials import TRIAL_COLUMNS, Targets

SETTINGS = Evaluation(n_permutations=20)
SHAPE, N_RUNS, PER_RUN = (5, 4, 3), 5, 16


def fit(folder, targets, columns, patterns, splits):
    """A decoder, fitted as decoding does, and what it needs beside its weights."""
    rng = np.random.default_rng(0)
    n_trials, n_voxels = N_RUNS * PER_RUN, int(np.prod(SHAPE))
    betas = patterns + 0.8 * rng.standard_normal((n_trials, n_voxels))
    np.save(folder / ARRAY, betas.astype(np.float32))
    table = pd.DataFrame({name: "" for name in TRIAL_COLUMNS}, index=range(n_trials)).assign(
        trial=np.tile(np.arange(1, PER_RUN + 1), N_RUNS), excluded=False, session=None,
        run_group=np.repeat([f"run-{n}" for n in range(1, N_RUNS + 1)], PER_RUN), **columns,
    )
    save_table(folder / TABLE, table)
    save_nifti(folder / MASK, np.ones(SHAPE, bool), np.diag([3.0, 3.0, 3.0, 1.0]))
    write_json(folder / SPACE, {"space": ""})
    write_json(folder / "removed.json", [])
    decoder, heldout = load_decoder("troi"), []
    context = FitContext(Network(), Troi(selector="all"), 1, "cpu")
    for fold in splits:
        train, test = load_person(folder, "01", targets, fold=fold, normalise="session")
        model = decoder.fit(train, targets, None, context)[1]
        heldout.append(read_heldout(save_heldout(folder / f"{fold}.npz", test.trials, {
            "decoder": predict_test(decoder, model, train, test, targets)
        })))
    train, _ = load_person(folder, "01", targets, fold=None, normalise="session")
    model = decoder.fit(train, targets, None, context)[1]
    return collect_fitted(fit_of(model, targets, heldout), folder, "session",
                          facts={"participant": "01"}), betas


def new_trials(fitted, betas, **columns):
    table = pd.DataFrame({
        "run_group": np.repeat(["run-8", "run-9"], len(betas) // 2), "onset": 0.0, "trial": 1,
        "duration": 1.0, "stimulus": "unlabelled", "label": "unlabelled", **columns,
    })
    groups = np.repeat("none", len(betas))
    return NewTrials(betas, fitted.scale(betas, groups), groups, table)


def test_values_come_with_intervals_that_hold_most_of_them(tmp_path):
    rng = np.random.default_rng(1)
    n_trials = N_RUNS * PER_RUN
    size = rng.normal(50, 10, n_trials).round(3)
    ids = tuple(dict.fromkeys(str(value) for value in size))
    targets = Targets(ids, np.array([[float(i)] for i in ids]), "value", columns=("size",))
    tuning = rng.standard_normal(60) / 10
    folds = np.repeat(np.arange(1, N_RUNS + 1), PER_RUN)
    columns = {"value": size.astype(str), "split": "cv", "fold": folds}
    fitted, _ = fit(tmp_path, targets, columns, np.outer(size, tuning), range(1, N_RUNS + 1))
    true = rng.normal(50, 10, 40)
    betas = np.outer(true, tuning) + 0.8 * rng.standard_normal((40, 60))
    found = answer(fitted, new_trials(fitted, betas.astype(np.float32)), SETTINGS, 0)
    table = found.table
    assert np.corrcoef(table["predicted_size"], true)[0, 1] > 0.7
    inside = (table["low_size"] < true) & (true < table["high_size"])
    assert inside.mean() >= 0.8
    assert (table["high_size"] - table["low_size"]).max() < 40
    assert found.scores is None and set(table) == set(describe(table))


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((N_RUNS * PER_RUN, 6)).astype(np.float32)
    ids = tuple(f"s{number:02d}" for number in range(len(vectors)))
    tuning = rng.standard_normal((6, 60))
    split = np.where(np.arange(len(vectors)) % 4 == 0, "test", "train")
    columns = {"stimulus": ids, "split": split, "fold": np.where(split == "test", "1", "")}
    fitted, _ = fit(
        tmp_path_factory.mktemp("stimuli"), Targets(ids, vectors, "features"), columns,
        vectors @ tuning, [None],
    )
    return fitted, vectors, tuning


def test_stimuli_are_found_among_those_of_training(stimuli):
    fitted, vectors, tuning = stimuli
    rng = np.random.default_rng(3)
    shown = rng.permutation(len(vectors))[:40]
    betas = (vectors[shown] @ tuning + 0.8 * rng.standard_normal((40, 60))).astype(np.float32)
    names = np.array(fitted.targets.ids)[shown]
    found = answer(fitted, new_trials(fitted, betas, stimulus=names), SETTINGS, 0)
    assert (found.table["top1"] == names).mean() > 0.5
    assert found.table["is_known"].all()
    assert fitted.calibration.source == "test trials"
    assert repr(fitted) == "<decoder troi of sub-01: 80 targets (features), 60 voxels>"
    assert found.table["probability"].between(0, 1).all()
    # Too many answers for a column each.
    assert not any(name.startswith("score_") for name in found.table)


def test_known_stimuli_are_scored_among_those_that_were_shown(stimuli):
    fitted, vectors, tuning = stimuli
    rng = np.random.default_rng(4)
    shown = np.repeat(rng.permutation(len(vectors))[:20], 2)
    noise = 0.8 * rng.standard_normal((40, 60))
    names = np.array(fitted.targets.ids)[shown]
    betas = (vectors[shown] @ tuning + noise).astype(np.float32)
    found = answer(fitted, new_trials(fitted, betas, stimulus=names), SETTINGS, 0)
    metrics = found.scores.metrics
    single = metrics.query("metric == 'top1' and direction == 'b2i' and unit == 'single' "
                           "and similarity == 'cosine'").iloc[0]
    assert single["pool_size"] == 20 and single["value"] > 0.5 and np.isnan(single["p_holm"])
    assert single["p"] == single["p_min"] == pytest.approx(1 / 21)
    assert set(metrics["unit"]) == {"single", "averaged"}
    trained = shown % 4 > 0
    assert found.table["was_trained"].tolist() == trained.tolist()
    noise_only = answer(fitted, new_trials(fitted, noise.astype(np.float32), stimulus=names),
                        SETTINGS, 0)
    assert noise_only.scores.metrics["p"].min() > 1 / 21
    other = new_trials(fitted, betas, stimulus="elsewhere")
    assert answer(fitted, other, SETTINGS, 0).scores is None


def test_folds_of_stimuli_give_no_place_of_embeddings(stimuli):
    """Their target spaces differ from each other and from that of the decoder."""
    fitted, vectors, tuning = stimuli
    rng = np.random.default_rng(8)
    n_trials = N_RUNS * PER_RUN
    runs = np.repeat([f"run-{n}" for n in range(1, N_RUNS + 1)], PER_RUN)
    trials = pd.DataFrame({"run_group": runs, "trial": np.tile(np.arange(PER_RUN), N_RUNS),
                           "stimulus": fitted.targets.ids})
    half = np.arange(n_trials) % 2 == 0
    folds = [
        HeldoutFold(trials[rows], rng.standard_normal((len(trials[rows]), n_dims)),
                    rng.standard_normal((n_trials, n_dims)))
        for rows, n_dims in ((half, 3), (~half, 2))
    ]
    betas = (vectors @ tuning + rng.standard_normal((n_trials, 60))).astype(np.float32)
    responses = Responses(
        betas, trials, np.ones(n_trials, bool), np.repeat("none", n_trials), fitted.grid
    )
    found = complete_fit(Fit(fitted.model, fitted.targets, folds), responses, "session")
    assert {name for run in found.reference.measures for name in run} == {
        "spread", "spread_pattern", "mean_pattern",
    }
    judged = found.judge_runs(betas, responses.groups, runs)
    assert set(judged["measure"]) == {"spread", "spread_pattern", "mean_pattern"}
    assert found.calibration.n_trials == n_trials


def test_galleries_are_searched_without_counting_copies(stimuli, tmp_path):
    fitted, vectors, tuning = stimuli
    rng = np.random.default_rng(6)
    shown = rng.permutation(len(vectors))[:20]
    betas = (vectors[shown] @ tuning + 0.8 * rng.standard_normal((20, 60))).astype(np.float32)
    new = new_trials(fitted, betas, stimulus=np.array(fitted.targets.ids)[shown])
    others = rng.standard_normal((30, 6)).astype(np.float32)
    names = tuple(f"g{number:02d}.png" for number in range(40))
    gallery = Targets(names, np.concatenate([others, vectors[shown[:10]]]), "features")
    found = search(fitted, new, gallery, SETTINGS, 0)
    assert (found.lists["top1"][:10] == list(names[30:])).mean() > 0.5
    assert set(found.metrics["pool_size"]) == {20 + 30}
    top1 = found.metrics.query("metric == 'top1' and similarity == 'cosine'").iloc[0]
    assert top1["value"] > 0.5 and top1["p"] == pytest.approx(1 / 21)
    unknown = search(fitted, new_trials(fitted, betas), gallery, SETTINGS, 0)
    assert unknown.metrics is None and len(unknown.lists) == 20
    images = {name: tmp_path / name for name in names}
    for path in images.values():
        Image.new("RGB", (8, 8)).save(path)
    outputs = PersonOutputs(tmp_path / "out", {"sub": "01"}, {})
    write_searched(outputs, found, images)
    (sheet,) = (path for path in outputs.written if path.suffix == ".png")
    with Image.open(sheet) as drawn:
        assert drawn.size[0] > 96 * 5
    (listed,) = (path for path in outputs.written if path.name.endswith("predictions.tsv"))
    assert set(found.lists.columns) <= set(read_json(listed.with_suffix(".json")))


def test_volumes_are_neither_scored_nor_compared_with_training_runs(stimuli):
    fitted, vectors, tuning = stimuli
    betas = (vectors[:20] @ tuning).astype(np.float32)
    new = new_trials(fitted, betas)
    found = answer(fitted, replace(new, are_volumes=True), SETTINGS, 0)
    assert found.shift.empty and found.scores is None
    assert len(answer(fitted, new, SETTINGS, 0).shift)


def painted_world(fitted, vectors, tuning, folder):
    """Images that are linear in the vectors, their files, and a painter that knows the way."""
    rng = np.random.default_rng(11)
    size, basis = 8, PictureBasis(8)
    components = rng.standard_normal((6, 8 * 8 * 3)) / 20
    pictures = (0.5 + basis.inverse(vectors @ components)).clip(0, 1)
    files = {}
    for name, picture in zip(fitted.targets.ids, pictures, strict=True):
        files[name] = save_picture(folder / f"{name}.png", to_picture(picture))
    weight = np.linalg.pinv(tuning / fitted.training.spreads[0]) @ components
    mean, error = np.full((size, size, 3), 0.5, np.float32), np.zeros((size, size), np.float32)
    nothing = np.zeros(weight.shape[1], np.float32)
    return files, Painter(
        np.arange(60), weight.astype(np.float32), nothing, mean, error, error
    )


def test_new_trials_are_reconstructed_by_name_or_one_by_one(stimuli, tmp_path):
    fitted, vectors, tuning = stimuli
    files, painter = painted_world(fitted, vectors, tuning, tmp_path)
    shown = np.repeat([3, 8, 20, 41, 60], 2)
    noise = 0.3 * np.random.default_rng(12).standard_normal((12, 60))
    seen = vectors[np.r_[shown, 70, 71]] @ tuning
    names = [*np.array(fitted.targets.ids)[shown], "unlabelled", "unlabelled"]
    new = new_trials(fitted, (seen + noise).astype(np.float32), stimulus=names,
                     trial=np.r_[1:7, 1:7])
    request = Request(ReconstructionPlan("ridge", 8, 0, 0.0), files, {}, SETTINGS, "cpu", 0)
    found = reconstruct(fitted, painter, new, request)
    assert found.pictures.shape == (7, 8, 8, 3)
    assert found.table["n_trials"].tolist() == [2] * 5 + [1, 1]
    assert found.table["stimulus"].tolist()[:5] == [fitted.targets.ids[k] for k in shown[::2]]
    last = found.table.iloc[-1]
    assert last["stimulus"] is None and (last["run_group"], last["trial"]) == ("run-9", 6)
    assert found.table["two_way_pixels"].notna().tolist() == [True] * 5 + [False] * 2
    two_way = found.metrics.query("metric == 'two_way' and features == 'pixels'")
    two_way = two_way.set_index("model")["value"]
    assert two_way["reconstruction"] > 0.9 and set(two_way.index) == {
        "reconstruction", "shuffled-brains", "mean-brain",
    }
    _check_files(found, request, tmp_path)
    few = replace(request, shown={name: files[name] for name in names[:4]})
    found = reconstruct(fitted, painter, new, few)
    assert found.metrics is None and "two_way_pixels" not in found.table


def test_the_nearest_training_image_is_a_control(stimuli, tmp_path):
    """Of training stimuli only, in the space of the decoder; tested ones are never chosen."""
    fitted, vectors, tuning = stimuli
    files, painter = painted_world(fitted, vectors, tuning, tmp_path)
    names = np.array(fitted.targets.ids)
    shown = np.r_[0:40:4, 1:40:4]  # held out in training, and shown in training
    rng = np.random.default_rng(14)
    betas = vectors[shown] @ tuning + 0.3 * rng.standard_normal((20, 60))
    new = new_trials(fitted, betas.astype(np.float32), stimulus=names[shown])
    in_training = np.arange(len(names)) % 4 > 0
    assert set(fitted.facts["seen"]) == set(names[in_training])
    trained = {name: files[name] for name in fitted.facts["seen"]}
    request = Request(ReconstructionPlan("ridge", 8, 0, 0.0), files, trained, SETTINGS, "cpu", 0)
    found = reconstruct(fitted, painter, new, request)
    cosines = cosine_similarity(fitted.embed(new.scaled), fitted.gallery)
    expected = names[np.where(in_training, cosines, -2).argmax(axis=1)]
    chosen = found.table.set_index("stimulus")["nearest_training_stimulus"]
    assert chosen.loc[names[shown]].tolist() == expected.tolist()
    assert not set(chosen) & set(names[~in_training])
    assert (chosen.loc[names[shown[10:]]] == names[shown[10:]]).mean() > 0.5
    # An image that was shown in training is its own nearest one; of the others it is another one.
    alone = reconstruct(fitted, painter, new_trials(
        fitted, betas[10:].astype(np.float32), stimulus=names[shown[10:]]
    ), request).metrics.query("metric == 'pixcorr'").set_index("model")["value"]
    metrics = found.metrics.query("metric == 'pixcorr'").set_index("model")["value"]
    assert "nearest-training-image" in alone and "nearest-training-image" in metrics
    assert metrics["nearest-training-image"] < alone["nearest-training-image"]
    _check_files(found, request, tmp_path)


def _check_files(found, request, folder):
    outputs = PersonOutputs(folder / "out", {"sub": "01"}, {"Decoder": "d"})
    write_reconstructed(outputs, found, request, {"Method": "ridge"})
    pictures = [path for path in outputs.written if path.name.endswith("_image.png")]
    assert len(pictures) == len(found.table) and all(path.is_file() for path in pictures)
    (listed,) = (path for path in outputs.written if path.name.endswith("predictions.tsv"))
    about = read_json(listed.with_suffix(".json"))
    assert set(found.table.columns) | {"picture"} <= set(about) and about["Method"] == "ridge"


def test_noise_and_shuffled_names_paint_other_images(stimuli, tmp_path):
    fitted, vectors, tuning = stimuli
    files, painter = painted_world(fitted, vectors, tuning, tmp_path)
    rng = np.random.default_rng(13)
    names = np.array(fitted.targets.ids)[:40]
    new = new_trials(fitted, rng.standard_normal((40, 60)).astype(np.float32), stimulus=names)
    request = Request(ReconstructionPlan("ridge", 8, 0, 0.0), files, {}, SETTINGS, "cpu", 0)
    own = reconstruct(fitted, painter, new, request).metrics.query("model == 'reconstruction'")
    row = own.query("metric == 'two_way' and features == 'pixels'").iloc[0]
    # Of 40 images that say nothing, the mean lies within .16 of a half in 95 % of cases.
    assert abs(row["value"] - 0.5) < 0.2
