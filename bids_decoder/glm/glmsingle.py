"""GLMsingle: three steps beyond LSA, each tuned on training trials only.

Method: Prince et al. 2022, eLife 11:e77599, reimplemented:

1. each voxel gets the response shape of the library that explains most variance of the on-off
   model, cross-validated over runs;
2. principal components of voxels that do not respond to the stimuli are added to the nuisance;
   their number is the one beyond which repeats do not predict each other better;
3. each voxel gets a ridge fraction by the same criterion, and scale and offset of the weights
   are restored.

If no stimulus repeats among training trials, or if each run is a test run in one fold, so that
one set of weights is used in all folds and labels may not be used, the second step is skipped
and the penalty of the third is chosen by likelihood (:mod:`bids_decoder.glm.likelihood_ridge`).
The first step does not use labels.

Unlike in GLMsingle, runs are solved separately, as the design is block diagonal, and trials that
are not for training are not used for any choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bids_decoder.glm.base import (
    TRIVIAL_ENERGY,
    Estimates,
    EstimatorOptions,
    RunShape,
    TrialRun,
    check_runs,
    chunks,
    nuisance_basis,
    residualise,
)
from bids_decoder.glm.hrf import Hrf, get_hrf, hrf_library
from bids_decoder.glm.least_squares import check_degrees_of_freedom, lsa_weights
from bids_decoder.glm.likelihood import response_ratio
from bids_decoder.glm.likelihood_ridge import likelihood_note, likelihood_penalty
from bids_decoder.glm.onoff import held_in_nuisance, preferred_shapes
from bids_decoder.glm.repeats import RepeatScheme, repeat_scheme
from bids_decoder.glm.ridge import RidgePath

FRACTIONS = np.linspace(0.05, 1.0, 20)
MAX_COMPONENTS = 10
SPARE_SCANS = 10
MAX_SIGNAL_VOXELS = 2000
POOL_SHARE = 1 / 3
MIN_POOL = 50
ENOUGH = 1.05


@dataclass(frozen=True)
class GlmSingle:
    """GLMsingle; each step can be skipped.

    Parameters
    ----------
    options : EstimatorOptions
        ``hrf`` is the response of voxels for which none is chosen from the library. The noise
        model is always ordinary least squares.
    fit_hrf, denoise, ridge : bool
        Whether to apply each step.
    """

    options: EstimatorOptions = field(default_factory=EstimatorOptions)
    fit_hrf: bool = True
    denoise: bool = True
    ridge: bool = True

    def check(self, shape: RunShape) -> None:
        """Refuse runs with more regressors than volumes."""
        check_degrees_of_freedom(shape)

    def estimate(self, runs: Sequence[TrialRun], out: Sequence[np.ndarray]) -> Estimates:
        """Fill *out*; see :class:`bids_decoder.glm.base.SingleTrialEstimator`.

        The maps are ``hrf`` (0 the assumed response, else number in the library) and, with
        ridge, ``fraction`` (share of the length that it keeps) or ``responseratio`` (variance
        of responses over noise), whichever the penalty follows from.
        """
        check_runs(self, runs, out)
        assumed = get_hrf(self.options.hrf)
        runs = [_only_estimable(run, assumed) for run in runs]
        notes = _opening_notes(runs, self.options)
        shapes, explained = self._choose_shapes(runs, notes)
        scheme = repeat_scheme([run for run in runs if run.train.any()])
        if scheme is None:
            notes.append("nothing repeats among training trials: no denoising")
        else:
            notes.append(f"cross-validation over repeats of {scheme.note}")
        state = _State(
            runs, (assumed, *hrf_library()), shapes, scheme, self.options.chunk_voxels
        )
        if self.denoise and scheme is not None:
            state.add_components(explained, notes)
        maps = {"hrf": shapes.astype(np.float32)}
        tuned = state.solve(out, self.ridge)
        if self.ridge and scheme is not None:
            maps["fraction"] = tuned
            notes.append(f"median ridge fraction {float(np.median(tuned)):.2f}")
        elif self.ridge:
            maps["responseratio"] = tuned
            notes.append(likelihood_note(runs, tuned))
        return Estimates(state.estimable, maps, tuple(notes))

    def _choose_shapes(
        self, runs: Sequence[TrialRun], notes: list[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        assumed = get_hrf(self.options.hrf)
        # The choice does not use labels, so trials of cross-validation may be included.
        runs = [replace(run, train=run.untested) for run in runs]
        library = hrf_library() if self.fit_hrf else ()
        shapes, explained = preferred_shapes(
            runs, (assumed, *library), self.options.chunk_voxels
        )
        notes.append(
            f"response model {self.options.hrf}; in {int((shapes > 0).sum())} of {len(shapes)} "
            "voxels another one of the library fits clearly better in other runs"
        )
        return shapes, explained.max(axis=0)


def _opening_notes(runs: Sequence[TrialRun], options: EstimatorOptions) -> list[str]:
    n_train = sum(int(run.train.sum()) for run in runs)
    n_all = sum(run.n_trials for run in runs)
    notes = [f"{n_train} of {n_all} trials take part in tuning that looks at repeats"]
    if options.noise_model != "ols":
        notes.append(f"noise model {options.noise_model} is not used: denoising replaces it")
    return notes


def _only_estimable(run: TrialRun, hrf: Hrf) -> TrialRun:
    """Tune on training trials that can be told apart from nuisance and from all other trials."""
    usable = run.estimable(hrf)
    crossed = None if run.crossed is None else run.crossed & usable
    train = run.train & usable
    columns = run.regressors(hrf)[:, train]
    left = residualise(nuisance_basis(held_in_nuisance(replace(run, train=train), hrf)), columns)
    train[train] = (left**2).sum(axis=0) > TRIVIAL_ENERGY * (columns**2).sum(axis=0)
    return replace(run, train=train, crossed=crossed)


class _State:
    """State of the three steps: runs, response shapes, and noise components."""

    def __init__(
        self, runs: Sequence[TrialRun], hrfs: Sequence[Hrf], shapes: np.ndarray,
        scheme: RepeatScheme | None, chunk_voxels: int,
    ) -> None:
        self.runs, self.hrfs, self.shapes = runs, hrfs, shapes
        self.scheme, self.chunk_voxels = scheme, chunk_voxels
        self.tuned = [number for number, run in enumerate(runs) if run.train.any()]
        self.components = [np.zeros((run.timing.n_scans, 0)) for run in runs]
        self.tuning_components = list(self.components)
        self.estimable = tuple(run.estimable(hrfs[0]) for run in runs)

    def add_components(self, explained: np.ndarray, notes: list[str]) -> None:
        """Choose the number of noise components and store them per run (step 2)."""
        pool, signal = noise_pool(explained), signal_voxels(explained)
        spare = min(
            r.timing.n_scans - r.nuisance.shape[1] - r.n_trials - SPARE_SCANS for r in self.runs
        )
        limit = min(MAX_COMPONENTS, spare)
        if limit < 1 or len(pool) < MIN_POOL or len(signal) == 0:
            notes.append(
                f"no denoising: {max(limit, 0)} components possible, {len(pool)} noise voxels, "
                f"{len(signal)} voxels that follow the stimuli"
            )
            return
        # For the choice, the responses to test trials are also removed from the noise voxels.
        found = {
            number: self._components(
                self.runs[number], held_in_nuisance(self.runs[number], self.hrfs[0]), pool, limit
            )
            for number in self.tuned
        }
        scores = self._score_components(found, signal, limit)
        n_chosen = fewest_components(scores)
        for number, run in enumerate(self.runs):
            self.components[number] = self._components(run, run.nuisance, pool, n_chosen)
        for number in self.tuned:
            self.tuning_components[number] = found[number][:, :n_chosen]
        notes.append(
            f"{n_chosen} noise components of {len(pool)} voxels; explained variance across "
            f"repeats {scores[0]:.4f} without, {scores[n_chosen]:.4f} with them"
        )

    def _components(
        self, run: TrialRun, nuisance: np.ndarray, pool: np.ndarray, count: int
    ) -> np.ndarray:
        basis = nuisance_basis(nuisance)
        gram = np.zeros((run.timing.n_scans, run.timing.n_scans))
        for part in chunks(len(pool), self.chunk_voxels):
            data = np.asarray(run.bold[:, pool[part]], dtype=np.float64)
            data = residualise(basis, data)
            norms = np.linalg.norm(data, axis=0)
            data /= np.where(norms > 0, norms, 1.0)
            gram += data @ data.T
        vectors = np.linalg.eigh(gram)[1][:, ::-1][:, :count]
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(count)])
        return vectors * signs

    def _score_components(
        self, found: dict[int, np.ndarray], signal: np.ndarray, limit: int
    ) -> np.ndarray:
        """Compute the median explained variance across repeats with 0, 1, … components."""
        assert self.scheme is not None
        target = self._plain_betas(found, signal, 0)
        power = np.maximum(self.scheme.power(target), np.finfo(float).tiny)
        scores = []
        for count in range(limit + 1):
            betas = self._plain_betas(found, signal, count) if count else target
            scores.append(np.median(1 - self.scheme.errors(target, betas) / power))
        return np.array(scores)

    def _plain_betas(
        self, found: dict[int, np.ndarray], voxels: np.ndarray, count: int
    ) -> np.ndarray:
        parts = []
        for number in self.tuned:
            run = self.runs[number]
            basis = nuisance_basis(np.column_stack([run.nuisance, found[number][:, :count]]))
            betas = np.empty((int(run.train.sum()), len(voxels)), dtype=np.float32)
            data = np.asarray(run.bold[:, voxels], dtype=np.float32)
            for shape in np.unique(self.shapes[voxels]):
                columns = self.shapes[voxels] == shape
                trials = residualise(basis, run.regressors(self.hrfs[shape]))
                weights = lsa_weights(trials)[run.train].astype(np.float32)
                betas[:, columns] = weights @ data[:, columns]
            parts.append(betas)
        return np.concatenate(parts)

    def solve(self, out: Sequence[np.ndarray], ridge: bool) -> np.ndarray:
        """Fill *out* and return the ridge parameter of each voxel, shape (n_voxels,) (step 3).

        The parameter is the fraction if it can be chosen by repeats, else the variance ratio;
        ones without *ridge*.
        """
        tuned = np.ones(len(self.shapes), dtype=np.float32)
        for shape in np.unique(self.shapes):
            paths = [self._path(number, self.hrfs[shape]) for number in range(len(self.runs))]
            by_repeats = ridge and self.scheme is not None
            tuning = [
                self._tuning_path(number, self.hrfs[shape]) for number in self.tuned if by_repeats
            ]
            for voxels in self._blocks(int(shape)):
                if by_repeats:
                    tuned[voxels] = self._choose_fractions(tuning, voxels)
                elif ridge:
                    tuned[voxels] = response_ratio(
                        self.runs, self.hrfs[shape], voxels, self.chunk_voxels
                    )
                self._fill(paths, voxels, tuned[voxels], ridge, out)
        return tuned

    def _blocks(self, shape: int) -> Iterator[np.ndarray]:
        members = np.flatnonzero(self.shapes == shape)
        for part in chunks(len(members), self.chunk_voxels):
            yield members[part]

    def _path(self, number: int, hrf: Hrf) -> RidgePath:
        run = self.runs[number]
        basis = nuisance_basis(np.column_stack([run.nuisance, self.components[number]]))
        return RidgePath.of(residualise(basis, run.regressors(hrf)))

    def _tuning_path(self, number: int, hrf: Hrf) -> RidgePath:
        """Decompose the training trials of a run; the responses to others are projected out."""
        run, components = self.runs[number], self.tuning_components[number]
        basis = nuisance_basis(np.column_stack([held_in_nuisance(run, hrf), components]))
        return RidgePath.of(residualise(basis, run.regressors(hrf)[:, run.train]))

    def _choose_fractions(self, paths: Sequence[RidgePath], voxels: np.ndarray) -> np.ndarray:
        """Choose the fraction of each voxel; *paths* are those of the runs that are tuned on."""
        assert self.scheme is not None
        levels = np.repeat(FRACTIONS[:, None], len(voxels), axis=1)
        prepared = []
        for number, path in zip(self.tuned, paths, strict=True):
            rotated = path.rotate(np.asarray(self.runs[number].bold[:, voxels]))
            prepared.append((path, rotated, path.penalties_for(rotated, levels)))

        def betas(row: int) -> np.ndarray:
            return np.concatenate([path.weights(rot, pen[row]) for path, rot, pen in prepared])

        target = betas(len(FRACTIONS) - 1)
        errors = [self.scheme.errors(target, betas(row)) for row in range(len(FRACTIONS))]
        # With ties, as in voxels without signal, the least shrinkage is chosen.
        best = len(FRACTIONS) - 1 - np.argmin(np.stack(errors)[::-1], axis=0)
        return FRACTIONS[best].astype(np.float32)

    def _fill(
        self, paths: Sequence[RidgePath], voxels: np.ndarray, tuned: np.ndarray, ridge: bool,
        out: Sequence[np.ndarray],
    ) -> None:
        plain, shrunk = [], []
        for path, run in zip(paths, self.runs, strict=True):
            rotated = path.rotate(np.asarray(run.bold[:, voxels], dtype=np.float32))
            plain.append(path.weights(rotated, np.zeros(1)))
            if ridge and self.scheme is None:
                penalty = likelihood_penalty(tuned)
            else:
                penalty = path.penalties_for(rotated, tuned[None].astype(float))[0]
            shrunk.append(path.weights(rotated, penalty))
        slope, offset = np.ones(len(voxels)), np.zeros(len(voxels))
        if self.tuned:
            slope, offset = rescaling(
                np.concatenate([shrunk[n][self.runs[n].train] for n in self.tuned]),
                np.concatenate([plain[n][self.runs[n].train] for n in self.tuned]),
            )
        for number, (place, betas) in enumerate(zip(out, shrunk, strict=True)):
            usable = self.estimable[number][:, None]
            place[:, voxels] = np.where(usable, betas * slope + offset, 0.0)


def rescaling(shrunk: np.ndarray, plain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit scale and offset that restore the size of shrunk weights.

    Parameters
    ----------
    shrunk, plain : ndarray, shape (n_trials, n_voxels)
        Training trials.

    Returns
    -------
    slope, offset : ndarray, shape (n_voxels,)
        Least squares; 1 and 0 where the scale would not be positive.
    """
    centre, goal = shrunk.mean(axis=0, dtype=float), plain.mean(axis=0, dtype=float)
    spread = ((shrunk - centre) ** 2).sum(axis=0)
    joint = ((shrunk - centre) * (plain - goal)).sum(axis=0)
    sound = (spread > 0) & (joint > 0)
    slope = np.where(sound, joint / np.where(spread > 0, spread, 1.0), 1.0)
    return slope, np.where(sound, goal - slope * centre, 0.0)


