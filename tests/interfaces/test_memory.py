"""Copies of responses at the same time, by what Python allocates: no step needs a second person.

Blocks are made small, so that what grows with the number of trials is what is measured.
"""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from bids_decoder import normal_equations
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.evaluation import encoding, ridge
from bids_decoder.glm import normalise
from bids_decoder.interfaces import responses
from bids_decoder.training import (
    confounds,
    identification,
    input_layer,
    patterns,
    penalties,
    run_means,
    signal,
)
from bids_decoder.trials import TRIAL_COLUMNS, Targets

N_RUNS, RUN_LENGTH, N_VOXELS, N_LATENTS = 30, 60, 400, 4
N_TRIALS = N_RUNS * RUN_LENGTH
RUNS = np.repeat([f"r{number:02d}" for number in range(N_RUNS)], RUN_LENGTH)
NAMES = [f"s{number}" for number in range(N_TRIALS)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(normalise, "_BLOCK", 32)
    monkeypatch.setattr(normal_equations, "_BLOCK", 32)
    for module in (identification, run_means):
        monkeypatch.setattr(module, "_BLOCK", 32)
    for module in (input_layer, penalties):
        monkeypatch.setattr(module, "MOST_TRIALS_TO_CHOOSE", 600)
    for module in (responses, input_layer, patterns, signal, confounds, encoding):
        monkeypatch.setattr(module, "_VALUES", 1 << 14)


@pytest.fixture(scope="module")
def betas():
    return np.random.default_rng(0).standard_normal((N_TRIALS, N_VOXELS), dtype=np.float32)


@pytest.fixture(scope="module")
def latents():
    return np.random.default_rng(1).standard_normal((N_TRIALS, N_LATENTS))


def peak_of(function, *args, **kwargs):
    """Return the most bytes that were allocated at a time, and the result."""
    tracemalloc.start()
    try:
        result = function(*args, **kwargs)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def whole(betas):
    """Responses beside which the tables are small."""
    return np.tile(betas, (1, 4))


@pytest.fixture
def folder(tmp_path, whole):
    """Joined responses of three sessions, with a confound of trials that is removed."""
    files = [], []
    for number in range(3):
        rows = slice(number * N_TRIALS // 3, (number + 1) * N_TRIALS // 3)
        table = pd.DataFrame({name: ["n/a"] * (N_TRIALS // 3) for name in TRIAL_COLUMNS}).assign(
            trial=range(N_TRIALS // 3), run_group=RUNS[rows], session=str(number),
            stimulus=NAMES[rows], excluded=False,
            split=np.where(np.arange(N_TRIALS // 3) % 10 == 0, "test", "train"),
        )
        volumes = whole[rows].T.reshape(40, 40, 1, -1)
        stem = f"sub-01_ses-{number}_"
        files[0].append(save_nifti(tmp_path / f"{stem}betaseries.nii.gz", volumes, np.eye(4)))
        files[1].append(save_table(tmp_path / f"{stem}trials.tsv", table))
    return tmp_path, files


def test_joining_runs_reads_a_few_volumes_at_a_time(folder, whole):
    place, files = folder
    peak, _ = peak_of(responses.collect_responses, *files, [], place)
    np.testing.assert_array_equal(np.load(place / "betas.npy"), whole)
    assert peak < 0.3 * whole.nbytes


@pytest.mark.parametrize("removed", [[], ["trial_order"]])
@pytest.mark.parametrize("unit", ["session", "run"])
def test_loading_a_participant_takes_one_copy(folder, whole, removed, unit):
    place, files = folder
    responses.collect_responses(*files, [], place)
    responses.write_json(place / responses.REMOVED, removed)
    targets = Targets(tuple(NAMES), np.zeros((N_TRIALS, 2), np.float32), "features")
    peak, (train, test) = peak_of(
        responses.load_person, place, "01", targets, fold=None, normalise=unit
    )
    assert len(train.betas) == 0.9 * N_TRIALS
    assert list(test.trials["stimulus"]) == NAMES[::10]
    assert test.target_rows.tolist() == list(range(0, N_TRIALS, 10))
    assert peak < 1.5 * whole.nbytes


def test_sides_are_scaled_as_all_trials_in_their_order(folder, whole):
    place, files = folder
    responses.collect_responses(*files, [], place)
    trials = responses.read_trials(place / responses.TABLE)
    targets = Targets(tuple(NAMES), np.zeros((N_TRIALS, 2), np.float32), "features")
    train, test = responses.load_person(place, "01", targets, fold=None, normalise="run")
    is_train = (trials["split"] == "train").to_numpy()
    expected, _ = normalise.zscore_betas(whole, RUNS, is_train)
    np.testing.assert_array_equal(train.betas, expected[is_train])
    np.testing.assert_array_equal(test.betas, expected[~is_train])


def test_input_layer_holds_two_kernels_of_trials(latents):
    wide = np.random.default_rng(2).standard_normal((600, 900), dtype=np.float32)
    others = np.random.default_rng(3).standard_normal((900, N_LATENTS)).astype(np.float32)
    square = 8 * len(wide) ** 2
    for group_weight in (None, others):
        peak, _ = peak_of(
            input_layer.fit_input_layer, wide, latents[:600], RUNS[:600], group_weight=group_weight
        )
        assert peak < 2.9 * square


def test_kernel_of_many_trials_is_held_once_in_double_and_once_in_single_precision(
    latents, monkeypatch
):
    wide = np.random.default_rng(2).standard_normal((1200, 1300), dtype=np.float32)
    for module in (input_layer, penalties):
        monkeypatch.setattr(module, "MOST_TRIALS_TO_CHOOSE", 240)
    peak, _ = peak_of(input_layer.fit_input_layer, wide, latents[:1200], RUNS[:1200])
    assert peak < 1.7 * 8 * len(wide) ** 2


@pytest.mark.parametrize("penalty", [None, 0.1])
def test_input_layer_copies_no_responses(betas, latents, penalty):
    peak, _ = peak_of(input_layer.fit_input_layer, betas, latents, RUNS, penalty=penalty)
    products = 8 * N_VOXELS**2
    # To choose the penalty, sums of folds in single precision, with fewer voxels than trials used.
    matrices = 3 if penalty is None else 1
    assert peak < 0.4 * betas.nbytes + matrices * products


def test_ridge_regression_copies_no_responses(betas, latents):
    peak, found = peak_of(ridge.ridge_predict, betas, latents, betas[:9], RUNS)
    assert found.shape == (9, N_LATENTS)
    assert peak < 0.4 * betas.nbytes + 8 * N_VOXELS**2


def test_kernels_of_the_ridge_regression_are_as_many_as_it_counts_on(latents):
    wide = np.random.default_rng(4).standard_normal((600, 700), dtype=np.float32)
    peak, _ = peak_of(ridge.ridge_predict, wide, latents[:600], wide[:9], RUNS[:600])
    assert peak < (ridge._KERNEL_COPIES + 1) * 8 * len(wide) ** 2


def test_large_kernels_give_way_to_products_of_voxels(monkeypatch):
    wide = np.zeros((600, 900))
    assert not ridge._has_few_voxels(wide)
    monkeypatch.setattr(ridge, "_KERNEL_BYTES", 1 << 20)
    assert ridge._has_few_voxels(wide)
    assert not ridge._has_few_voxels(np.zeros((300, 900)))


@pytest.mark.parametrize("function", [
    lambda b, y: signal.log_evidence(b, y, RUNS),
    lambda b, y: patterns.explained_sd(b, np.ones((N_VOXELS, 2)), RUNS),
    lambda b, y: encoding.encoding_scores(b, y, RUNS),
    lambda b, y: normalise.statistics_of_rows(b, np.arange(N_TRIALS)),
])
def test_maps_of_voxels_take_parts_of_a_copy(betas, latents, function):
    peak, _ = peak_of(function, betas, latents)
    assert peak < 0.75 * betas.nbytes
