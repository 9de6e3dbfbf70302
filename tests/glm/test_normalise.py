import numpy as np
import pytest

from bids_decoder.errors import InputError
from bids_decoder.glm import normalise
from bids_decoder.glm.normalise import zscore_betas


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c"], [10, 8, 6])
    shift = {"a": 0.0, "b": 5.0, "c": -3.0}
    betas = rng.standard_normal((24, 7)) * 2 + np.array([shift[g] for g in groups])[:, None]
    train = np.array([True] * 8 + [False] * 2 + [True] * 2 + [False] * 6 + [False] * 6)
    return betas.astype(np.float32), groups, train


def zscore(rows, reference):
    """Shrunk by hand: each variance counts for its trials, the typical one for ten."""
    variance = reference.astype(float).var(axis=0)
    typical = np.prod(variance) ** (1 / len(variance))
    n = len(reference)
    return (rows - reference.mean(axis=0)) / np.sqrt((n * variance + 10 * typical) / (n + 10))


def test_each_kind_of_group_gets_its_statistics(data):
    betas, groups, train = data
    scores, notes = zscore_betas(betas, groups, train)
    pooled = betas[train]
    assert scores.dtype == np.float32
    assert np.allclose(scores[:10], zscore(betas[:10], betas[:8]), atol=1e-5)
    assert np.allclose(scores[10:18], zscore(betas[10:18], pooled), atol=1e-5)
    assert np.allclose(scores[18:], zscore(betas[18:], pooled), atol=1e-5)
    assert any("own training" in note and note.endswith(": a") for note in notes)
    assert any("fewer than 4" in note and note.endswith(": b") for note in notes)
    assert any("no training" in note and note.endswith(": c") for note in notes)


def test_trials_may_be_some_rows_in_another_order(data):
    betas, groups, train = data
    rows = np.random.default_rng(4).permutation(24)[:20]
    expected = zscore_betas(betas[rows], groups[rows], train[rows])
    found = zscore_betas(betas, groups[rows], train[rows], rows)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1] == expected[1]


def test_four_training_trials_are_enough_for_their_own_statistics(data):
    betas, groups, train = data
    train[10:14] = True
    scores, notes = zscore_betas(betas, groups, train)
    assert any("own training" in note and note.endswith(": a, b") for note in notes)
    assert np.allclose(scores[10:18], zscore(betas[10:18], betas[10:14]), atol=1e-5)


@pytest.mark.parametrize("block", [1, 3, 7])
def test_blocks_change_nothing(data, monkeypatch, block):
    betas, groups, train = data
    whole, _ = zscore_betas(betas, groups, train)
    monkeypatch.setattr(normalise, "_BLOCK", block)
    np.testing.assert_array_equal(zscore_betas(betas, groups, train)[0], whole)
    betas[-1, -1] = np.nan
    with pytest.raises(InputError):
        zscore_betas(betas, groups, train)


def test_many_trials_give_plain_z_scores():
    rng = np.random.default_rng(1)
    betas = rng.standard_normal((4000, 6)) * np.arange(1, 7)
    scores, _ = zscore_betas(betas, np.full(4000, "a"), np.ones(4000, bool))
    assert np.allclose(scores.std(axis=0), 1, atol=0.01)


def test_few_trials_do_not_make_quiet_voxels_loud():
    """All voxels have the same spread; with five trials the scales found by chance differ."""
    rng = np.random.default_rng(2)
    betas = rng.standard_normal((1005, 400)) + 10
    train = np.arange(1005) < 5
    scores, _ = zscore_betas(betas, np.full(1005, "a"), train)
    found = scores[5:].std(axis=0)
    plain = betas[5:].std(axis=0) / betas[:5].std(axis=0)
    assert found.std() / found.mean() < 0.3 * plain.std() / plain.mean()


def test_a_few_wild_voxels_do_not_set_the_scale():
    rng = np.random.default_rng(3)
    betas = rng.standard_normal((8, 200))
    betas[:, :4] *= 1000
    scores, _ = zscore_betas(betas, np.full(8, "a"), np.ones(8, bool))
    assert 0.7 < np.median(scores[:, 4:].std(axis=0)) < 1.1


def test_test_trials_never_move_anything_else(data):
    betas, groups, train = data
    before, _ = zscore_betas(betas, groups, train)
    changed = betas.copy()
    changed[~train] += 100
    after, _ = zscore_betas(changed, groups, train)
    assert np.array_equal(before[train], after[train])


def test_constant_voxels_become_zero(data):
    betas, groups, train = data
    betas[:, 2] = 0.1
    betas[train, 3] = 7.0  # constant in training, not in test
    scores, _ = zscore_betas(betas, groups, train)
    assert np.isfinite(scores).all()
    assert not scores[:, 2:4].any()
    rounded = betas.astype(np.float64)
    rounded[:, 4] = 1000 + 1e-6 * rounded[:, 4]  # varies by rounding alone
    assert not zscore_betas(rounded, groups, train)[0][:, 4].any()


def test_input_is_not_changed_and_numbers_are_fine(data):
    betas, groups, train = data
    copy = betas.copy()
    zscore_betas(betas, groups, train)
    assert np.array_equal(betas, copy)


def test_unusable_input_is_refused(data):
    betas, groups, train = data
    for broken in (
        (betas, groups, np.zeros(24, bool)), (betas[:5], groups, train),
        (np.where(betas > 1, np.nan, betas), groups, train),
    ):
        with pytest.raises(InputError, match="z-scoring"):
            zscore_betas(*broken)
