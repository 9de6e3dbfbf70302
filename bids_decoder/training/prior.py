"""Training of the diffusion prior, across participants and then for one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bids_decoder.config import Network
from bids_decoder.models.losses import draw_mix
from bids_decoder.models.networks import load_weights
from bids_decoder.models.prior import N_TIMES, DiffusionPrior, regression, signal_share
from bids_decoder.models.seeding import seeded
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.training.loop import Schedule, Setup, make_fabric, shuffled_batches, train

BATCH_SIZE = 128
HIDDEN_SHARE = 0.2
"""Share of the samples whose decoded vector is hidden (conditioning dropout)."""

N_STEPS = 1500
N_STEPS_PERSON = 300
RATE, RATE_PERSON = 1e-3, 1e-4
MIXED_SHARE = 1 / 3


@dataclass(frozen=True, eq=False)
class Pairs:
    """Decoded vectors of trials held out of the decoder's fit, and the true vectors.

    Parameters
    ----------
    decoded, wanted : ndarray of float32, shape (n, n_latents)
    context : ndarray of float32, shape (n, 1)
    people : ndarray of int, shape (n,)
        Samples are mixed within a participant only.
    """

    decoded: np.ndarray
    wanted: np.ndarray
    context: np.ndarray
    people: np.ndarray


def fit_prior(
    pairs: Pairs, settings: Network, *, seed: int, device: str, start: DiffusionPrior | None = None
) -> tuple[DiffusionPrior, list[float]]:
    """Train the prior.

    The loss is the mean squared error of the clean vector at a random time of 100, with the
    decoded vector hidden for every fifth sample. In the first third of the epochs the decoded
    vectors are mixed in pairs (MixCo); the true vectors are mixed in the same way with
    ``settings.mix_prior_target``, and not otherwise, as in the code of MindEye2.

    Parameters
    ----------
    pairs : Pairs
        Training trials only.
    settings : Network
    seed : int
    device : str
    start : DiffusionPrior or None
        The prior of the source participants, from which training for one participant starts.

    Returns
    -------
    prior : DiffusionPrior
        On the CPU in evaluation mode.
    losses : list of float
        Mean training loss of each epoch.
    """
    fabric = make_fabric(device)
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(getattr(pairs, name), dtype=np.float32))
        for name in ("decoded", "wanted", "context")
    }
    prior = start if start is not None else _fresh(tensors, seed)
    prior.to(fabric.device)
    tensors = {name: values.to(fabric.device) for name, values in tensors.items()}
    n_samples = len(pairs.decoded)
    wanted_steps = N_STEPS if start is None else N_STEPS_PERSON
    n_epochs = max(3, round(wanted_steps * BATCH_SIZE / max(n_samples, BATCH_SIZE)))
    n_mixed = round(MIXED_SHARE * n_epochs)

    def loss_of(batch: np.ndarray, epoch: int) -> Tensor:
        rng = np.random.default_rng(derive_seed(seed, "prior", epoch, int(batch[0])))
        decoded, wanted, context = (values[batch] for values in tensors.values())
        if epoch < n_mixed:
            mix = draw_mix(pairs.people[batch], settings.mixco_alpha, 0.5, rng)
            mix = type(mix)(mix.partner.to(fabric.device), mix.share.to(fabric.device))
            decoded = mix.apply(decoded)
            wanted = mix.apply(wanted) if settings.mix_prior_target else wanted
        return _loss(prior, decoded, wanted, context, rng)

    losses = train(
        prior, loss_of, lambda rng: shuffled_batches(n_samples, BATCH_SIZE, rng),
        Schedule(n_epochs, RATE if start is None else RATE_PERSON, settings.weight_decay),
        Setup(derive_seed(seed, "prior"), fabric),
    )
    return prior.cpu().eval(), losses


def _fresh(tensors: dict[str, Tensor], seed: int) -> DiffusionPrior:
    with seeded(derive_seed(seed, "prior weights")):
        prior = DiffusionPrior(tensors["decoded"].shape[1])
    prior.calibrate(tensors["decoded"], tensors["wanted"])
    return prior


def _loss(
    prior: DiffusionPrior, decoded: Tensor, wanted: Tensor, context: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    n, device = len(decoded), decoded.device
    time = torch.from_numpy(rng.integers(0, N_TIMES, n)).to(device)
    noise = torch.from_numpy(rng.standard_normal(wanted.shape, dtype=np.float32)).to(device)
    known = torch.from_numpy(rng.random(n) >= HIDDEN_SHARE).to(device)
    clean, share = wanted / prior.size, signal_share(time)[:, None]
    noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
    return torch.nn.functional.mse_loss(
        prior(noisy, time.float(), decoded, context, known), clean
    )


def fit_calibration(pairs: Pairs) -> dict[str, np.ndarray]:
    """Regress each dimension of the true vectors on the decoded one (``--prior regression``)."""
    decoded, wanted = (
        torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        for values in (pairs.decoded, pairs.wanted)
    )
    gain, centre = regression(decoded, wanted)
    return {"calibration.gain": gain.numpy(), "calibration.centre": centre.numpy()}


def restore_prior(model: Model) -> DiffusionPrior:
    """Build the prior that is stored in a model."""
    return load_weights(DiffusionPrior(int(model.card["n_latents"])), model.part("prior"))


def sample_prior(
    prior: DiffusionPrior, decoded: np.ndarray, context: np.ndarray, seed: int, n_draws: int = 1
) -> np.ndarray:
    """Draw clean vectors for decoded ones.

    Parameters
    ----------
    prior : DiffusionPrior
    decoded : ndarray, shape (n, n_latents)
    context : ndarray, shape (n, 1)
    seed : int
    n_draws : int
        Number of draws to average.

    Returns
    -------
    ndarray of float32, shape (n, n_latents)
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    given = torch.from_numpy(np.asarray(decoded, dtype=np.float32))
    about = torch.from_numpy(np.asarray(context, dtype=np.float32))
    draws = [prior.sample(given, about, generator) for _ in range(n_draws)]
    return torch.stack(draws).mean(dim=0).numpy()
