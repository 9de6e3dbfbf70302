"""Targets of decoding: one table of vectors from labels, numbers, feature tables or pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_decoder.components import principal_components
from bids_decoder.errors import ExitCode, Finding, FindingsError, InputError
from bids_decoder.stimuli.encoders import ImageEncoder, load_encoder
from bids_decoder.stimuli.features import select_features
from bids_decoder.stimuli.words import StimulusVectors
from bids_decoder.trials import Targets


def make_targets(
    kind: str, ids: Iterable[str], *, features: Path | None = None,
    images: Mapping[str, Path] | None = None, encoder: str | ImageEncoder = "gabor",
    columns: Iterable[str] = (),
) -> Targets:
    """Make the table of targets.

    Parameters
    ----------
    kind : {"category", "features", "image", "value"}
        As :attr:`bids_decoder.trials.Targets.kind`.
    ids : iterable of str
        Category labels, stimulus ids, or values as text (numbers separated by spaces) of all
        trials; duplicates are dropped, the others sorted.
    features : Path or None
        Feature table or text encoder, for ``"features"``; see
        :class:`~bids_decoder.stimuli.words.StimulusVectors`.
    images : mapping of str to Path or None
        File of each stimulus, for ``"image"``.
    encoder : str or ImageEncoder
        Encoder or its name, for ``"image"``.
    columns : iterable of str
        Names of the numbers of each value, for ``"value"``.

    Returns
    -------
    Targets
        Category: row *i* of the identity matrix for label *i*. Value: its numbers, in their units.
        Otherwise the vectors of the table or of the encoder, as they are.

    Raises
    ------
    InputError
        With fewer than two different ids.
    FindingsError
        For stimuli without vector or picture.
    ValueError
        For another kind, or when an argument that the kind needs is None.
    """
    names = check_ids(kind, ids)
    if kind == "category":
        return Targets(names, np.eye(len(names), dtype=np.float32), kind)
    if kind == "value":
        vectors = np.array([name.split(" ") for name in names], dtype=np.float64)
        return Targets(names, vectors, kind, columns=tuple(columns))
    if kind == "features" and features is not None:
        source = StimulusVectors(features)
        table = source.of(names)
        vectors = select_features(table, names, f"--features {features}")
        return Targets(names, vectors, kind, source.identity, sketched=table.sketched)
    if kind == "image" and images is not None:
        chosen = load_encoder(encoder) if isinstance(encoder, str) else encoder
        vectors = _encoded(names, images, chosen)
        return Targets(names, vectors, kind, f"{chosen.name}-{chosen.version}")
    raise ValueError(f"cannot make targets of kind {kind!r} from these arguments")


def check_ids(kind: str, ids: Iterable[str]) -> tuple[str, ...]:
    """Return the different ids in order; raise where there are fewer than two.

    Raises
    ------
    InputError
        With fewer than two different ids.
    """
    names = tuple(sorted(set(ids)))
    if len(names) < 2:
        raise InputError(
            f"targets ({kind})", f"only {len(names)} different id(s): {', '.join(names)}",
            "decoding needs two or more; check the columns that name them and --trial-filter",
        )
    return names


def check_vectors(vectors: np.ndarray) -> None:
    """Check that vectors (n_stimuli, n_dims) of training stimuli are not all equal.

    Raises
    ------
    InputError
    """
    if len(vectors) < 2 or not np.ptp(vectors, axis=0).any():
        raise InputError(
            "target space", f"{len(vectors)} training stimuli without any difference between them",
            "check the feature table or the pictures",
        )


def fit_value_space(values: np.ndarray) -> TargetSpace:
    """Fit the standardisation of values, with mean and standard deviation of training trials.

    Parameters
    ----------
    values : ndarray, shape (n_trials, n_columns)
        One row per training trial.

    Returns
    -------
    TargetSpace
        With one component per column, of mean 0 and variance 1 over these trials; a column that
        does not vary keeps its scale.
    """
    values = np.asarray(values, dtype=np.float64)
    spread = values.std(axis=0)
    n_columns = values.shape[1]
    return TargetSpace(
        mean=values.mean(axis=0), components=np.eye(n_columns, dtype=np.float32),
        explained=np.full(n_columns, 1 / n_columns, dtype=np.float32),
        scale=1 / np.where(spread > 0, spread, 1.0),
    )


def _encoded(
    names: tuple[str, ...], images: Mapping[str, Path], encoder: ImageEncoder
) -> np.ndarray:
    absent = [name for name in names if name not in images]
    if absent:
        raise FindingsError([
            Finding(
                f"stimulus {name}", "no picture is known for it",
                "name it in a stim_file column, or use --stimuli-dir", ExitCode.MISSING_INPUT,
            )
            for name in absent
        ])
    return np.asarray(encoder.encode([images[name] for name in names]), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class TargetSpace:
    """The space in which targets are predicted: centred, projected, partly whitened.

    Parameters
    ----------
    mean : ndarray of float, shape (n_dims,)
    components : ndarray of float32, shape (n_components, n_dims)
        Orthonormal rows, the strongest first.
    explained : ndarray of float32, shape (n_components,)
        Share of the variance of the training stimuli along each component.
    scale : ndarray of float, shape (n_components,)
        Factor of the scores along each component.
    """

    mean: np.ndarray
    components: np.ndarray
    explained: np.ndarray
    scale: np.ndarray

    @property
    def n_components(self) -> int:
        """Number of dimensions kept."""
        return len(self.components)

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Transform vectors to scores: (n, n_dims) to float32 (n, n_components)."""
        centred = np.asarray(vectors, dtype=self.mean.dtype) - self.mean
        return (centred @ self.components.T * self.scale).astype(np.float32)

    def inverse_transform(self, scores: np.ndarray) -> np.ndarray:
        """Transform scores to vectors: (n, n_components) to (n, n_dims), with the type of mean."""
        scores = np.asarray(scores, dtype=self.mean.dtype)
        return scores / self.scale @ self.components + self.mean


