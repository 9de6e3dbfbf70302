"""A fitted decoder of one participant with everything that its use on new data needs.

The file of a decoder holds, beside its weights, the voxels and the reference image of its grid, the
statistics by which responses are z-scored, the targets, the calibration of probabilities, and
measures of the training runs with which new runs are compared. It can be moved anywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError
from bids_decoder.evaluation.calibration import probabilities
from bids_decoder.evaluation.shift import judge, latent_measures, voxel_measures
from bids_decoder.evaluation.similarity import cosine_similarity, label_scores
from bids_decoder.glm.normalise import MIN_TRIALS, scale_voxels, voxel_statistics
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.training.decoders import Decoder
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.trials import Targets, VoxelGrid

ENTRY, PREFIX = "use", "use"
"""Entry of the card, and prefix of the tensors, with what the use on new data needs."""

Scaling = Literal["own", "training"]


@dataclass(frozen=True, eq=False)
class TrainingStatistics:
    """Statistics of the training trials, in the units of the beta series.

    Parameters
    ----------
    unit : {"session", "run"}
        Within what trials are z-scored.
    groups : tuple of str
        Names of the sessions or runs; ``none`` where there are no sessions.
    means, spreads : ndarray of float32, shape (1 + n_groups, n_voxels)
        Of :func:`~bids_decoder.glm.normalise.voxel_statistics`: of all training trials first, then
        of each group; without rows where the participant has no training trials (zero-shot).
    """

    unit: str
    groups: tuple[str, ...]
    means: np.ndarray
    spreads: np.ndarray

    @property
    def are_known(self) -> bool:
        """Whether the participant has training trials."""
        return len(self.means) > 0

    def scale(self, betas: np.ndarray, groups: np.ndarray, scaling: Scaling) -> np.ndarray:
        """Z-score new trials; see :meth:`FittedDecoder.scale`."""
        scaled = np.empty(betas.shape, dtype=np.float32)
        for name in np.unique(groups):
            rows = groups == name
            scaled[rows] = scale_voxels(betas[rows], *self._of_group(betas[rows], name, scaling))
        return scaled

    def _of_group(
        self, rows: np.ndarray, name: str, scaling: Scaling
    ) -> tuple[np.ndarray, np.ndarray]:
        if scaling == "own" and len(rows) >= MIN_TRIALS:
            return voxel_statistics(rows)
        known = scaling == "training" and name in self.groups
        number = 1 + self.groups.index(name) if known else 0
        return self.means[number], self.spreads[number]


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities, learned from held-out training trials.

    Parameters
    ----------
    slope : float
        Factor of the scores before the softmax.
    n_trials, n_candidates : int
        Trials that it was fitted to, and answers among which they were decoded.
    error : float or None
        Expected calibration error of these trials, each with the factor of the other runs; None
        with one run.
    source : {"cross-validation", "test trials", "other participants"}
        Where the trials were held out. The last one is for decoders without trials of the
        participant: trials of each source participant, decoded by the maps of the others.
    bins : tuple of dict
        Rows of :func:`.calibration.reliability` of these probabilities.
    """

    slope: float
    n_trials: int
    n_candidates: int
    error: float | None
    source: str
    bins: tuple[dict[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Reference:
    """Measures of the training runs, with which those of new runs are compared.

    Parameters
    ----------
    runs : tuple of str
    measures : tuple of dict of str to float
        Of each run, see :data:`~bids_decoder.evaluation.shift.MEASURES`.
    latent_mean : ndarray, shape (n_dims,)
        Mean of the embeddings of held-out trials.
    latent_size : float
        Root of their mean squared distance from it.
    """

    runs: tuple[str, ...]
    measures: tuple[dict[str, float], ...]
    latent_mean: np.ndarray
    latent_size: float


@dataclass(frozen=True, eq=False, repr=False)
class FittedDecoder:
    """Decoder of one participant, from responses in the units of the beta series to answers.

    Parameters
    ----------
    model : Model
        Weights and card, as the decoder reads them.
    targets : Targets
        What it was fitted on.
    grid : VoxelGrid
    training : TrainingStatistics
    reference : Reference
    calibration : Calibration, optional
        Absent for values.
    boldref : ndarray, shape (i, j, k), optional
        Reference image on the grid, to which new images are aligned.
    facts : dict
        JSON-able: ``participant``, ``dataset``, ``space``, ``t_r`` (seconds or None), ``runs`` (run
        group -> numbers of training trials), ``signatures`` (by which runs are recognised),
        ``seen`` (ids of stimuli in training trials), ``residual_sd`` (of values).
    """

    model: Model
    targets: Targets
    grid: VoxelGrid
    training: TrainingStatistics
    reference: Reference
    facts: dict[str, Any]
    calibration: Calibration | None = None
    boldref: np.ndarray | None = None

    def __repr__(self) -> str:
        """Return what it is, without the arrays."""
        label = self.facts.get("participant")
        return (
            f"<decoder {self.model.card['decoder']}{f' of sub-{label}' if label else ''}: "
            f"{len(self.targets.ids)} targets ({self.targets.kind}), {self.grid.n_voxels} voxels>"
        )

    @cached_property
    def decoder(self) -> Decoder:
        """The decoder that reads the model."""
        return load_decoder(self.model.card["decoder"])

    @cached_property
    def gallery(self) -> np.ndarray:
        """The targets in the space of the embeddings, shape (n_ids, n_dims)."""
        return self.decoder.gallery(self.model, self.targets)

    def scale(
        self, betas: np.ndarray, groups: np.ndarray, scaling: Scaling = "own"
    ) -> np.ndarray:
        """Z-score new trials as the training trials were.

        Parameters
        ----------
        betas : ndarray, shape (n_trials, n_voxels)
            Voxels of :attr:`grid`, in the units of the beta series.
        groups : ndarray of str, shape (n_trials,)
            Session of each trial, or its run where the decoder was fitted to trials that were
            z-scored within runs.
        scaling : {"own", "training"}
            ``own``: by the trials of the group itself, without their labels, if there are at least
            :data:`~bids_decoder.glm.normalise.MIN_TRIALS`. ``training``: by the training trials of
            the group of the same name if there is one, else of all groups; for sessions in which
            conditions occur in other shares than in training, whose mean differs for this reason.

        Returns
        -------
        ndarray of float32, shape (n_trials, n_voxels)

        Raises
        ------
        InputError
            For another number of voxels, values that are not finite, or statistics of training
            trials of a participant who has none.
        """
        betas, groups = np.asarray(betas), np.asarray(groups, dtype=str)
        if betas.ndim != 2 or betas.shape[1] != self.grid.n_voxels:
            raise InputError(
                f"responses of shape {betas.shape}", "the decoder reads one row for each trial and "
                f"one column for each of {self.grid.n_voxels} voxels",
                "extract the voxels of the decoder's mask from images on its grid",
            )
        if len(groups) != len(betas) or not np.isfinite(betas).all():
            raise InputError(
                "new responses", f"{len(betas)} trials, {len(groups)} groups, or values that are "
                "not finite", "name the session or run of each trial; leave out trials with NaN",
            )
        fewest = np.unique(groups, return_counts=True)[1].min(initial=MIN_TRIALS)
        if not self.training.are_known and (scaling == "training" or fewest < MIN_TRIALS):
            raise InputError(
                "new responses", "the participant has no training trials by whose statistics they "
                "could be z-scored", f"give {MIN_TRIALS} or more trials of each session, which are "
                "z-scored by their own statistics",
            )
        return self.training.scale(betas, groups, scaling)

    def embed(self, scaled: np.ndarray) -> np.ndarray:
        """Return embeddings (n_trials, n_dims), or values, of z-scored trials."""
        return self.decoder.predict(self.model, scaled)

    def scores(self, embedding: np.ndarray, gallery: np.ndarray | None = None) -> np.ndarray:
        """Score answers for each trial.

        Parameters
        ----------
        embedding : ndarray, shape (n_trials, n_dims)
        gallery : ndarray, shape (n_candidates, n_dims), optional
            Candidates in the space of the embeddings; by default :attr:`gallery`.

        Returns
        -------
        ndarray, shape (n_trials, n_candidates)
            Evidence for labels, cosines for stimuli. Of values there are none.
        """
        return score_targets(
            self.targets.kind, embedding, self.gallery if gallery is None else gallery
        )

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of the candidates of :meth:`scores`.

        Raises
        ------
        InputError
            If the decoder has no calibration.
        """
        if self.calibration is None:
            raise InputError(
                f"decoder of sub-{self.facts['participant']}",
                f"it has no calibrated probabilities: it decodes {self.targets.kind}"
                if self.targets.kind == "value" else "no held-out trials gave a calibration",
                "use its predictions without probabilities",
            )
        return probabilities(scores, self.calibration.slope)

    def judge_runs(self, betas: np.ndarray, groups: np.ndarray, runs: np.ndarray) -> pd.DataFrame:
        """Compare runs with the training runs: the table of :func:`.shift.judge`.

        Trials are z-scored by those of training here: a run that is z-scored by itself has a
        mean of zero in any case.

        Parameters
        ----------
        betas, groups : ndarray
            As for :meth:`scale`.
        runs : ndarray of str, shape (n_trials,)

        Returns
        -------
        DataFrame
            Without rows where the participant has no training trials.
        """
        if not self.training.are_known:
            return judge({}, ())
        embedding = self.embed(self.scale(betas, groups, "training"))
        known, found = self.reference, {}
        for run in np.unique(runs):
            rows = runs == run
            found[str(run)] = {
                **voxel_measures(betas[rows], self.training.means[0], self.training.spreads[0]),
                **latent_measures(embedding[rows], known.latent_mean, known.latent_size),
            }
        return judge(found, known.measures)

    def save(self, path: Path) -> Path:
        """Write the decoder as one file of tensors and its card; see :func:`load_fitted`."""
        return save_model(path, to_model(self))


def score_targets(kind: str, embedding: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Score candidates: evidence for labels, cosines for stimuli, (n_trials, n_candidates)."""
    compare = label_scores if kind == "category" else cosine_similarity
    return compare(embedding, gallery)


def load_fitted(path: Path) -> FittedDecoder:
    """Read the decoder of a participant.

    Parameters
    ----------
    path : Path
        ``*_desc-decoder_model.safetensors``, with its card beside it.

    Returns
    -------
    FittedDecoder

    Raises
    ------
    MissingInputError, InputError
        As :func:`~bids_decoder.models.store.load_model`, and for a file that holds another model.
    """
    model = load_model(path)
    check_usable(path, model.card)
    return _from_model(model)


def check_usable(path: Path, card: dict[str, Any]) -> None:
    """Check by its card that a file holds a decoder that can be used on new data.

    Raises
    ------
    InputError
    """
    if isinstance(card.get(ENTRY), dict):
        return
    if "participants" in card:
        raise InputError(
            f"model {path}", "is a model that participants share, not the decoder of one of them",
            "decode a participant with it first (the decoder is in sub-<label>/model); zero-shot, "
            "apply it with --apply or load_decoder",
        )
    raise InputError(
        f"model {path}", "does not hold what new data need: it is another kind of model, or an "
        "earlier version wrote it", "decode the participant again with this version",
    )


def to_model(fitted: FittedDecoder) -> Model:
    """Return a decoder as tensors and a card."""
    targets, grid, training = fitted.targets, fitted.grid, fitted.training
    tensors = {
        "mask": grid.mask.astype(np.uint8), "affine": grid.affine.astype(np.float64),
        "vectors": targets.vectors, "means": training.means, "spreads": training.spreads,
        "latent_mean": fitted.reference.latent_mean,
    }
    if fitted.boldref is not None:
        tensors["boldref"] = fitted.boldref.astype(np.float32)
    entry = {
        "targets": {"ids": list(targets.ids), "kind": targets.kind, "source": targets.source,
                    "columns": list(targets.columns), "sketched": targets.sketched},
        "normalise": training.unit, "groups": list(training.groups),
        "reference": {"runs": list(fitted.reference.runs),
                      "measures": list(fitted.reference.measures),
                      "latent_size": fitted.reference.latent_size},
        "calibration": None if fitted.calibration is None else asdict(fitted.calibration),
        **fitted.facts,
    }
    named = {f"{PREFIX}.{name}": values for name, values in tensors.items()}
    return Model({**fitted.model.tensors, **named}, {**fitted.model.card, ENTRY: entry})


def _from_model(model: Model) -> FittedDecoder:
    own, entry = model.part(PREFIX), dict(model.card[ENTRY])
    weights = {k: v for k, v in model.tensors.items() if not k.startswith(f"{PREFIX}.")}
    told, known = entry.pop("targets"), entry.pop("reference")
    calibration = entry.pop("calibration")
    return FittedDecoder(
        Model(weights, {k: v for k, v in model.card.items() if k != ENTRY}),
        Targets(tuple(told["ids"]), own["vectors"], told["kind"], told["source"],
                tuple(told["columns"]), told.get("sketched", 0)),
        VoxelGrid(own["mask"] > 0, own["affine"]),
        TrainingStatistics(
            entry.pop("normalise"), tuple(entry.pop("groups")), own["means"], own["spreads"]
        ),
        Reference(tuple(known["runs"]), tuple(known["measures"]), own["latent_mean"],
                  known["latent_size"]),
        entry, None if calibration is None else restore_calibration(calibration),
        own.get("boldref"),
    )


def restore_calibration(entry: dict[str, Any]) -> Calibration:
    """Return a calibration that was stored as a dictionary."""
    return Calibration(**{**entry, "bins": tuple(entry["bins"])})
