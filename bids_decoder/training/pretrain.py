"""Cross-subject pretraining of the trunk on the latents of the source participants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bids_decoder.config import Network
from bids_decoder.models.losses import Mix, bimixco, draw_mix, prototype_loss, softclip
from bids_decoder.models.networks import Trunk
from bids_decoder.models.seeding import seeded
from bids_decoder.seeds import derive_seed
from bids_decoder.training.episodes import (
    Latents,
    VoxelWeighting,
    draw_latents,
    each_with_some_runs,
    join_latents,
)
from bids_decoder.training.identification import distinctness
from bids_decoder.training.loop import Progress, Schedule, Setup, make_fabric, train
from bids_decoder.training.parallel import forward_together, join_fabric, n_processes, share
from bids_decoder.training.shared_noise import (
    MOST_TRIALS_TO_ESTIMATE,
    NoisePrior,
    measure_noise,
)
from bids_decoder.trials import Person

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BATCH_SIZE = 256
MIXED_SHARE = 1 / 3
"""Share of the epochs with mixed samples (MindEye2 and TROI: the first third)."""

PRETRAIN_RATE = 2e-3

MAX_LATENTS, MIN_LATENTS_PER_PERSON = 100_000, 1000
"""Limits on the held-out latents to train on: of all participants, and of each at least."""

LEAST_STIMULI = 4
"""Stimuli of which two can be told apart while a trunk is trained on two others."""

MANY_STIMULI = 100
"""With as many stimuli, a fifth of them is enough to choose the number of epochs."""


@dataclass(frozen=True, eq=False)
class LatentScale:
    """Scale of latents and context at the input of the trunk.

    Parameters
    ----------
    latent_sd : float
        Root mean square of the source participants' latents.
    log_trials_mean, log_trials_sd : float
        Of the base-2 logarithm of the number of calibration trials.
    """

    latent_sd: float
    log_trials_mean: float
    log_trials_sd: float

    @classmethod
    def of(cls, latents: Latents) -> LatentScale:
        """Compute the scale from the latents of the source participants."""
        # In blocks: a copy in double precision would be the largest array of all.
        total = np.einsum("nd,nd->", latents.values, latents.values, dtype=np.float64)
        return cls(
            float(np.sqrt(total / latents.values.size)) or 1.0, float(latents.log_trials.mean()),
            float(max(latents.log_trials.std(), 0.5)),
        )

    def context(self, log_trials: np.ndarray) -> np.ndarray:
        """Scale the context, clipped to two standard deviations of the training values.

        Parameters
        ----------
        log_trials : ndarray, shape (n,)
            Logarithm (base 2) of the number of trials that an input layer was fitted on.

        Returns
        -------
        ndarray of float32, shape (n, 1)
        """
        scaled = (np.asarray(log_trials) - self.log_trials_mean) / self.log_trials_sd
        return np.clip(scaled, -2, 2).astype(np.float32)[:, None]


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a batch: contrastive for stimuli, prototypes for categories.

    Parameters
    ----------
    vectors : Tensor, shape (n_ids, n_latents)
        Targets in the target space, on the device.
    is_category : bool
    alpha : float
        Shape of the Beta distribution of MixCo.
    n_mixed_epochs : int
        Epochs with mixed samples, before SoftCLIP.
    """

    vectors: Tensor
    is_category: bool
    alpha: float
    n_mixed_epochs: int

    def mix(self, people: np.ndarray, epoch: int, seed: int) -> Mix | None:
        """Draw partners and shares of a batch; None after the mixed epochs."""
        if epoch >= self.n_mixed_epochs:
            return None
        rng = np.random.default_rng(derive_seed(seed, "mix", epoch, len(people)))
        drawn = draw_mix(people, self.alpha, 0.5, rng)
        device = self.vectors.device
        return Mix(drawn.partner.to(device), drawn.share.to(device))

    def loss(self, embedding: Tensor, rows: Tensor, mix: Mix | None, scale: Tensor) -> Tensor:
        """Compute the loss of *embedding* (n, n_latents) for target rows (n,)."""
        if self.is_category:
            return prototype_loss(embedding, rows, self.vectors, mix, scale)
        target = self.vectors[rows]
        if mix is not None:
            return bimixco(embedding, target, rows[:, None] == rows[None, :], mix, scale)
        return softclip(embedding, target, scale)


