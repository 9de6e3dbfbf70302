"""Prior for the voxels of a new participant, from the source participants in a standard space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from bids_decoder.training.grids import Frame, sampling
from bids_decoder.training.signal import SIGNAL_SHARES
from bids_decoder.training.smoothing import smoother_within
from bids_decoder.training.source_fits import KeptFits, SourceFit, fit_source
from bids_decoder.trials import Person, VoxelGrid

WEIGHT_FWHM_MM = 3.0
"""Filter on the mean input layer, about the scale on which tuning varies between participants."""

CHANCES_FWHM_MM = (3.0, 6.0, 12.0)
"""Candidate filters on mean probabilities, as outlines of regions vary between participants."""

MISTRUST = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Candidate weights of the mean over the whole brain; with 1 the location has no effect."""

KNOWN_SHARE = 0.5
"""Smallest share of a voxel inside the maps of others for which they are used."""

MOST_LEFT_OUT = 300
"""Trials of each source participant that are decoded by the maps of the others."""

UNKNOWN_SPREAD = (6.0, 0.7)
"""Filter and mistrust for a single source participant, with whom they cannot be chosen."""


@dataclass(frozen=True, eq=False)
class VoxelPrior:
    """Prior for the voxels of one participant.

    Parameters
    ----------
    weight : ndarray of float32, shape (n_voxels, n_latents)
        Mean input layer of the source participants, up to a factor; zero for voxels outside all
        of their masks.
    chances : ndarray of float32, shape (n_shares, n_voxels)
        Prior probability of each share of :data:`.signal.SIGNAL_SHARES`.
    resampled : bool
        Whether the maps were resampled from another grid.
    """

    weight: np.ndarray
    chances: np.ndarray
    resampled: bool = False


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Trials of a source participant, decoded by the maps of the other ones.

    Parameters
    ----------
    label : str
    latents : ndarray of float32, shape (n_trials, n_latents)
    target_rows : ndarray of int, shape (n_trials,)
    """

    label: str
    latents: np.ndarray
    target_rows: np.ndarray


@dataclass(frozen=True, eq=False)
class CommonMaps:
    """Mean maps of source participants on one grid of a standard space.

    Parameters
    ----------
    space : str
        Name of the standard space.
    grid : VoxelGrid
    weight : ndarray of float32, shape (n_voxels, n_latents)
    chances : ndarray of float32, shape (n_shares, n_voxels)
    fwhm_mm, mistrust : float
        Filter on the probabilities, and weight of their mean over the whole brain.
    rows_key : str
        :attr:`.VoxelGrid.rows_key` of the source participants.
    left_out : sequence of LeftOut
        Source participants decoded by the maps of the others; not stored.
    """

    space: str
    grid: VoxelGrid
    weight: np.ndarray
    chances: np.ndarray
    fwhm_mm: float
    mistrust: float
    rows_key: str = ""
    left_out: Sequence[LeftOut] = ()

    def layer_of(self, person: VoxelGrid) -> np.ndarray:
        """Return weights for the voxels of a participant without labelled trials.

        They are the mean input layer at the same places, in a scale that depends neither on the
        number of source participants nor on the size of voxels.

        Parameters
        ----------
        person : VoxelGrid
            In the standard space of the maps; vertices and grayordinates are those of the maps.

        Returns
        -------
        ndarray of float32, shape (n_voxels, n_latents)
            Zero for voxels beyond the maps.
        """
        nearby, _ = self._near(person)
        weight = (nearby @ self.weight) * (person.voxel_volume / self.grid.voxel_volume)
        return (weight / _size(self.weight)).astype(np.float32)

    def prior_of(self, person: Person) -> VoxelPrior | None:
        """Return the prior for the voxels of a participant; None outside the common space.

        On another grid of the space the maps are interpolated (trilinear); voxels of which less
        than half is inside the maps are treated as unknown. Vertices and grayordinates must be
        those of the maps.
        """
        if not self.space or person.space != self.space or not person.grid.has_neighbours:
            return None
        is_shared = _share_grid(self.space, self.grid, self.rows_key, person)
        if not is_shared and not person.grid.has_geometry:
            return None
        nearby, known = self._near(person.grid)
        unknown = np.outer(self.chances.mean(axis=1), ~known)
        chances = (nearby @ self.chances.T).T + unknown
        return VoxelPrior(
            (nearby @ self.weight).astype(np.float32), chances.astype(np.float32),
            resampled=not is_shared,
        )

    def _near(self, person: VoxelGrid) -> tuple[Any, np.ndarray]:
        """Return the interpolation to the voxels of a participant, and which are in the maps."""
        if not self.grid.has_geometry:
            rows, known = _rows(self.grid, person)
            places = np.flatnonzero(known), rows
            return scipy.sparse.csr_array(
                (np.ones(len(rows)), places), shape=(person.n_voxels, self.grid.n_voxels)
            ), known
        frame = Frame(person.mask.shape, person.affine)
        nearby = sampling(self.grid, frame)[person.mask.ravel()]
        share = np.asarray(nearby.sum(axis=1)).ravel()
        known = share > KNOWN_SHARE
        return scipy.sparse.diags(known / np.maximum(share, KNOWN_SHARE)) @ nearby, known

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays to store in a model, in half precision."""
        return {
            "common.mask": self.grid.mask.astype(np.uint8), "common.affine": self.grid.affine,
            "common.weight": self.weight.astype(np.float16),
            "common.chances": self.chances.astype(np.float16),
        }

    def card(self) -> dict[str, Any]:
        """Return the entries of the model card."""
        return {
            "space": self.space, "shape": list(self.grid.mask.shape), "rows_key": self.rows_key,
            **self.grid.geometry.card(), "fwhm_mm": self.fwhm_mm, "mistrust": self.mistrust,
        }

    @classmethod
    def restore(cls, card: dict[str, Any], part: dict[str, np.ndarray]) -> CommonMaps:
        """Rebuild the maps from :meth:`card` and :meth:`tensors` (without the prefix)."""
        grid = VoxelGrid(part["mask"] > 0, part["affine"])
        weight, chances = (part[name].astype(np.float32) for name in ("weight", "chances"))
        return cls(
            card["space"], grid, weight, chances, card["fwhm_mm"], card["mistrust"],
            card.get("rows_key", ""),
        )


