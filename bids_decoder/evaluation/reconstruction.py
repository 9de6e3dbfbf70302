"""Similarity of reconstructed pictures to what was seen, compared with controls.

Definitions are those of Scotti et al. 2024 (MindEye2): pixel correlation and structural similarity
at 425 x 425 pixels, two-way identification by the correlation of feature vectors, and correlation
distances. Three controls go through the same scores: reconstructions paired with the pictures of
other trials (``shuffled-brains``), one reconstruction from the mean of the training responses
(``mean-brain``), and the training picture nearest to what was decoded
(``nearest-training-image``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from skimage.color import rgb2gray
from skimage.filters import gaussian

from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import bounded_interval, mean_interval
from bids_decoder.evaluation.similarity import cosine_similarity
from bids_decoder.evaluation.statistics import paired_difference

EDGE = 425
"""Pixels along each edge at which pictures are compared."""

LEAST_PICTURES = 3
"""Pictures that were seen without which reconstructions are not scored."""

N_SHUFFLES = 5
NEAREST = "nearest-training-image"
CONTROLS = ("shuffled-brains", "mean-brain", NEAREST)

_K1, _K2, _SIGMA, _TRUNCATE, _RADIUS = 0.01, 0.03, 1.5, 3.5, 5
"""Of the structural similarity."""

Pictures = Sequence[np.ndarray]
"""Pictures of shape (height, width, 3), sRGB in [0, 1]; may be read when they are asked for."""

METRIC_COLUMNS: dict[str, str] = {
    "model": "reconstruction, or a control.",
    "metric": "pixcorr, ssim, two_way (identification), or distance (1 - correlation).",
    "features": "What is compared: pixels, or features of a network.",
    "value": "Mean over pictures.",
    "chance": "Its value for reconstructions without information; n/a where theory has none.",
    "ci_low": "Lower limit of the 95 % interval over pictures; for two_way pictures count as "
              "targets and as foils.",
    "ci_high": "Upper limit of this interval.",
    "field_low": "Mean - 1.96 standard errors over pictures taken as independent, as is usual in "
                 "the field; for two_way too narrow or too wide, because all pictures share their "
                 "foils.",
    "field_high": "Mean + 1.96 standard errors.",
    "n": "Number of pictures.",
    "ahead": "Mean of reconstruction minus control over pictures, positive where the "
             "reconstruction is better; n/a for the reconstruction itself.",
    "ahead_low": "Lower limit of the 95 % interval of ahead.",
    "ahead_high": "Upper limit of this interval.",
    "ahead_p": "Two-sided p of ahead, signs flipped at random.",
}
"""Columns of the table of metrics, with descriptions for its sidecar."""

_BOUNDS = {
    "pixcorr": (-1.0, 1.0), "ssim": (-1.0, 1.0), "distance": (0.0, 2.0), "two_way": (0.0, 1.0),
}


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """A space in which pictures are compared.

    Parameters
    ----------
    name : str
    extract : callable (pictures) -> ndarray, shape (n_pictures, n_features)
    distance : bool
        Report correlation distances besides two-way identification.
    two_way : bool
        Report two-way identification.
    """

    name: str
    extract: Callable[[Pictures], np.ndarray]
    distance: bool = False
    two_way: bool = True


@dataclass(frozen=True, eq=False)
class _Score:
    """One metric of one model: a value per picture and, for two_way, of each as a foil."""

    metric: str
    features: str
    each: np.ndarray
    as_foil: np.ndarray | None = None  # share of the others that win against it

    @property
    def sign(self) -> int:
        return -1 if self.metric == "distance" else 1


def resize(picture: np.ndarray, edge: int = EDGE) -> np.ndarray:
    """Resize a picture to *edge* x *edge* pixels (bilinear, antialiased), float32."""
    if picture.shape[:2] == (edge, edge):
        return picture.astype(np.float32, copy=False)
    bands = [
        np.asarray(Image.fromarray(np.ascontiguousarray(picture[..., c], dtype=np.float32))
                   .resize((edge, edge), Image.Resampling.BILINEAR))
        for c in range(3)
    ]
    return np.stack(bands, axis=-1)


class ComparedPicture:
    """A picture at 425 x 425, with what is needed of it in each comparison.

    It takes 7 MB of memory: keep only a few at a time.

    Parameters
    ----------
    picture : ndarray, shape (height, width, 3)
        sRGB in [0, 1].
    """

    def __init__(self, picture: np.ndarray) -> None:
        pixels = resize(picture)
        self._standardised = _standardised(pixels.reshape(1, -1))
        self._grey = rgb2gray(pixels)
        self._mean = _smooth(self._grey)
        self._variance = _smooth(self._grey * self._grey) - self._mean * self._mean

    def correlation(self, other: ComparedPicture) -> float:
        """Correlate (Pearson) all pixels and colours; 0 for a uniform picture."""
        return float(np.clip(self._standardised @ other._standardised.T, -1, 1)[0, 0])

    def structure(self, other: ComparedPicture) -> float:
        """Compute the structural similarity (SSIM) of the grey pictures.

        Gaussian weights of sigma 1.5 (11 x 11 pixels), population covariance, data range 1,
        K1 = 0.01, K2 = 0.03 [1]_. The result is that of
        :func:`skimage.metrics.structural_similarity`, which would filter both pictures again for
        each pair.

        References
        ----------
        .. [1] Wang et al. 2004, IEEE Trans Image Process 13:600.
        """
        product = self._mean * other._mean
        covariance = _smooth(self._grey * other._grey) - product
        similar = (2 * product + _K1**2) * (2 * covariance + _K2**2)
        scale = (self._mean**2 + other._mean**2 + _K1**2) * (
            self._variance + other._variance + _K2**2
        )
        inner = slice(_RADIUS, -_RADIUS)  # where the window is inside the picture
        return float((similar / scale)[inner, inner].mean(dtype=np.float64))


def _smooth(grey: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian(grey, sigma=_SIGMA, truncate=_TRUNCATE, mode="reflect"))


def identification(correlations: np.ndarray) -> np.ndarray:
    """Compute for each reconstruction against which other pictures its own picture wins.

    Parameters
    ----------
    correlations : ndarray, shape (n, n)
        Of picture *i* (row) with reconstruction *j* (column).

    Returns
    -------
    ndarray of float64, shape (n, n)
        1 where picture *i* is less similar to reconstruction *j* than picture *j* is; 0 on the
        diagonal. The mean of a column over the n - 1 others is its two-way identification.
    """
    return (correlations < np.diagonal(correlations)[None, :]).astype(float)


def nearest_rows(
    embedding: np.ndarray, gallery: np.ndarray, training_rows: np.ndarray
) -> np.ndarray:
    """Find the training picture nearest to each decoded embedding.

    Parameters
    ----------
    embedding : ndarray, shape (n, n_dims)
    gallery : ndarray, shape (n_targets, n_dims)
        All targets in the space of the embeddings.
    training_rows : ndarray of int, shape (n_training,)
        Rows of those that were shown in training trials.

    Returns
    -------
    ndarray of int, shape (n,)
        Rows of the gallery.
    """
    rows = np.unique(training_rows)
    return rows[cosine_similarity(embedding, gallery[rows]).argmax(axis=1)]


def score_reconstructions(
    seen: Pictures, painted: Mapping[str, Pictures], spaces: Sequence[FeatureSpace], *,
    settings: Evaluation, rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score reconstructions and controls.

    Parameters
    ----------
    seen : sequence of ndarray, shape (height, width, 3)
        The pictures shown.
    painted : mapping of str to sequence of ndarray
        ``"reconstruction"`` and controls, in the order of *seen*.
    spaces : sequence of FeatureSpace
    settings : Evaluation
        Number of permutations.
    rng : numpy.random.Generator

    Returns
    -------
    metrics : DataFrame
        Columns as in :data:`METRIC_COLUMNS`.
    each : DataFrame
        One row per picture: the metrics of its reconstruction.

    Raises
    ------
    InputError
        With fewer than three pictures.
    """
    if len(seen) < LEAST_PICTURES:
        raise InputError("reconstructions cannot be scored", f"{len(seen)} picture(s) were tested",
                         "three are needed; show more test pictures, or use --reconstruction none")
    scores = {name: [] for name in ("reconstruction", *CONTROLS) if name in painted
              or name == "shuffled-brains"}
    shifts = _shifts(len(seen), rng)
    for name, (correlations, structures) in _score_pixels(seen, painted, shifts).items():
        scores[name] += [_Score("pixcorr", "pixels", correlations),
                         _Score("ssim", "pixels", structures)]
    for space in spaces:
        _score_space(space, seen, painted, shifts, scores)
    own = scores["reconstruction"]
    rows = [
        _row(name, score, None if name == "reconstruction" else reference, settings, rng)
        for name, listed in scores.items() for score, reference in zip(listed, own, strict=True)
    ]
    each = {f"{s.metric}_{s.features}": s.each for s in own}
    return pd.DataFrame(rows)[list(METRIC_COLUMNS)], pd.DataFrame(each)