def fit_target_space(
    vectors_of_training_stimuli: np.ndarray, n_components: int | None = None, *,
    variance: float = 0.99, whitening: float = 0.0,
) -> TargetSpace:
    """Fit centre and principal components on the training stimuli.

    Few components carry most of the variance, and cosines between targets hardly depend on the
    others; pictures that differ only in those cannot be distinguished, and some become hubs.
    *whitening* makes the variances of the components more equal.

    Parameters
    ----------
    vectors_of_training_stimuli : ndarray, shape (n_stimuli, n_dims)
        One row per training stimulus; test stimuli must not be among them.
    n_components : int or None
        Number of components; fewer where the data have fewer. None keeps as many as explain
        the share *variance*.
    variance : float
        In (0, 1).
    whitening : float
        The standard deviation along a component is raised to ``1 - whitening``: 0 keeps the
        distances, 1 makes all variances equal. The total variance stays the same.

    Returns
    -------
    TargetSpace

    Raises
    ------
    InputError
        When there are fewer than two stimuli or all vectors are equal.
    """
    vectors = np.asarray(vectors_of_training_stimuli)
    check_vectors(vectors)
    mean, axes, shares = principal_components(vectors)
    if n_components is None:
        n_components = int(np.searchsorted(np.cumsum(shares), variance - 1e-12)) + 1
    axes, shares = axes[:n_components], shares[:n_components]
    return TargetSpace(
        mean=mean.astype(np.float32), components=axes.astype(np.float32),
        explained=shares.astype(np.float32),
        scale=whitening_scale(shares, whitening).astype(np.float32),
    )


def whitening_scale(shares: np.ndarray, whitening: float) -> np.ndarray:
    """Return factors of scores, (n_components,), from shares of variance.

    *whitening* as in :func:`fit_target_space`. Only these depend on it: mean and components are
    the same.
    """
    scale = shares ** (-whitening / 2)
    return scale * np.sqrt(shares.sum() / (shares * scale**2).sum())
