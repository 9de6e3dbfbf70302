"""Training of one participant's input layer through the shared trunk."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bids_decoder.config import Network
from bids_decoder.models.networks import InputLayer, Trunk
from bids_decoder.seeds import derive_seed
from bids_decoder.training.common_space import CommonMaps
from bids_decoder.training.identification import distinctness
from bids_decoder.training.input_layer import InputFit, fit_input_layer
from bids_decoder.training.loop import Schedule, Setup, make_fabric, shuffled_batches, train
from bids_decoder.training.penalties import (
    DEFAULT_PENALTY,
    PENALTY_FOR_STIMULI,
    likely_candidates,
)
from bids_decoder.training.pretrain import LatentScale, Objective
from bids_decoder.training.shared_noise import NoisePrior
from bids_decoder.trials import Person

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True, eq=False)
class SharedModel:
    """The part of a model that participants share: trunk, scale of its input, targets.

    Parameters
    ----------
    trunk : Trunk
    scale : LatentScale
    vectors : ndarray of float32, shape (n_ids, n_latents)
        Targets in the target space.
    is_category : bool
    common : CommonMaps, optional
        Mean maps of the source participants, if all share a standard space.
    closed_form : bool
        Nothing is trained; see :func:`.labellings.fits_in_closed_form`.
    noise : NoisePrior, optional
        Of the noise that is subtracted from responses; by default none is.
    share_prior : ndarray, shape (n_shares,), optional
        How shares of signal are distributed over voxels; see :mod:`.share_prior`.
    """

    trunk: Trunk
    scale: LatentScale
    vectors: np.ndarray
    is_category: bool
    common: CommonMaps | None = None
    closed_form: bool = False
    noise: NoisePrior | None = None
    share_prior: np.ndarray | None = None

    def shrunk(self, share: float) -> SharedModel:
        """Return the model with :meth:`.Trunk.shrunk` of its trunk."""
        return replace(self, trunk=self.trunk.shrunk(share))

    def embed(self, latents: np.ndarray, n_trials: int) -> np.ndarray:
        """Pass latents (n, n_latents) of an input layer fitted on *n_trials* through the trunk."""
        context = np.repeat(self.scale.context(np.array([np.log2(n_trials)])), len(latents), axis=0)
        device = self.trunk.bias.device
        with torch.no_grad():
            scaled = torch.from_numpy(latents.astype(np.float32) / self.scale.latent_sd)
            return self.trunk(scaled.to(device), torch.from_numpy(context).to(device)).cpu().numpy()

    def distinctness(
        self, latents: np.ndarray, n_trials: int, target_rows: np.ndarray
    ) -> np.ndarray:
        """Return how distinct the targets of trials are, decoded as by :meth:`embed`, (n,)."""
        return distinctness(self.embed(latents, n_trials), target_rows, self.vectors)


class Adaptation:
    """Train the input layer of one participant through the shared trunk.

    The trunk is frozen, unless :meth:`train` is called with a copy of it.

    Parameters
    ----------
    person : Person
        Training trials only.
    shared : SharedModel
    settings : Network
    seed : int
    device : str
    """

    def __init__(
        self, person: Person, shared: SharedModel, settings: Network, *, seed: int, device: str
    ) -> None:
        self.person = person
        self.shared = shared
        self.settings = settings
        self.seed = seed
        self.device = torch.device(device)
        self.trunk = shared.trunk.to(self.device).eval().requires_grad_(False)
        self.vectors = torch.from_numpy(shared.vectors.astype(np.float32)).to(self.device)
        self.wanted = shared.vectors[person.target_rows]
        self.prior = None if shared.common is None else shared.common.prior_of(person)
        self._make_fabric = cache(partial(make_fabric, device, settings.precision))

    def with_person(self, person: Person, seed: int | None = None) -> Adaptation:
        """Return the adaptation to some of the trials, or to other responses, in these voxels.

        Parameters
        ----------
        person : Person
        seed : int, optional
            By default the same.
        """
        other = copy(self)
        other.person = person
        other.seed = self.seed if seed is None else seed
        other.wanted = self.shared.vectors[person.target_rows]
        return other

    def shrunk(self, share: float) -> Adaptation:
        """Return the adaptation through :meth:`.Trunk.shrunk` of the trunk."""
        other = copy(self)
        other.shared = self.shared.shrunk(share)
        other.trunk = other.shared.trunk.to(self.device).eval().requires_grad_(False)
        return other

    @property
    def fabric(self) -> Fabric:
        """Fabric of the training, made at its first use, by all adaptations made from this one.

        Making one reads the metadata of all installed packages, which takes longer than a fit.
        """
        return self._make_fabric()

    def closed_form(self, voxel_weights: np.ndarray) -> InputFit:
        """Fit the input layer in closed form, with the source participants' as prior if known.

        Parameters
        ----------
        voxel_weights : ndarray, shape (n_voxels,)
            Prior scale; zero drops a voxel.
        """
        is_category, candidates = self.shared.is_category, None
        if self.shared.closed_form:
            candidates = likely_candidates(
                self.person.run_groups, self.wanted.shape[1], is_category=is_category
            )
        return fit_input_layer(
            self.person.betas, self.wanted, self.person.run_groups, voxel_weights, candidates,
            group_weight=None if self.prior is None else self.prior.weight,
            few_runs_penalty=DEFAULT_PENALTY if is_category else PENALTY_FOR_STIMULI,
        )

    def layer(
        self, fit: InputFit, kept: np.ndarray,
        build: Callable[[Tensor, Tensor], InputLayer] = InputLayer,
    ) -> InputLayer:
        """Make a trainable layer from some voxels of a closed-form fit.

        Parameters
        ----------
        fit : InputFit
        kept : ndarray of int, shape (n_kept,)
            Voxel numbers.
        build : callable
            Makes the layer of weights (n_kept, n_latents) and bias (n_latents,).
        """
        scale = self.shared.scale.latent_sd
        weight = torch.from_numpy(fit.weight[kept] / scale)
        return build(weight, torch.from_numpy(fit.bias / scale)).to(self.device)

    def tensors(self, betas: np.ndarray, target_rows: np.ndarray) -> dict[str, Tensor]:
        """Move ``betas`` (n_trials, n_voxels) and ``rows`` (n_trials,) to the device."""
        device = self.device
        return {
            "betas": torch.from_numpy(np.ascontiguousarray(betas, dtype=np.float32)).to(device),
            "rows": torch.from_numpy(np.asarray(target_rows)).to(device),
        }

    def objective(self, n_mixed_epochs: int) -> Objective:
        """Return the loss for a training with this number of epochs with mixed samples."""
        return Objective(
            self.vectors, self.shared.is_category, self.settings.mixco_alpha, n_mixed_epochs
        )

    def context(self, n_samples: int, n_trials: int) -> Tensor:
        """Return the context of the trunk for an input layer fitted on *n_trials*."""
        context = self.shared.scale.context(np.array([np.log2(n_trials)]))
        return torch.from_numpy(context).to(self.device).expand(n_samples, 1)

    def train(
        self, layer: InputLayer, data: dict[str, Tensor], n_epochs: int, n_trials: int, *,
        trunk: Trunk | None = None, penalty: Callable[[int], Tensor | float] = lambda _: 0.0,
        stop_after: int | None = None, **options: Any,
    ) -> list[float]:
        """Train *layer*, and *trunk* if one is given, in place.

        Parameters
        ----------
        layer : InputLayer
        data : dict of str to Tensor
            From :meth:`tensors`; ``betas`` may be replaced between epochs.
        n_epochs : int
        n_trials : int
            Number of trials that the layer was fitted on, the context of the trunk.
        trunk : Trunk, optional
            By default the frozen trunk.
        penalty : callable (epoch) -> Tensor or float
            Added to the loss of each batch.
        stop_after : int, optional
            See :class:`~bids_decoder.training.loop.Schedule`.
        **options
            Passed to :func:`~bids_decoder.training.loop.train`.

        Returns
        -------
        list of float
            Mean training loss of each epoch.
        """
        trunk = self.trunk if trunk is None else trunk
        objective = self.objective(round(n_epochs / 3))
        people = np.zeros(len(data["rows"]), dtype=int)

        def loss_of(batch: np.ndarray, epoch: int) -> Tensor:
            mix = objective.mix(people[batch], epoch, derive_seed(self.seed, int(batch[0])))
            betas, rows = data["betas"][batch], data["rows"][batch]
            with self.fabric.autocast():
                latents = layer(betas if mix is None else mix.apply(betas))
                embedding = trunk(latents, self.context(len(batch), n_trials))
            return objective.loss(embedding.float(), rows, mix, trunk.scale) + penalty(epoch)

        settings = self.settings
        # The frozen trunk is not part of the module: in training mode it would apply dropout.
        trained = layer if trunk is self.trunk else nn.ModuleList([layer, trunk])
        return train(
            trained, loss_of, lambda rng: shuffled_batches(len(people), settings.batch_size, rng),
            Schedule(n_epochs, settings.learning_rate, settings.weight_decay,
                     stop_after=stop_after),
            Setup(self.seed, self.fabric), **options,
        )

    def score(
        self, layer: InputLayer, trunk: Trunk, data: dict[str, Tensor], n_trials: int
    ) -> float:
        """Compute the mean probability of the true stimulus among those in *data*, or class."""
        choices, position = data["rows"].unique(return_inverse=True)
        if self.shared.is_category:
            choices = torch.arange(len(self.vectors), device=self.vectors.device)
            position = data["rows"]
        gallery = nn.functional.normalize(self.vectors[choices], dim=1)
        with torch.no_grad():
            embedding = trunk(layer(data["betas"]), self.context(len(position), n_trials))
            if not self.shared.is_category:
                embedding = nn.functional.normalize(embedding, dim=1)
            chance = torch.softmax(trunk.scale * embedding @ gallery.T, dim=1)
        return float(chance[torch.arange(len(position)), position].mean())
