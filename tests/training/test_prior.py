from __future__ import annotations

import numpy as np
import pytest
import torch

from bids_decoder.config import Network
from bids_decoder.models.networks import weights_of
from bids_decoder.models.prior import N_TIMES, DiffusionPrior, regression, signal_share
from bids_decoder.models.store import Model
from bids_decoder.training import prior as module
from bids_decoder.training.identification import row_cosines
from bids_decoder.training.prior import (
    Pairs,
    fit_calibration,
    fit_prior,
    restore_prior,
    sample_prior,
)

N_DIMS = 12


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(module, "N_STEPS", 12)
    monkeypatch.setattr(module, "N_STEPS_PERSON", 6)


def make_pairs(n=600, noise=1.0, seed=0):
    """True vectors of falling strength, decoded with equal noise and another length."""
    rng = np.random.default_rng(seed)
    wanted = rng.standard_normal((n, N_DIMS)) * np.linspace(3, 0.3, N_DIMS)
    decoded = 0.2 * (wanted + noise * rng.standard_normal((n, N_DIMS)))
    context = np.zeros((n, 1), np.float32)
    return Pairs(decoded.astype(np.float32), wanted.astype(np.float32), context,
                 np.zeros(n, dtype=int))


def cosine(values, pairs):
    return row_cosines(values, pairs.wanted).mean()


@pytest.fixture(scope="module")
def trained():
    before, module.N_STEPS = module.N_STEPS, 100
    try:
        return fit_prior(make_pairs(400), Network(), seed=1, device="cpu")
    finally:
        module.N_STEPS = before


def test_schedule_goes_from_signal_to_noise():
    share = signal_share(torch.arange(N_TIMES))
    assert share[0] > 0.99 and share[-1] < 0.01 and (share.diff() < 0).all()


def test_regression_agrees_with_least_squares():
    pairs = make_pairs()
    gain, centre = regression(torch.from_numpy(pairs.decoded), torch.from_numpy(pairs.wanted))
    for k in range(N_DIMS):
        expected = np.polyfit(pairs.decoded[:, k], pairs.wanted[:, k], 1)
        np.testing.assert_allclose([gain[k], centre[k]], expected, rtol=1e-3, atol=1e-4)
    found = fit_calibration(pairs)
    np.testing.assert_allclose(found["calibration.gain"], gain)


def test_untrained_prior_is_the_regression():
    pairs = make_pairs()
    prior = DiffusionPrior(N_DIMS)
    prior.calibrate(torch.from_numpy(pairs.decoded), torch.from_numpy(pairs.wanted))
    drawn = sample_prior(prior.eval(), pairs.decoded, pairs.context, 3)
    calibration = fit_calibration(pairs)
    expected = pairs.decoded * calibration["calibration.gain"] + calibration["calibration.centre"]
    np.testing.assert_allclose(drawn, expected, atol=1e-4)


def test_loss_falls_and_draws_are_nearer_than_what_went_in(trained):
    prior, losses = trained
    test = make_pairs(200, seed=9)
    assert losses[-1] < 0.9 * losses[0]
    drawn = sample_prior(prior, test.decoded, test.context, 1)
    assert cosine(drawn, test) > cosine(test.decoded, test) - 0.02
    assert cosine(drawn, test) > 0.5
    averaged = sample_prior(prior, test.decoded, test.context, 1, n_draws=4)
    assert cosine(averaged, test) > cosine(drawn, test)


def test_draws_follow_their_seed_and_condition(trained):
    prior, _ = trained
    test = make_pairs(20, seed=9)
    first = sample_prior(prior, test.decoded, test.context, 1)
    assert np.array_equal(first, sample_prior(prior, test.decoded, test.context, 1))
    assert not np.allclose(first, sample_prior(prior, test.decoded, test.context, 2))
    other = sample_prior(prior, np.roll(test.decoded, 1, axis=0), test.context, 1)
    assert cosine(first, test) > cosine(other, test) + 0.3


def test_hidden_conditions_give_the_average(trained):
    prior, _ = trained
    noise = torch.randn(400, N_DIMS, generator=torch.Generator().manual_seed(0))
    known = torch.zeros(400, dtype=torch.bool)
    late = torch.full((400,), float(N_TIMES - 1))
    with torch.no_grad():
        clean = prior(noise, late, 50 * torch.ones(400, N_DIMS), torch.zeros(400, 1), known)
    assert clean.abs().mean() < 1  # what was "decoded" did not leak in


def test_same_seed_same_bytes_and_mixing_changes_them():
    first, second, mixed = (
        weights_of(fit_prior(
            make_pairs(128), Network(mix_prior_target=mixes), seed=1, device="cpu"
        )[0], "prior")
        for mixes in (False, False, True)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], mixed[name]) for name in first)


def test_stage_two_goes_on_from_the_pretrained_prior(trained):
    prior, _ = trained
    model = Model(weights_of(prior, "prior"), {"n_latents": N_DIMS})
    start = restore_prior(model)
    tuned, _ = fit_prior(make_pairs(80, seed=4), Network(), seed=2, device="cpu", start=start)
    change = [
        np.abs(value - model.tensors[name]).max()
        for name, value in weights_of(tuned, "prior").items()
    ]
    assert 0 < max(change) < 0.1
    assert np.array_equal(weights_of(tuned, "prior")["prior.gain"], model.tensors["prior.gain"])
