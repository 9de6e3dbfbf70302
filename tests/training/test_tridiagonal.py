"""Energies, determinants and solutions of penalised kernels are those of numpy."""

import numpy as np
import pytest

from bids_decoder.training.tridiagonal import Tridiagonal


@pytest.mark.parametrize(("n_sets", "size", "n_voxels"), [
    (3, 20, 50), (2, 20, 6), (1, 1, 4), (2, 2, 4), (2, 70, 90),
], ids=["full", "few voxels", "one trial", "two trials", "blocks"])
def test_as_without_the_form(n_sets, size, n_voxels):
    rng = np.random.default_rng(0)
    betas = rng.standard_normal((n_sets, size, n_voxels))
    kernels, targets = betas @ betas.swapaxes(1, 2), rng.standard_normal((n_sets, size, 3))
    before = kernels.copy()
    penalties = rng.uniform(0.1, 20, (n_sets, 4))
    forms = Tridiagonal.of(kernels, targets)
    energies, log_determinants = forms.energies(penalties)
    solved = forms.solve(penalties[:, 2])
    np.testing.assert_array_equal(kernels, before)
    for number in range(n_sets):
        for column, penalty in enumerate(penalties[number]):
            full = kernels[number] + penalty * np.eye(size)
            expected = np.linalg.solve(full, targets[number])
            energy = np.trace(targets[number].T @ expected)
            assert energies[number, column] == pytest.approx(energy, rel=1e-9)
            assert log_determinants[number, column] == pytest.approx(
                np.linalg.slogdet(full)[1], rel=1e-9
            )
            if column == 2:
                np.testing.assert_allclose(solved[number], expected, rtol=1e-7, atol=1e-9)


def test_others_make_no_difference():
    rng = np.random.default_rng(1)
    betas, targets = rng.standard_normal((4, 15, 30)), rng.standard_normal((4, 15, 2))
    kernels, penalties = betas @ betas.swapaxes(1, 2), np.array([1.0, 2.0, 3.0, 4.0])
    together = Tridiagonal.of(kernels, targets).solve(penalties)
    alone = Tridiagonal.of(kernels[2:3], targets[2:3]).solve(penalties[2:3])
    np.testing.assert_array_equal(together[2], alone[0])
