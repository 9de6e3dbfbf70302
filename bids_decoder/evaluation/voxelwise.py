"""Scores of predicted voxel responses: accuracy, noise ceiling, identification.

Accuracy is the correlation, over held-out images, of prediction and measured response, the mean
over the repeats of an image. Voxels have equal weights within a set of voxels; sets are chosen on
training trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bids_decoder.averages import average_rows
from bids_decoder.config import Evaluation
from bids_decoder.errors import InputError
from bids_decoder.evaluation.intervals import mean_interval
from bids_decoder.evaluation.nulls import Exchange, exchange_images, permutation_blocks
from bids_decoder.evaluation.retrieval import (
    Embedded,
    RetrievalScores,
    score_retrieval,
)
from bids_decoder.evaluation.statistics import ALPHA, fdr_bh, paired_difference, permutation_p
from bids_decoder.evaluation.tables import (
    ENCODING_COLUMNS,
    ENCODING_NULL_COLUMNS,
    NULL_VALUES,
    Nulls,
    split_nulls,
)

COMPARISON_COLUMNS: dict[str, str] = {
    "first": "Encoder.",
    "second": "Encoder that it is compared to.",
    "isolates": "What the difference isolates.",
    "voxels": "region or common, as in the table of metrics.",
    "value": "Mean correlation of the first minus that of the second.",
    "ci_low": "Lower limit of the 95 % interval over images.",
    "ci_high": "Upper limit of the 95 % interval over images.",
    "p": "Two-sided p-value, encoders exchanged at random for each image.",
    "n": "Number of held-out images.",
    "n_voxels": "Number of voxels.",
}

_FLOOR = 1e-9

LEAST_CEILING = 0.2
"""Least noise ceiling (correlation) of voxels that are normalised on the map."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Held-out responses of one participant.

    Parameters
    ----------
    betas : ndarray, shape (n_trials, n_voxels)
    stimuli : ndarray of str, shape (n_trials,)
    runs : ndarray of str, shape (n_trials,)
    ceiling : ndarray or None, shape (n_voxels,)
        Largest correlation that a model could reach with the mean over repeats; None without
        repeats.
    """

    betas: np.ndarray
    stimuli: np.ndarray
    runs: np.ndarray
    ceiling: np.ndarray | None

    @property
    def images(self) -> np.ndarray:
        """Ids of the images shown, sorted, shape (n_images,)."""
        return np.unique(self.stimuli)

    def averaged(self) -> np.ndarray:
        """Mean response to each of :attr:`images`, shape (n_images, n_voxels)."""
        number = np.unique(self.stimuli, return_inverse=True)[1]
        return average_rows(self.betas.astype(np.float64), number)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Predictions of one encoder for the held-out images.

    Parameters
    ----------
    raw : ndarray, shape (n_images, n_voxels)
        In the order of ``Measured.images``, in the encoder's own units.
    calibrated : ndarray, shape (n_images, n_voxels)
        On the scale of the responses.
    scores : ndarray, shape (n_voxels,)
        Accuracy on the inner split of the training trials.
    selected : ndarray of bool, shape (n_voxels,)
        The encoder's own selection by these scores.
    """

    raw: np.ndarray
    calibrated: np.ndarray
    scores: np.ndarray
    selected: np.ndarray