def gather_common(
    people: Iterable[Person], vectors: np.ndarray, leaves_out: bool = True,
    folder: Path | None = None,
) -> CommonMaps | None:
    """Average input layers and signal shares over the source participants.

    Parameters
    ----------
    people : iterable of Person
        Training trials only; iterated once, one participant in memory at a time.
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in the target space.
    leaves_out : bool
        Whether trials of each participant are decoded by the maps of the others.
    folder : Path or None
        See :class:`.KeptFits`.

    Returns
    -------
    CommonMaps or None
        None unless all participants are on one grid of one standard space.
    """
    sums: _Sums | None = None
    with KeptFits(folder) as kept:
        for person in people:
            if sums is None:
                sums = _Sums(person, vectors.shape[1])
            if not _share_grid(sums.space, sums.grid, sums.grid.rows_key, person):
                return None
            own = fit_source(person, vectors[person.target_rows])
            sums.add(person.grid, kept.keep(own, _shown(person, MOST_LEFT_OUT * leaves_out)))
            del person  # before the next one is loaded
        if sums is None:
            return None
        return sums.maps(*_leave_one_out(sums, kept, leaves_out))


def decode_new_stimuli(
    people: Iterable[Person], vectors: np.ndarray, held_out: np.ndarray,
    folder: Path | None = None,
) -> list[LeftOut]:
    """Decode source participants by maps of the others, who did not see these stimuli either.

    Parameters
    ----------
    people : iterable of Person
        Training trials only, on one grid; iterated once, one participant in memory at a time.
    vectors : ndarray, shape (n_ids, n_latents)
        Targets in a target space of the other stimuli.
    held_out : ndarray of int
        Rows of the stimuli that no map is fitted on, and whose trials are decoded.
    folder : Path or None
        See :class:`.KeptFits`.

    Returns
    -------
    list of LeftOut
        Of participants with trials of both kinds; empty with fewer than two of them.
    """
    sums: _Sums | None = None
    with KeptFits(folder) as kept:
        for fitted, shown in _divided(people, held_out):
            sums = _Sums(fitted, vectors.shape[1]) if sums is None else sums
            own = fit_source(fitted, vectors[fitted.target_rows])
            sums.add(fitted.grid, kept.keep(own, shown))
            del fitted  # before the next one is loaded
        if sums is None or sums.n_people < 2:
            return []
        return [sums.without(shown.grid, own).decode(shown) for own, shown in kept]


