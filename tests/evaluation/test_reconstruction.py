from __future__ import annotations

import weakref

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.reconstruction import (
    CONTROLS,
    EDGE,
    METRIC_COLUMNS,
    ComparedPicture,
    FeatureSpace,
    identification,
    resize,
    score_reconstructions,
)
from bids_decoder.simulate.images import make_scene

N_SHUFFLES = 2
FEW = Evaluation(n_permutations=199)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer shuffles: each costs a comparison of large pictures."""
    monkeypatch.setattr("bids_decoder.evaluation.reconstruction.N_SHUFFLES", N_SHUFFLES)


@pytest.fixture(scope="module")
def scenes():
    return [make_scene(seed, 64).astype(np.float32) / 255 for seed in range(8)]


def vectors(pictures):
    return np.stack([resize(p, 16).ravel() for p in pictures])


SPACES = [FeatureSpace("pixels", vectors, distance=True)]


def noisy(pictures, amount, seed=0):
    rng = np.random.default_rng(seed)
    return [
        np.clip(p + amount * rng.standard_normal(p.shape), 0, 1).astype(np.float32)
        for p in pictures
    ]


def score(seen, painted, settings=FEW, spaces=SPACES):
    given = {"reconstruction": painted, "mean-brain": [np.mean(seen, axis=0)] * len(seen),
             "nearest-training-image": [make_scene(90 + i, 64) / 255 for i in range(len(seen))]}
    return score_reconstructions(
        seen, given, spaces, settings=settings, rng=np.random.default_rng(0)
    )


def row(metrics, model, metric):
    chosen = metrics[(metrics["model"] == model) & (metrics["metric"] == metric)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def literal_ssim(first, second):
    """Return the formula of Wang et al. (2004), with a Gaussian window of 11 pixels."""
    def smooth(image):
        return gaussian_filter(image, 1.5, truncate=3.5)

    means = smooth(first), smooth(second)
    variances = smooth(first**2) - means[0] ** 2, smooth(second**2) - means[1] ** 2
    covariance = smooth(first * second) - means[0] * means[1]
    similar = (2 * means[0] * means[1] + 0.01**2) * (2 * covariance + 0.03**2)
    scale = (means[0] ** 2 + means[1] ** 2 + 0.01**2) * (sum(variances) + 0.03**2)
    # The border that the window does not fit into is left out, as the field does.
    return (similar / scale)[5:-5, 5:-5].mean()


def test_ssim_agrees_with_the_formula(scenes):
    first, second = scenes[0], noisy(scenes, 0.2)[0]
    grey = [resize(p).astype(np.float64) @ [0.2125, 0.7154, 0.0721] for p in (first, second)]
    own, other = ComparedPicture(first), ComparedPicture(second)
    assert own.structure(other) == pytest.approx(literal_ssim(*grey), abs=1e-5)
    assert own.structure(own) == pytest.approx(1, abs=1e-6)


def test_ssim_is_that_of_scikit_image(scenes):
    for first, second in zip(scenes, noisy(scenes, 0.2), strict=True):
        expected = structural_similarity(
            rgb2gray(resize(first)), rgb2gray(resize(second)), data_range=1.0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        found = ComparedPicture(first).structure(ComparedPicture(second))
        assert found == pytest.approx(expected, abs=1e-9)


def test_pixel_correlation_agrees_with_scipy(scenes):
    first, second = scenes[1], noisy(scenes, 0.2)[1]
    flat = [resize(p).ravel().astype(float) for p in (first, second)]
    own = ComparedPicture(first)
    found = own.correlation(ComparedPicture(second))
    assert found == pytest.approx(pearsonr(*flat).statistic, abs=1e-5)
    assert own.correlation(ComparedPicture(np.full_like(first, 0.5))) == 0


def test_identification_agrees_with_a_literal_reference():
    rng = np.random.default_rng(1)
    real, made = rng.standard_normal((9, 30)), rng.standard_normal((9, 30))
    made += 0.3 * real
    table = np.corrcoef(real, made)[:9, 9:]
    wins = 0
    for j in range(9):
        for i in range(9):
            if i != j and np.corrcoef(real[j], made[j])[0, 1] > np.corrcoef(real[i], made[j])[0, 1]:
                wins += 1
    assert identification(table).sum() == wins
    assert not identification(table).diagonal().any()


def test_good_reconstructions_beat_all_controls(scenes):
    metrics, each = score(scenes, noisy(scenes, 0.3))
    assert list(metrics) == list(METRIC_COLUMNS) and len(each) == 8
    assert set(metrics["model"]) == {"reconstruction", *CONTROLS}
    for metric in ("pixcorr", "ssim", "two_way", "distance"):
        own = row(metrics, "reconstruction", metric)
        assert own["ci_low"] <= own["value"] <= own["ci_high"]
        for control in CONTROLS:
            assert metric == "ssim" or row(metrics, control, metric)["ahead_low"] > 0
    assert row(metrics, "reconstruction", "two_way")["value"] > 0.95
    assert each["pixcorr_pixels"].mean() == pytest.approx(
        row(metrics, "reconstruction", "pixcorr")["value"]
    )


def test_reconstructions_without_information_are_at_chance(scenes):
    rng = np.random.default_rng(3)
    made = [rng.random((8, 8, 3)).astype(np.float32) for _ in scenes]
    metrics, _ = score(scenes, made)
    own = row(metrics, "reconstruction", "two_way")
    assert own["chance"] == 0.5 and own["ci_low"] < 0.5 < own["ci_high"]
    assert row(metrics, "shuffled-brains", "two_way")["ahead_p"] > 0.05
    assert row(metrics, "mean-brain", "two_way")["value"] == pytest.approx(0.5)


def test_shuffled_control_never_shows_the_right_picture(scenes):
    metrics, _ = score(scenes, scenes)
    assert row(metrics, "reconstruction", "pixcorr")["value"] == pytest.approx(1)
    assert row(metrics, "shuffled-brains", "pixcorr")["value"] < 0.7
    assert row(metrics, "shuffled-brains", "two_way")["value"] < 0.7


def test_correct_interval_of_two_way_covers_where_that_of_the_field_does_not():
    """One interval draws foils too; repeated studies of the same process tell which is right."""
    covered, narrow, n_studies = 0, 0, 120
    values = []
    settings = Evaluation(n_permutations=1)
    spaces = [FeatureSpace("vectors", lambda pictures: np.stack([p.ravel() for p in pictures]))]
    results = []
    for study in range(n_studies):
        rng = np.random.default_rng(study)
        seen = rng.standard_normal((14, 2, 4, 3))
        # Foils differ in how easily they win: a part that all pictures share to some degree.
        seen += rng.standard_normal((14, 1, 1, 1)) * np.linspace(-2, 2, 24).reshape(2, 4, 3)
        made = seen + 2.5 * rng.standard_normal(seen.shape)
        metrics = two_way_only(seen, made, spaces, settings)
        values.append(metrics["value"])
        results.append(metrics)
    truth = np.mean(values)
    for found in results:
        covered += found["ci_low"] <= truth <= found["ci_high"]
        narrow += found["field_low"] <= truth <= found["field_high"]
    assert covered / n_studies > 0.85
    assert narrow < covered


def two_way_only(seen, made, spaces, settings):
    """Score vectors as if they were pictures, with the pixel metrics left out."""
    from bids_decoder.evaluation import reconstruction as module

    scores = {"reconstruction": [], "shuffled-brains": []}
    rng = np.random.default_rng(0)
    module._score_space(spaces[0], seen, {"reconstruction": made},
                        module._shifts(len(seen), rng), scores)
    return module._row("reconstruction", scores["reconstruction"][0], None, settings, rng)


def test_two_pictures_are_too_few(scenes):
    with pytest.raises(InputError, match="2 picture"):
        score(scenes[:2], scenes[:2])


def test_resizing_keeps_uniform_colours():
    flat = np.full((30, 50, 3), [0.2, 0.5, 0.9], np.float32)
    np.testing.assert_allclose(resize(flat), np.broadcast_to([0.2, 0.5, 0.9], (EDGE, EDGE, 3)),
                               atol=1e-6)


def test_pictures_are_not_kept_while_they_are_scored(scenes):
    alive: list[weakref.ref] = []

    class Read(list):
        """Pictures that are made for each request."""

        def __getitem__(self, place):
            picture = super().__getitem__(place).copy()
            alive.append(weakref.ref(picture))
            most.append(sum(ref() is not None for ref in alive))
            return picture

        def __iter__(self):
            return (self[place] for place in range(len(self)))

    most: list[int] = []
    painted = {"reconstruction": noisy(scenes, 0.3)}
    kept, found = (
        score_reconstructions(
            seen, painted, SPACES, settings=FEW, rng=np.random.default_rng(0)
        )[0] for seen in (scenes, Read(scenes))
    )
    assert max(most) <= 2 and len(most) >= 2 * len(scenes)
    pd.testing.assert_frame_equal(found, kept)