def _shifts(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw permutations without fixed points, as shifts of the pictures in random order."""
    order = rng.permutation(n)
    steps = rng.permutation(np.arange(1, n))[:N_SHUFFLES]
    found = []
    for step in steps:
        moved = np.empty(n, dtype=int)
        moved[order] = np.roll(order, int(step))
        found.append(moved)
    return found


def _score_pixels(
    seen: Pictures, painted: Mapping[str, Pictures], shifts: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Compare pixels with those of the picture that was seen, for the shuffled with others.

    Returns
    -------
    dict of str to ndarray, shape (2, n)
        Pixel correlation and structural similarity of each picture.
    """
    n = len(seen)
    found = {name: np.zeros((2, n)) for name in painted}
    shuffled = np.zeros((len(shifts), 2, n))
    for i, picture in enumerate(seen):
        own = ComparedPicture(picture)
        for name, pictures in painted.items():
            found[name][:, i] = _compare(own, pictures[i])
        for values, shift in zip(shuffled, shifts, strict=True):
            (j,) = np.flatnonzero(shift == i)
            values[:, j] = _compare(own, painted["reconstruction"][j])
    return {**found, "shuffled-brains": shuffled.mean(axis=0)}


def _compare(seen: ComparedPicture, picture: np.ndarray) -> tuple[float, float]:
    other = ComparedPicture(picture)
    return seen.correlation(other), seen.structure(other)


def _score_space(
    space: FeatureSpace, seen: Pictures, painted: Mapping[str, Pictures],
    shifts: list[np.ndarray], scores: dict[str, list[_Score]],
) -> None:
    truth = space.extract(seen)
    for name, pictures in painted.items():
        correlations = _correlations(truth, space.extract(pictures))
        scores[name] += _scores_of(space, correlations)
        if name == "reconstruction":
            listed = [_scores_of(space, correlations[shift]) for shift in shifts]
            scores["shuffled-brains"] += [
                _Score(same[0].metric, space.name, np.mean([s.each for s in same], axis=0))
                for same in zip(*listed, strict=True)
            ]


def _scores_of(space: FeatureSpace, correlations: np.ndarray) -> list[_Score]:
    found = []
    if space.two_way:
        # Not kept: a number for each pair of pictures, of each model and space.
        wins = identification(correlations)
        each, as_foil = (wins.sum(axis=axis) / (len(wins) - 1) for axis in (0, 1))
        found.append(_Score("two_way", space.name, each, as_foil))
    if space.distance:
        found.append(_Score("distance", space.name, 1 - np.diagonal(correlations)))
    return found


def _correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate (Pearson) each row with each row; 0 where a row does not vary."""
    return np.clip(_standardised(first) @ _standardised(second).T, -1, 1)


def _standardised(rows: np.ndarray) -> np.ndarray:
    centred = np.asarray(rows, dtype=np.float64)
    centred = centred - centred.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9)


def _row(
    name: str, score: _Score, reference: _Score | None, settings: Evaluation,
    rng: np.random.Generator,
) -> dict[str, object]:
    each, n = score.each, len(score.each)
    error = 1.96 * each.std(ddof=1) / np.sqrt(n)
    low, high = _interval(score)
    row = {
        "model": name, "metric": score.metric, "features": score.features, "value": each.mean(),
        "chance": 0.5 if score.metric == "two_way" else None, "ci_low": low, "ci_high": high,
        "field_low": each.mean() - error, "field_high": each.mean() + error, "n": n,
        "ahead": None, "ahead_low": None, "ahead_high": None, "ahead_p": None,
    }
    if reference is not None:
        gap = paired_difference(
            score.sign * reference.each, score.sign * each, np.ones(n), rng=rng,
            n_permutations=settings.n_permutations,
        )
        row |= {"ahead": gap.value, "ahead_low": gap.ci_low, "ahead_high": gap.ci_high,
                "ahead_p": gap.p}
    return row


def _interval(score: _Score) -> tuple[float, float]:
    """Compute limits over pictures, which are both targets and foils in two_way."""
    if score.as_foil is None:
        return mean_interval(score.each, _BOUNDS[score.metric])
    n = len(score.each)
    value = float(score.each.mean())
    return bounded_interval(value, (score.each + score.as_foil - 2 * value) / n)