def voxel_correlations(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Correlate over rows, per column.

    Parameters
    ----------
    predicted, measured : ndarray, shape (n, n_voxels)

    Returns
    -------
    ndarray of float32, shape (n_voxels,)
        0 where one of the two does not vary.
    """
    return (_unit(predicted) * _unit(measured)).sum(axis=0).astype(np.float32)


def _unit(values: np.ndarray) -> np.ndarray:
    """Centre columns and scale them to unit length; constant columns become zero."""
    values = np.asarray(values, dtype=np.float64)
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    floor = 1e-6 * np.linalg.norm(values, axis=0)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > floor)


def contributions(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Split the correlation of each column into the contributions of its rows.

    The pseudo-values of the jackknife, centred: their mean over rows is the correlation, and their
    spread that of the correlation when rows are left out one by one.

    Returns
    -------
    ndarray of float64, shape (n, n_voxels)
    """
    first, second = _unit(predicted), _unit(measured)
    n = len(first)
    together, share = (first * second).sum(axis=0), n / (n - 1)
    # Of unit columns, the sums of squares and of products without each row.
    kept = (1 - share * first**2) * (1 - share * second**2)
    without = np.divide(
        together - share * first * second, np.sqrt(np.maximum(kept, 0.0)),
        out=np.zeros_like(first), where=kept > _FLOOR,
    )
    return together + (n - 1) * (without.mean(axis=0) - without)


def score_encoding(
    measured: Measured,
    models: dict[str, Encoded],
    common: np.ndarray,
    *,
    settings: Evaluation,
    seed: int,
) -> tuple[pd.DataFrame, Nulls]:
    """Score the predictions of held-out images.

    Intervals are Student's over images; for p-values images are permuted, within runs
    when each was shown in one run only. All encoders share permutations.

    Parameters
    ----------
    measured : Measured
    models : dict of str to Encoded
    common : ndarray of bool, shape (n_voxels,)
        Voxels on which encoders are compared; see :func:`common_selection`.
    settings : Evaluation
    seed : int

    Returns
    -------
    metrics : DataFrame
        Columns as in :data:`ENCODING_COLUMNS`: accuracy on the three sets of voxels, and
        identification on the encoder's own selection.
    nulls : Nulls
        Null distribution of each row with a p-value, columns :data:`ENCODING_NULL_COLUMNS`.

    Raises
    ------
    InputError
        With fewer than three held-out images.
    """
    n_images = len(measured.images)
    if n_images < 3:
        raise InputError(
            "encoding cannot be scored", f"{n_images} held-out image(s), three are needed",
            "hold out more; see plan.json",
        )
    exchange, columns = _exchange(measured), list(ENCODING_COLUMNS)
    permutations = exchange.draw(settings.n_permutations, np.random.default_rng(seed))
    accuracy, nulls = split_nulls(_accuracies(measured, models, common, permutations))
    accuracy = accuracy.assign(split="test", n=n_images)
    p_min, tested = exchange.smallest_p(settings.n_permutations), accuracy["p"].notna()
    accuracy["p_min"] = np.where(tested, p_min, np.nan)
    accuracy["null"] = np.where(tested, "fixed", "none")
    known = [_identification(measured, name, m, settings, seed) for name, m in models.items()]
    metrics = pd.concat([accuracy, *(one for one, _ in known)], ignore_index=True)
    together = pd.concat([nulls, *(table for _, table in known)], ignore_index=True)
    return metrics.reindex(columns=columns), Nulls(
        together.reindex(columns=list(ENCODING_NULL_COLUMNS)),
        {"Null": "fixed", **exchange.describe()},
    )


def _accuracies(
    measured: Measured, models: dict[str, Encoded], common: np.ndarray, permutations: np.ndarray
) -> list[dict]:
    """Score all encoders on the three sets of voxels."""
    target, everything = measured.averaged(), np.ones(len(common), dtype=bool)
    rows: list[dict] = []
    for name, model in models.items():
        for words, voxels in (
            ("region", everything), ("common", common), ("selected", model.selected),
        ):
            found = _accuracy(model.raw[:, voxels], target[:, voxels], permutations)
            found += _normalised(found[0], measured.ceiling, voxels)
            shared = {"model": name, "unit": "averaged", "voxels": words,
                      "n_voxels": int(voxels.sum())}
            rows += [{**row, **shared} for row in found]
    return rows


def _exchange(measured: Measured) -> Exchange:
    """Exchange images, within runs when each was shown in one run only."""
    number = np.unique(measured.stimuli, return_inverse=True)[1]
    return exchange_images(permutation_blocks(number, measured.runs))


def _accuracy(
    predicted: np.ndarray, target: np.ndarray, permutations: np.ndarray
) -> list[dict]:
    """Score one set of voxels: mean correlation and share of significant voxels."""
    n_images = len(predicted)
    part = contributions(predicted, target).mean(axis=1) / n_images
    low, high = mean_interval(part * n_images)
    products = _unit(predicted) @ _unit(target).T / predicted.shape[1]
    null = products[np.arange(n_images), permutations].sum(axis=1)
    value = float(part.sum())
    q_values = fdr_bh(voxel_p(predicted, target, permutations))
    return [
        {"metric": "correlation", "value": value, "chance": 0.0, "ci_low": low, "ci_high": high,
         "p": permutation_p(value, null), "n_null": len(null), NULL_VALUES: null},
        {"metric": "share_significant", "value": float((q_values <= ALPHA).mean()), "chance": 0.0},
    ]


def voxel_p(
    predicted: np.ndarray, target: np.ndarray, permutations: np.ndarray
) -> np.ndarray:
    """Compute the permutation p-value of each voxel's correlation.

    Parameters
    ----------
    predicted, target : ndarray, shape (n_images, n_voxels)
    permutations : ndarray of int, shape (n_permutations, n_images)

    Returns
    -------
    ndarray of float64, shape (n_voxels,)
        1 where prediction or response do not vary.
    """
    first, second = _unit(predicted), _unit(target)
    observed = (first * second).sum(axis=0)
    above = np.zeros(len(observed))
    for order in permutations:
        above += (first * second[order]).sum(axis=0) >= observed - 1e-9
    return (1 + above) / (1 + len(permutations))


def _normalised(row: dict, ceiling: np.ndarray | None, voxels: np.ndarray) -> list[dict]:
    """Divide a mean correlation and its interval by the mean noise ceiling."""
    if ceiling is None or not ceiling[voxels].mean() > 0:
        return []
    top = float(ceiling[voxels].mean())
    scaled = {name: row[name] / top for name in ("value", "ci_low", "ci_high", NULL_VALUES)}
    return [{**row, **scaled, "metric": "correlation_normalised"}]


def _identification(
    measured: Measured, name: str, model: Encoded, settings: Evaluation, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Identify held-out images by their predicted patterns (Kay et al. 2008, Nature 452)."""
    found = identify(measured, model, settings, seed, name)
    metrics = found.metrics.assign(voxels="selected", n_voxels=int(model.selected.sum()))
    return metrics, found.nulls.table.assign(voxels="selected")


def identify(
    measured: Measured, model: Encoded, settings: Evaluation, seed: int, name: str = "encoder"
) -> RetrievalScores:
    """Identify held-out images: metrics, one row per trial, and null distributions.

    A measured pattern is compared with the calibrated prediction for every held-out image, by
    cosine over the selected voxels; both have mean 0 over training trials. Scores are those of
    :func:`.retrieval.score_retrieval`.
    """
    trials = Embedded(
        np.asarray(measured.betas[:, model.selected], dtype=np.float64), measured.stimuli,
        measured.runs, np.asarray(model.calibrated[:, model.selected], dtype=np.float64),
        measured.images,
    )
    return score_retrieval(trials, settings, np.random.default_rng(seed), model=name)


def compare_encoders(
    measured: Measured,
    models: dict[str, Encoded],
    common: np.ndarray,
    pairs: tuple[tuple[str, str, str], ...],
    *,
    settings: Evaluation,
    seed: int,
) -> pd.DataFrame:
    """Compare encoders on the same images and voxels.

    Parameters
    ----------
    measured, models, common, settings, seed
        See :func:`score_encoding`.
    pairs : tuple of (first, second, what the difference isolates)
        Pairs with an encoder that is not in *models* are left out.

    Returns
    -------
    DataFrame
        Columns as in :data:`COMPARISON_COLUMNS`.
    """
    target, n_images = measured.averaged(), len(measured.images)
    size, rows = np.full(n_images, 1 / n_images), []
    for first, second, text in pairs:
        if first not in models or second not in models:
            continue
        for words, voxels in (("region", np.ones(len(common), dtype=bool)), ("common", common)):
            one, other = (
                contributions(models[m].raw[:, voxels], target[:, voxels]).mean(axis=1) / n_images
                for m in (first, second)
            )
            gap = paired_difference(
                one, other, size, n_permutations=settings.n_permutations,
                rng=np.random.default_rng(seed),
            )
            rows.append({
                "first": first, "second": second, "isolates": text, "voxels": words,
                "value": gap.value, "ci_low": gap.ci_low, "ci_high": gap.ci_high, "p": gap.p,
                "n": n_images, "n_voxels": int(voxels.sum()),
            })
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


def common_selection(models: dict[str, Encoded], n_selected: int) -> np.ndarray:
    """Select voxels that all encoders together predict best on the inner split.

    Returns
    -------
    ndarray of bool, shape (n_voxels,)
        The *n_selected* with the highest mean score over encoders, so that no encoder is compared
        on voxels that only it or the other one selected.
    """
    return best_voxels(np.mean([model.scores for model in models.values()], axis=0), n_selected)


def best_voxels(scores: np.ndarray, n_selected: int) -> np.ndarray:
    """Mark the *n_selected* voxels with the highest scores, shape (n_voxels,)."""
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(-scores, kind="stable")[:n_selected]] = True
    return mask


def voxel_maps(
    measured: Measured, model: Encoded, settings: Evaluation, seed: int
) -> dict[str, np.ndarray]:
    """Compute the accuracy of each voxel on held-out images.

    Returns
    -------
    dict of str to ndarray, each of shape (n_voxels,)
        ``correlation``; ``logq``, minus the decadic logarithm of its p-value after correction
        for the false discovery rate; ``score``, the accuracy on the inner split; and where
        images repeat ``ceiling``, the noise ceiling, and ``normalised``, the
        quotient of the two where the ceiling is at least 0.2, else 0.
    """
    target = measured.averaged()
    maps = {"correlation": voxel_correlations(model.raw, target), "score": model.scores}
    rng = np.random.default_rng(seed)
    permutations = _exchange(measured).draw(settings.n_permutations, rng)
    maps["logq"] = -np.log10(fdr_bh(voxel_p(model.raw, target, permutations)))
    if measured.ceiling is not None:
        maps["ceiling"] = measured.ceiling
        reachable = measured.ceiling >= LEAST_CEILING
        maps["normalised"] = np.divide(
            maps["correlation"], measured.ceiling, where=reachable,
            out=np.zeros_like(maps["correlation"]),
        )
    return {name: np.asarray(values, dtype=np.float32) for name, values in maps.items()}
