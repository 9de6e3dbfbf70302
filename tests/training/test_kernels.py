"""Weighted kernels, energies, determinants and solutions are those of numpy."""

import numpy as np
import pytest

from bids_decoder.training import kernels
from bids_decoder.training.kernels import Kernels, weighted_kernels
from bids_decoder.training.penalties import likeliest_penalties


@pytest.mark.parametrize(("n_sets", "size", "n_voxels"), [
    (3, 20, 50), (2, 20, 6), (1, 1, 4), (2, 2, 4), (2, 70, 90),
], ids=["full", "few voxels", "one trial", "two trials", "blocks"])
def test_as_numpy_solves(n_sets, size, n_voxels):
    rng = np.random.default_rng(0)
    betas = rng.standard_normal((n_sets, size, n_voxels))
    products, targets = betas @ betas.swapaxes(1, 2), rng.standard_normal((n_sets, size, 3))
    before = products.copy()
    sets = np.arange(n_sets)[::-1]
    penalties = rng.uniform(0.1, 20, n_sets)
    found = Kernels(products, targets).penalise(penalties, sets)
    np.testing.assert_array_equal(products, before)
    for place, number in enumerate(sets):
        full = products[number] + penalties[place] * np.eye(size)
        expected = np.linalg.solve(full, targets[number])
        energy = np.trace(targets[number].T @ expected)
        assert found.energies[place] == pytest.approx(energy, rel=1e-9)
        assert found.log_determinants[place] == pytest.approx(
            np.linalg.slogdet(full)[1], rel=1e-9
        )
        np.testing.assert_allclose(found.solutions[place], expected, rtol=1e-7, atol=1e-9)


def test_others_make_no_difference():
    rng = np.random.default_rng(1)
    betas, targets = rng.standard_normal((4, 15, 30)), rng.standard_normal((4, 15, 2))
    products, penalties = betas @ betas.swapaxes(1, 2), np.array([1.0, 2.0, 3.0, 4.0])
    together = Kernels(products, targets).penalise(penalties, np.arange(4))
    alone = Kernels(products[2:3], targets[2:3]).penalise(penalties[2:3], np.array([0]))
    np.testing.assert_array_equal(together.solutions[2], alone.solutions[0])


def test_a_kernel_that_is_none_is_an_error():
    with pytest.raises(np.linalg.LinAlgError):
        Kernels(-np.eye(3)[None], np.ones((1, 3, 1))).penalise(np.array([0.5]), np.array([0]))


@pytest.mark.parametrize("n_sets", [1, 15, 16, 40])
@pytest.mark.parametrize("n_bytes", [1, 4000, 1 << 20], ids=["row by row", "some rows", "all"])
def test_weighted_kernels(n_sets, n_bytes, monkeypatch):
    monkeypatch.setattr(kernels, "_BYTES", n_bytes)
    rng = np.random.default_rng(2)
    betas = rng.standard_normal((12, 33)).astype(np.float32)
    scales = rng.uniform(0, 1, (n_sets, 33)).astype(np.float32)
    scales[:, ::5] = 0
    expected = np.einsum("sv,tv,uv->stu", scales.astype(float) ** 2, betas, betas)
    found = weighted_kernels(betas, scales)
    above = np.triu_indices(12)
    np.testing.assert_allclose(found[:, *above], expected[:, *above], atol=1e-4)


def evidence_of_all(forms, sizes, candidates):
    found = [forms.penalise(c * sizes, np.arange(len(sizes))) for c in candidates]
    return np.stack([-forms.n_rows * np.log(f.energies) - f.log_determinants for f in found])


def test_noise_that_voxels_share_has_two_peaks_of_evidence():
    """One at strong and one at weak penalties, for labels: the higher one is found."""
    candidates, rows = np.logspace(-2.5, 0, 6), np.tile(np.arange(4), 10)
    centring = np.eye(40) - (np.arange(40)[:, None] // 4 == np.arange(40) // 4) / 4
    basis, latents = np.linalg.eigh(centring)[1][:, 10:], np.linalg.svd(np.eye(4) - 0.25)[0][:, :3]
    products, targets = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        count, patterns = rng.integers(1, 8), rng.uniform(0.05, 0.6) * rng.standard_normal((4, 400))
        shared = 10 ** rng.uniform(-1, 1) * rng.standard_normal((count, 400))
        noise = rng.standard_normal((40, count)) @ shared + rng.standard_normal((40, 400))
        betas = basis.T @ (patterns[rows] + noise)
        for labels in (rows, rng.permutation(rows)):
            products.append(betas @ betas.T)
            targets.append(basis.T @ latents[labels])
    forms = Kernels(np.array(products), np.array(targets))
    evidence = evidence_of_all(forms, forms.sizes(40), candidates)
    penalties = likeliest_penalties(forms, forms.sizes(40), 30, candidates).penalties
    np.testing.assert_array_equal(penalties, candidates[evidence.argmax(axis=0)])
    is_dip = evidence[1:-1].min(axis=0) < np.minimum(evidence[0], evidence[-1])
    assert is_dip.sum() > 5 and {candidates[0], candidates[-1]} <= set(penalties)


def test_candidates_in_any_order_and_the_highest_evidence():
    rng = np.random.default_rng(3)
    betas = rng.standard_normal((40, 30, 50)) * rng.uniform(0.1, 2, (40, 1, 50))
    targets = betas[:, :, :2] + 10 ** rng.uniform(-1, 1.5, (40, 1, 1)) * rng.standard_normal(
        (40, 30, 2)
    )
    forms, candidates = Kernels(betas @ betas.swapaxes(1, 2), targets), np.logspace(-2.5, 1.5, 9)
    sizes = forms.sizes(30)
    expected = candidates[evidence_of_all(forms, sizes, candidates).argmax(axis=0)]
    penalties, solutions, _ = likeliest_penalties(forms, sizes, 30, candidates)
    np.testing.assert_array_equal(penalties, expected)
    assert len(set(penalties)) > 3
    shuffled, again, _ = likeliest_penalties(forms, sizes, 30, rng.permutation(candidates))
    np.testing.assert_array_equal(shuffled, penalties)
    np.testing.assert_array_equal(again, solutions)
    np.testing.assert_allclose(
        solutions, forms.penalise(penalties * sizes, np.arange(40)).solutions
    )
