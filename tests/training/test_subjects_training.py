"""Labels of people from simulated PET: known places, permuted labels, external people."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bids_decoder.config import Volumes
from bids_decoder.errors import LeakageError
from bids_decoder.evaluation.subjects import subject_folds
from bids_decoder.preprocessing.standardise import standardise_volume
from bids_decoder.simulate.pet import EXTERNAL, simulate_pet
from bids_decoder.training import subjects as module
from bids_decoder.training.subjects import (
    Cohort,
    confound_scores,
    cross_validate,
    embed,
    linear_scores,
    permuted_rounds,
)

SETTINGS = Volumes(epochs=8, explained_trials=6)


def make_cohort(labels=("AD", "CN", "DLB"), seed=0, n_people=80):
    simulated = simulate_pet(n_people, 4, seed=seed, shape=(10, 9, 8), effect=0.9)
    kept = np.isin(simulated.labels, [*labels, EXTERNAL])
    classes = [labels.index(x) if x in labels else -1 for x in simulated.labels[kept]]
    volumes = np.stack([standardise_volume(v) for v in simulated.volumes[kept]])
    names = tuple(str(n) for n in range(len(classes)))
    return Cohort(volumes, np.array(classes), names, labels), simulated.truth


@pytest.fixture(scope="module")
def result():
    cohort, truth = make_cohort()
    folds = subject_folds(cohort.classes[cohort.inner], 2, 1, seed=0)[0]
    return cohort, truth, folds, cross_validate(
        cohort, folds, SETTINGS, seed=0, device="cpu", explains=True
    )


def test_people_are_told_apart_and_external_ones_are_scored(result):
    cohort, _, _, found = result
    right = found.scores.argmax(axis=1) == cohort.classes[cohort.inner]
    assert right.mean() > 0.55
    assert found.scores.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert found.external.shape == (4, 3)


def test_occlusion_finds_the_places_of_the_disease(result):
    cohort, truth, _, found = result
    name = "DLB"
    values = found.maps[cohort.labels.index(name)]
    assert roc_auc_score(truth[name].ravel(), values.ravel()) > 0.7


def test_permuted_labels_are_at_chance(result):
    cohort, _, folds, _ = result
    rng = np.random.default_rng(1)
    mixed = cohort.classes.copy()
    mixed[cohort.inner] = rng.permutation(mixed[cohort.inner])
    permuted = Cohort(cohort.volumes, mixed, cohort.names, cohort.labels)
    scores = cross_validate(permuted, folds, SETTINGS, seed=0, device="cpu").scores
    assert (scores.argmax(axis=1) == mixed[cohort.inner]).mean() < 0.52


def test_one_layer_on_grey_values_in_the_same_folds(result):
    cohort, _, folds, _ = result
    scores, external = linear_scores(
        cohort.volumes.reshape(len(cohort.volumes), -1), cohort, folds, seed=0
    )
    assert (scores.argmax(axis=1) == cohort.classes[cohort.inner]).mean() > 0.6
    assert external.sum(axis=1) == pytest.approx(1)


def with_confound(seed):
    """Volumes that follow a confound, which follows the label; nothing else differs."""
    rng = np.random.default_rng(seed)
    classes = np.arange(60) % 2
    age = pd.Series(classes + rng.normal(0, 0.7, 60))
    volumes = rng.normal(size=(60, 6, 6, 5)) + 2 * age.to_numpy()[:, None, None, None]
    names = tuple(map(str, range(60)))
    return Cohort(volumes.astype(np.float32), classes, names, ("a", "b")), age


def test_a_confound_alone_decodes_what_it_explains_and_is_regressed_out():
    right = []
    for seed in range(4):
        cohort, age = with_confound(seed)
        removed = replace(cohort, removed=pd.DataFrame({"age": age}))
        folds = subject_folds(cohort.classes, 5, 1, seed)[0]
        flat = cohort.volumes.reshape(60, -1)
        scores = [
            confound_scores(age, cohort, folds)[0], linear_scores(flat[:, :8], cohort, folds, 0)[0],
            linear_scores(flat[:, :8], removed, folds, 0)[0],
        ]
        right.append([(each.argmax(axis=1) == cohort.classes).mean() for each in scores])
        np.testing.assert_allclose(scores[0].sum(axis=1), 1)
    alone, without, cleaned = np.mean(right, axis=0)
    assert alone > 0.65 and without > 0.65 and 0.35 < cleaned < 0.6


def test_confounds_are_regressed_out_with_weights_of_training_people():
    cohort, age = with_confound(0)
    cohort = replace(cohort, removed=pd.DataFrame({"age": age}))
    train, test = np.arange(40), np.arange(40, 60)
    cleaned = cohort.cleaned(train).volumes
    other = cohort.volumes.copy()
    other[test] = 50 - other[test]
    changed = replace(cohort, volumes=other).cleaned(train).volumes
    np.testing.assert_array_equal(changed[train], cleaned[train])
    slope = np.polyfit(age[:40], cleaned[train, 0, 0, 0], 1)[0]
    assert slope == pytest.approx(0, abs=1e-4)
    with_network = cross_validate(
        cohort, np.arange(60) % 2, replace(SETTINGS, epochs=2), seed=0, device="cpu"
    )
    assert np.isfinite(with_network.scores).all()


def test_a_person_on_both_sides_is_refused(result):
    cohort, _, folds, _ = result
    twins = Cohort(cohort.volumes, cohort.classes, ("0",) * len(cohort.names), cohort.labels)
    with pytest.raises(LeakageError):
        cross_validate(twins, folds, SETTINGS, seed=0, device="cpu")


def test_no_fit_sees_test_or_external_people(result, monkeypatch):
    cohort, _, folds, _ = result
    seen = []

    def spy(cohort, rows, *_, **__):
        seen.append(set(rows.tolist()))
        raise StopIteration

    monkeypatch.setattr(module, "fit_network", spy)
    for fold in (1, 2):
        only = np.where(folds == fold, 1, 2)
        with pytest.raises(StopIteration):
            cross_validate(cohort, only, SETTINGS, seed=0, device="cpu")
        assert not seen[-1] & set(cohort.inner[folds == fold].tolist())
        assert not seen[-1] & set(cohort.outer.tolist())


def test_plane_says_how_it_was_made():
    features = np.random.default_rng(0).standard_normal((30, 12))
    places, method = embed(features, seed=0)
    assert places.shape == (30, 2)
    assert method in ("UMAP", "PCA")


def test_permuted_rounds_deal_out_folds_of_their_own():
    rng = np.random.default_rng(0)
    classes = np.array([0, 1] * 10 + [-1])
    cohort = Cohort(np.zeros((21, 2, 2, 2), np.float32), classes, tuple(map(str, range(21))),
                    ("a", "b"))
    permuted = np.stack([rng.permutation(classes[:20]) for _ in range(4)])
    seen = []

    def fit(people, folds, seed):
        seen.append(people.classes[:20])
        assert people.classes[20] == -1
        for fold in np.unique(folds):
            assert np.bincount(people.classes[:20][folds == fold]).tolist() == [2, 2]
        return np.eye(2)[people.classes[:20]]

    found = permuted_rounds(cohort, permuted, 5, fit, 1)
    assert (np.stack(seen) == permuted).all()
    assert (found.argmax(axis=2) == permuted).all()