def _divided(
    people: Iterable[Person], held_out: np.ndarray
) -> Iterator[tuple[Person, Person]]:
    """Yield the trials with other stimuli and some with these, of participants who have both."""
    for person in people:
        is_held_out = np.isin(person.target_rows, held_out)
        if 0 < is_held_out.sum() < len(is_held_out):
            shown = _shown(person, MOST_LEFT_OUT, np.flatnonzero(is_held_out))
            fitted = person.subset(~is_held_out)
            # All trials beside nearly all of them would be in memory during the fit.
            del person
            yield fitted, shown
            del fitted
        else:
            del person


def _shown(person: Person, most: int, rows: np.ndarray | None = None) -> Person:
    """Return at most *most* trials, evenly spread over all or over some."""
    rows = np.arange(len(person.betas)) if rows is None else rows
    places = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)
    return person.subset(rows[np.unique(places)])


def _leave_one_out(
    sums: _Sums, kept: Iterable[tuple[SourceFit, Person]], leaves_out: bool
) -> tuple[float, float, list[LeftOut]]:
    """Predict each source participant from the others.

    Filter and mistrust are chosen by how well the others predict the shares of signal of their
    voxels; and their trials are decoded by the mean input layer of the others.
    """
    if sums.n_people < 2:
        return *UNKNOWN_SPREAD, []
    scores, decoded = np.zeros((len(CHANCES_FWHM_MM), len(MISTRUST))), []
    for own, shown in kept:
        rest = sums.without(shown.grid, own)
        scores += _agreement(rest, shown.grid, own.chances)
        if leaves_out:
            decoded.append(rest.decode(shown))
    best = np.unravel_index(scores.argmax(), scores.shape)
    return CHANCES_FWHM_MM[best[0]], MISTRUST[best[1]], decoded


def _agreement(rest: _Sums, grid: VoxelGrid, own: np.ndarray) -> np.ndarray:
    """Return the log probability of a participant's shares by others, (n_filters, n_mistrusts)."""
    scores = np.zeros((len(CHANCES_FWHM_MM), len(MISTRUST)))
    rows, known = _rows(rest.grid, grid)
    for number, fwhm_mm in enumerate(CHANCES_FWHM_MM):
        mean = rest.mean_chances(fwhm_mm)
        for level, mistrust in enumerate(MISTRUST):
            prior = _mistrusted(mean, mistrust)[:, rows]
            agreement = np.einsum("sv,sv->v", prior, own[:, known])
            scores[number, level] = np.log(np.maximum(agreement, 1e-30)).sum()
    return scores


def _mistrusted(chances: np.ndarray, mistrust: float) -> np.ndarray:
    return (1 - mistrust) * chances + mistrust * chances.mean(axis=1, keepdims=True)


