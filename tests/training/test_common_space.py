"""What the source people's voxels say about a new person's, where all share a space."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import signal_people
from sklearn.metrics import roc_auc_score

from bids_decoder.config import Network, Troi
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.models.store import load_model, save_model
from bids_decoder.simulate.responses import make_world, simulate_person
from bids_decoder.simulate.world import ResponseSettings
from bids_decoder.training import common_space
from bids_decoder.training.common_space import CommonMaps, gather_common
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.field import SignalField, map_signal
from bids_decoder.training.identification import row_cosines
from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.signal import SIGNAL_SHARES, signal_shares
from bids_decoder.training.source_fits import fit_source
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

SPACE = "MNI152NLin2009cAsym"
WORLD = ResponseSettings(
    shape=(24, 22, 18), n_roi=500, median_ncsnr=0.3, n_features=24, n_embedding=24,
    similarity=0.95,
)


def person_of(subject, n_train, first=0):
    """A simulated person and the vectors of the pictures; the truth beside them."""
    truth = simulate_person(
        make_world(WORLD, 3), subject, n_train=n_train, n_test_images=60, n_repeats=1
    )
    betas, _ = zscore_betas(
        truth.train.betas, truth.train.sessions.astype(str), np.ones(n_train, bool)
    )
    table = pd.DataFrame({
        "trial": np.arange(1, n_train + 1), "split": "train", "stimulus": truth.train.images,
        "run_group": [f"run-{r}" for r in truth.train.runs],
    })
    rows = first + np.arange(n_train)
    return Person(f"{subject}", truth.grid, betas, table, rows, SPACE), truth


@pytest.fixture(scope="module")
def cohort():
    """Three source people, a new person with little data, all vectors, and the truth."""
    sources, parts, first = [], [], 0
    for subject in (1, 2, 3):
        person, truth = person_of(subject, 500, first)
        sources.append(person)
        parts.append(truth.train.embeddings)
        first += 500
    new, truth = person_of(4, 40, first)
    return sources, new, np.concatenate([*parts, truth.train.embeddings]), truth


@pytest.fixture(scope="module")
def maps(cohort):
    sources, _, vectors, _ = cohort
    return gather_common(sources, vectors)


def with_prior(person, wanted, prior):
    """Shares of signal with what the source people say."""
    return map_signal(person, wanted, prior.chances).share


def test_the_prior_finds_the_region_and_lifts_decoding_of_short_data(cohort, maps):
    _, new, vectors, truth = cohort
    wanted = vectors[new.target_rows]
    prior = maps.prior_of(new)
    alone = signal_shares(new, wanted, 3.0)
    helped = with_prior(new, wanted, prior)
    auc = roc_auc_score(truth.roi, helped)
    assert auc > roc_auc_score(truth.roi, alone) + 0.1
    assert auc > roc_auc_score(truth.roi, map_signal(new, wanted).share)
    test, _ = zscore_betas(truth.test.betas, np.repeat("t", 60), np.ones(60, bool))
    score = {
        name: row_cosines(fit_input_layer(
            new.betas, wanted, new.run_groups, alone, group_weight=weight
        ).latents(test), truth.test.embeddings).mean()
        for name, weight in (("alone", None), ("helped", prior.weight))
    }
    assert score["helped"] > score["alone"] + 0.02


def test_each_source_participant_is_fitted_once(cohort, monkeypatch):
    sources, _, vectors, _ = cohort
    fitted = []

    def record(person, wanted):
        fitted.append(person.label)
        return fit_source(person, wanted)

    monkeypatch.setattr(common_space, "fit_source", record)
    maps = gather_common(sources, vectors)
    assert fitted == [person.label for person in sources] == [one.label for one in maps.left_out]


def test_people_who_do_not_correspond_do_no_harm(cohort):
    sources, new, vectors, truth = cohort
    rng = np.random.default_rng(0)
    moved = [
        replace(p, betas=p.betas[:, rng.permutation(p.grid.n_voxels)]) for p in sources
    ]
    prior = gather_common(moved, vectors).prior_of(new)
    wanted = vectors[new.target_rows]
    weights = map_signal(new, wanted).share
    test, _ = zscore_betas(truth.test.betas, np.repeat("t", 60), np.ones(60, bool))
    plain, mixed = (
        row_cosines(fit_input_layer(
            new.betas, wanted, new.run_groups, weights, group_weight=weight
        ).latents(test), truth.test.embeddings).mean()
        for weight in (None, prior.weight)
    )
    assert mixed > plain - 0.01
    auc = roc_auc_score(truth.roi, with_prior(new, wanted, prior))
    assert auc > roc_auc_score(truth.roi, weights) - 0.02


def test_only_a_shared_space_and_grid_give_maps(cohort, maps):
    sources, new, vectors, _ = cohort
    assert gather_common([replace(p, space="") for p in sources], vectors) is None
    assert gather_common([sources[0], replace(sources[1], space="other")], vectors) is None
    shifted = VoxelGrid(new.grid.mask, new.grid.affine + np.eye(4, k=3))
    assert gather_common([sources[0], replace(sources[1], grid=shifted)], vectors) is None
    assert maps.prior_of(replace(new, space="")) is None


def test_rows_of_other_masks_meet_their_own_places():
    grid = VoxelGrid(np.array([[[1, 1], [0, 1]]], bool), np.eye(4))
    own = VoxelGrid(np.array([[[0, 1], [1, 1]]], bool), np.eye(4))
    weight = np.array([[1.0], [2.0], [3.0]], np.float32)
    chances = np.eye(len(SIGNAL_SHARES), 3, dtype=np.float32)
    person = Person("1", own, np.zeros((2, 3), np.float32), pd.DataFrame(), np.arange(2), SPACE)
    prior = CommonMaps(SPACE, grid, weight, chances, 6.0, 0.1).prior_of(person)
    assert prior.weight.ravel().tolist() == [2.0, 0.0, 3.0]
    np.testing.assert_allclose(prior.chances[:, [0, 2]], chances[:, 1:])
    np.testing.assert_allclose(prior.chances.sum(axis=0), 1.0, rtol=1e-5)


def finer(grid):
    """The same box in voxels of half the size, whose mask is where the coarse one is."""
    mask = grid.mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = grid.affine @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] -= grid.affine[:3, :3] @ np.full(3, 0.25)
    return VoxelGrid(mask, affine)


def test_maps_on_another_grid_of_the_space_are_interpolated(maps):
    grid = finer(maps.grid)
    person = Person("n", grid, np.zeros((1, grid.n_voxels), np.float32), pd.DataFrame(),
                    np.arange(1), SPACE)
    prior = maps.prior_of(person)
    assert prior.resampled
    np.testing.assert_allclose(prior.chances.sum(axis=0), 1.0, rtol=1e-4)
    volume = grid.to_volume(prior.chances[0])
    coarse = maps.grid.to_volume(maps.chances[0])
    means = volume.reshape(24, 2, 22, 2, 18, 2).mean(axis=(1, 3, 5))[maps.grid.mask]
    assert np.corrcoef(means, coarse[maps.grid.mask])[0, 1] > 0.99
    same = maps.prior_of(replace(person, grid=maps.grid))
    assert not same.resampled
    np.testing.assert_array_equal(same.weight, maps.weight)
    np.testing.assert_allclose(same.chances, maps.chances, rtol=1e-5)


def test_voxels_beyond_the_maps_are_unknown(maps):
    shift = np.eye(4)
    shift[0, 3] = 1000.0
    grid = VoxelGrid(maps.grid.mask, shift @ maps.grid.affine)
    person = Person("n", grid, np.zeros((1, grid.n_voxels), np.float32), pd.DataFrame(),
                    np.arange(1), SPACE)
    prior = maps.prior_of(person)
    assert not prior.weight.any()
    mean = np.repeat(maps.chances.mean(axis=1, keepdims=True), grid.n_voxels, axis=1)
    np.testing.assert_allclose(prior.chances, mean, rtol=1e-5)


def test_few_trials_leave_the_prior_as_it_was(cohort, maps):
    _, new, vectors, _ = cohort
    prior = maps.prior_of(new).chances
    few = new.subset(np.arange(5))
    after = map_signal(few, vectors[few.target_rows], prior, SignalField(0.0, 1.0)).chances
    before, after = (np.clip(c[0].astype(float), 1e-4, 1 - 1e-4) for c in (prior, after))
    moved = np.log(after / (1 - after)) - np.log(before / (1 - before))
    # How common signal is follows from the person; where it is, from the prior alone.
    inside = (before > 2e-4) & (before < 1 - 2e-4) & (after > 2e-4) & (after < 1 - 2e-4)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(moved[inside], moved[inside][0], atol=1e-2)


def test_the_group_weight_is_believed_as_far_as_it_fits():
    rng = np.random.default_rng(1)
    betas = rng.standard_normal((60, 30)).astype(np.float32)
    true = rng.standard_normal((30, 4))
    runs = np.repeat(["1", "2", "3"], 20)
    right = fit_input_layer(betas, betas @ true, runs, penalty=10.0, group_weight=7 * true)
    cosine = (right.weight * true).sum() / np.linalg.norm(right.weight) / np.linalg.norm(true)
    assert cosine > 0.9999
    plain = fit_input_layer(betas, betas @ true, runs, penalty=10.0)
    against = fit_input_layer(betas, betas @ true, runs, penalty=10.0, group_weight=-true)
    np.testing.assert_allclose(against.weight, plain.weight, atol=1e-6)


def test_voxels_outside_the_mask_get_no_weight_from_the_group():
    rng = np.random.default_rng(1)
    betas = rng.standard_normal((40, 10)).astype(np.float32)
    inside = np.arange(10) < 6
    fit = fit_input_layer(
        betas, rng.standard_normal((40, 3)), np.repeat(["1", "2"], 20), inside.astype(float),
        group_weight=rng.standard_normal((10, 3)),
    )
    assert not fit.weight[~inside].any() and fit.weight[inside].all()


def test_maps_are_stored_in_half_the_size(maps):
    tensors = maps.tensors()
    assert tensors["common.weight"].dtype == np.float16
    part = {name.removeprefix("common."): values for name, values in tensors.items()}
    stored = CommonMaps.restore(maps.card(), part)
    np.testing.assert_allclose(stored.chances, maps.chances, atol=1e-3)
    np.testing.assert_allclose(stored.weight, maps.weight, atol=1e-3 * np.abs(maps.weight).max())
    assert (stored.grid.mask == maps.grid.mask).all() and stored.card() == maps.card()


def test_a_model_keeps_the_maps_and_a_person_says_whether_they_were_used(
    cohort, tmp_path, monkeypatch
):
    sources, new, vectors, _ = cohort
    targets = Targets(tuple(f"s{i}" for i in range(len(vectors))), vectors, "features")
    checkpoint = tmp_path / "state.safetensors"
    context = FitContext(Network(pretrain_epochs=1), Troi(), 1, "cpu", checkpoint=checkpoint)
    decoder = TroiDecoder()
    # Temporary files are beside the checkpoint: those of the system may be in memory.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError):
        gather_common(sources, vectors)
    model = load_model(save_model(tmp_path / "m.safetensors",
                                  decoder.pretrain(sources, targets, context)))
    assert model.card["common"]["space"] == SPACE
    stored = CommonMaps.restore(model.card["common"], model.part("common"))
    assert stored.weight.shape == (new.grid.n_voxels, model.card["n_latents"])
    without = replace(context, network=replace(context.network, group_prior=False))
    used = {}
    for name, person, how in (
        ("space", new, context), ("own", replace(new, space=""), context), ("off", new, without),
    ):
        selection = decoder.select(person, targets, model, how)
        adapted = decoder.adapt(person, targets, selection, model, how)
        used[name] = adapted.card["group_prior"]
        assert not adapted.part("common")
    assert used == {"space": SPACE, "own": "", "off": ""}
    calls, prior_of = [], CommonMaps.prior_of
    monkeypatch.setattr(
        CommonMaps, "prior_of", lambda maps, who: calls.append(who) or prior_of(maps, who)
    )
    decoder.adapt(new, targets, decoder.select(new, targets, model, without), model, context)
    assert len(calls) == 1, "the participant is set up once"
    assert not decoder.pretrain(sources, targets, without).part("common")


def test_what_a_participant_does_not_show_is_known_from_the_others():
    """Two of three do not respond in the first layers, where signal is; nobody in the last one."""
    layer = np.repeat(np.arange(8), 48)
    people, vectors = [], []
    for number in range(3):
        person, wanted, _ = signal_people.make_person(0.3, seed=number)
        blind = (layer == 7) | (layer < (2 if number else 0))
        people.append(replace(
            person, betas=np.where(blind, 0, person.betas), space=SPACE,
            target_rows=np.arange(len(wanted)) + number * len(wanted),
        ))
        vectors.append(wanted)
    chances = gather_common(people, np.concatenate(vectors).astype(np.float32)).chances
    silent = chances[0].reshape(8, 48).mean(axis=1)
    np.testing.assert_allclose(silent[[0, 7]], silent[[2, 6]], atol=0.05)
    assert silent[0] + 0.1 < silent[6]
    np.testing.assert_allclose(chances.sum(axis=0), 1, rtol=1e-4)