def collect_latents(
    people: Iterable[Person], vectors: np.ndarray, weighting: VoxelWeighting, seed: int,
    n_people: int, noise: NoisePrior | None = None,
) -> Latents:
    """Draw the latents of all source participants, with one of them in memory at a time.

    With many participants a random part of each one's latents is kept, which bounds the memory.
    """
    most = max(MIN_LATENTS_PER_PERSON, MAX_LATENTS // n_people)
    parts = []
    for person in people:
        rng = np.random.default_rng(derive_seed(seed, "episodes", person.label))
        drawn = draw_latents(person, len(parts), vectors, weighting, rng, noise)
        if len(drawn.values) > most:
            drawn = drawn.subset(np.sort(rng.permutation(len(drawn.values))[:most]))
        parts.append(drawn)
        del person  # before the next one is loaded
    return join_latents(parts)


def noise_of_others(
    people: Iterable[Person], vectors: np.ndarray, weighting: VoxelWeighting
) -> NoisePrior:
    """Estimate how noise is correlated between voxels of source participants.

    Parameters
    ----------
    people : iterable of Person
        Training trials only.
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space.
    weighting : callable
        Computes voxel weights from trials.

    Returns
    -------
    NoisePrior
        As prior for new participants; see :meth:`.NoisePrior.of`.
    """
    measures = []
    for person in each_with_some_runs(people, MOST_TRIALS_TO_ESTIMATE):
        wanted = vectors[person.target_rows]
        measures.append(measure_noise(person, wanted, weighting(person, wanted)))
        del person  # before the next one is loaded
    return NoisePrior.of(measures)


def balanced_batches(people: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Generate batches in which all participants have the same share, whatever the trial counts.

    Parameters
    ----------
    people : ndarray of int, shape (n,)
    rng : numpy.random.Generator

    Yields
    ------
    ndarray of int
        Row numbers. An epoch has about *n* rows; rows of participants with few trials repeat.
    """
    members = [np.flatnonzero(people == number) for number in np.unique(people)]
    share = max(1, min(BATCH_SIZE, len(people)) // len(members))
    n_batches = max(1, len(people) // (share * len(members)))
    queues = [_endless(rows, share * n_batches, rng) for rows in members]
    for start in range(0, share * n_batches, share):
        yield np.concatenate([queue[start:start + share] for queue in queues])


def _endless(rows: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    rounds = -(-length // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:length]


def epoch_candidates(n_samples: int) -> list[int]:
    """Return candidate numbers of epochs, up to about 1500 steps, in factors of two.

    Examples
    --------
    >>> epoch_candidates(2560)
    [0, 9, 19, 38, 75, 150]
    """
    most = min(150, max(1, round(1500 / max(1, n_samples // BATCH_SIZE))))
    return sorted({0, *(round(most / 2**k) for k in range(5))})


def pretrain_trunk(
    latents: Latents, vectors: np.ndarray, is_category: bool, settings: Network, *, seed: int,
    device: str, checkpoint: Path | None = None, progress: Progress | None = None,
) -> tuple[Trunk, LatentScale, list[float]]:
    """Train the shared trunk on held-out latents of the source participants.

    Parameters
    ----------
    latents : Latents
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space; the latents must not contain trials of test stimuli.
    is_category : bool
    settings : Network
        With 0 epochs, :func:`choose_epochs` chooses their number.
    seed : int
    device : str
        Under ``torchrun`` all processes train together; see :mod:`.parallel`.
    checkpoint : Path, optional
        Not used under ``torchrun``, where an interrupted training starts from the beginning.
    progress : callable, optional

    Returns
    -------
    trunk : Trunk
        On the CPU in evaluation mode.
    scale : LatentScale
    losses : list of float
        Mean training loss of each epoch.
    """
    fabric = make_fabric(device, settings.precision)
    if n_processes() > 1:
        fabric, checkpoint = join_fabric(device, settings.precision), None
    share(fabric, latents=latents, vectors=vectors, is_category=is_category, settings=settings,
          seed=seed, device=device)
    n_epochs = settings.pretrain_epochs
    if n_epochs == 0 and is_category:
        n_epochs = epoch_candidates(len(latents.values))[-1]
    elif n_epochs == 0:
        n_epochs = choose_epochs(latents, vectors, settings, seed, fabric)
    setup = Setup(seed, fabric, checkpoint, progress)
    return _train_trunk(latents, vectors, is_category, settings, n_epochs, setup)


def choose_epochs(
    latents: Latents, vectors: np.ndarray, settings: Network, seed: int, fabric: Fabric
) -> int:
    """Choose the number of epochs by how well stimuli held out of the training are identified.

    A fifth of the stimuli is held out. With few stimuli the best of several numbers may be best by
    chance, and a trunk that fits the training stimuli only does harm. The choice is then
    repeated on the other fifths, and counts if these are better identified than by an untrained
    trunk, by more than one standard error. With fewer than :data:`LEAST_STIMULI` nothing can be
    chosen, and the trunk stays untrained. Not meant for categories, which have no stimuli to
    hold out.

    Returns
    -------
    int
        One of :func:`epoch_candidates`.
    """
    if len(np.unique(latents.target_rows)) < LEAST_STIMULI:
        return 0
    first, *others = _stimulus_folds(latents, derive_seed(seed, "validation"))
    heldout = _HeldOutStimuli(latents, vectors, settings, Setup(seed, fabric))
    candidates = epoch_candidates(len(latents.values))
    scores = [heldout.scores(first, n_epochs).mean() for n_epochs in candidates]
    best = candidates[int(np.argmax(scores))]
    if best == 0 or not others:
        return best
    gains = np.concatenate([
        heldout.scores(fold, best) - heldout.scores(fold, 0) for fold in others
    ])
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return best if gains.mean() > error else 0


@dataclass(frozen=True, eq=False)
class _HeldOutStimuli:
    """Trunks trained without the latents of some stimuli, and how well they identify these."""

    latents: Latents
    vectors: np.ndarray
    settings: Network
    setup: Setup

    def scores(self, heldout: np.ndarray, n_epochs: int) -> np.ndarray:
        """Return the mean distinctness of each stimulus in the rows *heldout* (mask)."""
        inner, outer = self.latents.subset(~heldout), self.latents.subset(heldout)
        trunk, scale, _ = _train_trunk(
            inner, self.vectors, False, self.settings, n_epochs, self.setup
        )
        with torch.no_grad():
            embedding = trunk(
                torch.from_numpy(outer.values / scale.latent_sd),
                torch.from_numpy(scale.context(outer.log_trials)),
            ).numpy()
        found = distinctness(embedding, outer.target_rows, self.vectors)
        member, counts = np.unique(outer.target_rows, return_inverse=True, return_counts=True)[1:]
        return np.bincount(member, weights=found) / counts


def _stimulus_folds(latents: Latents, seed: int) -> list[np.ndarray]:
    """Mark the latents of a fifth of the stimuli, and of the other fifths if they are few."""
    names = np.unique(latents.target_rows)
    count = max(2, len(names) // 5)
    drawn = np.random.default_rng(seed).permutation(names)
    n_folds = 1 if len(names) >= MANY_STIMULI else min(5, len(names) // count)
    return [
        np.isin(latents.target_rows, drawn[start:start + count])
        for start in range(0, n_folds * count, count)
    ]


def _train_trunk(
    latents: Latents, vectors: np.ndarray, is_category: bool, settings: Network, n_epochs: int,
    setup: Setup,
) -> tuple[Trunk, LatentScale, list[float]]:
    fabric, seed = setup.fabric, setup.seed
    scale = LatentScale.of(latents)
    trunk = build_trunk(vectors.shape[1], settings, seed)
    trunk.to(fabric.device)
    values = torch.from_numpy(latents.values).to(fabric.device)
    context = torch.from_numpy(scale.context(latents.log_trials)).to(fabric.device)
    rows = torch.from_numpy(latents.target_rows).to(fabric.device)
    objective = Objective(
        torch.from_numpy(vectors.astype(np.float32)).to(fabric.device), is_category,
        settings.mixco_alpha, round(MIXED_SHARE * n_epochs),
    )

    def loss_of(batch: np.ndarray, epoch: int) -> Tensor:
        mix = objective.mix(latents.people[batch], epoch, derive_seed(seed, int(batch[0])))
        samples = values[batch] / scale.latent_sd
        samples = samples if mix is None else mix.apply(samples)
        with fabric.autocast():
            embedding = forward_together(trunk, fabric, samples, context[batch])
        # The similarities of a contrastive loss need full precision.
        return objective.loss(embedding.float(), rows[batch], mix, trunk.scale)

    losses = train(
        trunk, loss_of, lambda rng: balanced_batches(latents.people, rng),
        Schedule(n_epochs, PRETRAIN_RATE, settings.weight_decay), setup,
    )
    return trunk.cpu().eval(), scale, losses


def build_trunk(n_latents: int, settings: Network, seed: int) -> Trunk:
    """Make an untrained trunk, which is the identity; *seed* sets its random weights."""
    hidden = settings.hidden or int(np.clip(2 * n_latents, 32, 1024))
    with seeded(derive_seed(seed, "trunk")):
        return Trunk(
            n_latents, n_latents, settings.trunk, hidden, settings.n_blocks, settings.dropout
        )