def noise_pool(explained: np.ndarray) -> np.ndarray:
    """Select voxels that do not respond to the stimuli.

    Parameters
    ----------
    explained : ndarray, shape (n_voxels,)
        Explained variance of the on-off model.

    Returns
    -------
    ndarray of int
        Voxels below zero, or the lowest third if there are fewer than 50. Exact zeros, which are
        voxels without variance, are not selected.
    """
    alive = np.flatnonzero(explained != 0)
    below = alive[explained[alive] < 0]
    if len(below) >= MIN_POOL:
        return below
    order = alive[np.argsort(explained[alive], kind="stable")]
    return np.sort(order[: int(len(order) * POOL_SHARE)])


def signal_voxels(explained: np.ndarray) -> np.ndarray:
    """Select up to 2,000 voxels that respond best to the stimuli, shape (n_chosen,)."""
    order = np.argsort(-explained, kind="stable")[:MAX_SIGNAL_VOXELS]
    return np.sort(order[explained[order] > 0])


def fewest_components(scores: np.ndarray) -> int:
    """Return the smallest number of components with nearly all of the gain.

    Parameters
    ----------
    scores : ndarray, shape (n_options,)
        For 0, 1, 2, … components.

    Returns
    -------
    int
        Zero when no number improves on none (the rule of GLMdenoise).
    """
    gain = scores - scores[0]
    if gain.max() <= 0:
        return 0
    return int(np.flatnonzero(gain * ENOUGH >= gain.max())[0])