class _Sums:
    """Sums over participants, on the voxels of the first one."""

    def __init__(self, first: Person, n_latents: int) -> None:
        self.space, self.grid = first.space, first.grid
        self.weight = np.zeros((first.grid.n_voxels, n_latents), dtype=np.float32)
        self.chances = np.zeros((len(SIGNAL_SHARES), first.grid.n_voxels), dtype=np.float32)
        self.counts = np.zeros(first.grid.n_voxels, dtype=np.float32)
        self.n_people = 0

    def add(self, grid: VoxelGrid, own: SourceFit) -> None:
        """Add a participant with these voxels."""
        rows, known = _rows(self.grid, grid)
        self.weight[rows] += own.weight[known]
        self.chances[:, rows] += own.chances[:, known]
        self.counts[rows] += own.chances[:, known].sum(axis=0)
        self.n_people += 1

    def without(self, grid: VoxelGrid, own: SourceFit) -> _Sums:
        """Return the sums without one participant."""
        rows, known = _rows(self.grid, grid)
        rest = copy(self)
        rest.weight, rest.chances = self.weight.copy(), self.chances.copy()
        rest.counts = self.counts.copy()
        rest.weight[rows] -= own.weight[known]
        rest.chances[:, rows] -= own.chances[:, known]
        rest.counts[rows] -= own.chances[:, known].sum(axis=0)
        rest.n_people -= 1
        return rest

    def decode(self, person: Person) -> LeftOut:
        """Decode a participant who is not in the sums, whose weights are smoothed."""
        rows, known = _rows(self.grid, person.grid)
        smooth = smoother_within(self.grid, WEIGHT_FWHM_MM)
        for latent in self.weight.T:
            latent[:] = smooth(latent)
        weight = self.weight[rows] / _size(self.weight)
        latents = np.asarray(person.betas[:, known], dtype=np.float32) @ weight
        return LeftOut(person.label, latents, person.target_rows)

    def mean_chances(self, fwhm_mm: float) -> np.ndarray:
        """Compute the mean probabilities, smoothed over the voxels known of at least one."""
        present, smooth = self.counts > 0.5, smoother_within(self.grid, fwhm_mm)
        total, count = (
            np.stack([smooth(row * present) for row in rows])
            for rows in (self.chances, self.counts[None])
        )
        typical = self.chances.sum(axis=1) / max(self.counts.sum(), 1e-6)
        return (total + 1e-6 * typical[:, None]) / (count + 1e-6)

    def maps(
        self, fwhm_mm: float, mistrust: float, left_out: Sequence[LeftOut]
    ) -> CommonMaps:
        """Compute the mean maps, smoothed within the mask."""
        smooth = smoother_within(self.grid, WEIGHT_FWHM_MM)
        for latent in self.weight.T:
            latent[:] = smooth(latent)
        chances = _mistrusted(self.mean_chances(fwhm_mm), mistrust)
        return CommonMaps(
            self.space, self.grid, self.weight, chances.astype(np.float32), fwhm_mm, mistrust,
            self.grid.rows_key, left_out,
        )


def _size(weight: np.ndarray) -> float:
    """Return the norm of a mean input layer (n_voxels, n_latents), per root of a latent."""
    return max(float(np.linalg.norm(weight)), 1e-12) / float(np.sqrt(weight.shape[1]))


def _share_grid(space: str, grid: VoxelGrid, rows_key: str, person: Person) -> bool:
    """Check whether a participant's voxels are on this grid, and the same grayordinates."""
    return (
        bool(space) and person.space == space
        and grid.holds(person.grid.mask.shape, person.grid.affine)
        and person.grid.rows_key == rows_key
    )


def _rows(common: VoxelGrid, own: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Match voxels: rows in *common*, and a mask of the voxels in *own* that have one."""
    position = np.full(common.mask.shape, -1)
    position[common.mask] = np.arange(common.n_voxels)
    rows = position[own.mask]
    return rows[rows >= 0], rows >= 0
