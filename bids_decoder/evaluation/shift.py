"""How far new data lie from those that a decoder was trained on.

Every run is described by a few measures. Those of the training data are taken from one run at a
time against all others, so that they vary as a further run of the same kind would. A new run
is compared with them by a prediction interval of the t distribution for one more value; p-values
are multiplied by the number of measures (Bonferroni), so that a run of the same kind
is questioned as often as the level says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as student

from bids_decoder.evaluation.statistics import ALPHA

MIN_RUNS = 3
"""Training runs with a measure below which new runs cannot be judged by it."""

MEASURES: dict[str, tuple[int, str]] = {
    "spread": (0, "log of the median, over voxels, of the standard deviation of responses in the "
               "run over that in training"),
    "spread_pattern": (-1, "correlation over voxels of the log standard deviation of responses in "
                       "the run with that in training (Fisher z)"),
    "mean_pattern": (-1, "correlation over voxels of the mean response in the run with that in "
                     "training (Fisher z)"),
    "latent_spread": (0, "log of the size of decoded embeddings around their mean in the run, over "
                      "that of held-out training runs"),
    "latent_shift": (1, "log of the distance of the mean decoded embedding of the run from that of "
                     "held-out training runs, over their size"),
}
"""Name -> (which side is worse: -1 low, 1 high, 0 both; description)."""


def voxel_measures(
    rows: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> dict[str, float]:
    """Measure the responses of a run against statistics of training trials.

    Parameters
    ----------
    rows : ndarray, shape (n_trials, n_voxels)
        Responses in the units of the beta series.
    mean, spread : ndarray, shape (n_voxels,)
        Over training trials.

    Returns
    -------
    dict of str to float
        ``spread``, ``spread_pattern``, ``mean_pattern``; empty with fewer than three trials
        or voxels that vary.
    """
    own = rows.std(axis=0, dtype=np.float64)
    varies = (own > 0) & (spread > 0)
    if len(rows) < 3 or varies.sum() < 3:
        return {}
    log_own, log_spread = np.log(own[varies]), np.log(spread[varies])
    return {
        "spread": float(np.median(log_own - log_spread)),
        "spread_pattern": _fisher(log_own, log_spread),
        "mean_pattern": _fisher(rows.mean(axis=0, dtype=np.float64)[varies], mean[varies]),
    }


def latent_measures(
    embedding: np.ndarray, mean: np.ndarray, size: float
) -> dict[str, float]:
    """Measure the decoded embeddings of a run against those of held-out training runs.

    Parameters
    ----------
    embedding : ndarray, shape (n_trials, n_dims)
    mean : ndarray, shape (n_dims,)
    size : float
        Root of the mean squared distance of embeddings from *mean*.

    Returns
    -------
    dict of str to float
        ``latent_spread`` and ``latent_shift``; empty with fewer than three trials, or where
        embeddings do not vary.
    """
    centre = embedding.mean(axis=0, dtype=np.float64)
    own, away = latent_size(embedding, centre), float(np.linalg.norm(centre - mean))
    if len(embedding) < 3 or not (own and away and size):
        return {}
    return {"latent_spread": float(np.log(own / size)), "latent_shift": float(np.log(away / size))}


def latent_size(embedding: np.ndarray, mean: np.ndarray) -> float:
    """Return the root of the mean squared distance of embeddings from *mean*."""
    return float(np.sqrt(((embedding - mean) ** 2).sum(axis=1).mean()))


def judge(
    runs: Mapping[str, Mapping[str, float]], reference: Sequence[Mapping[str, float]]
) -> pd.DataFrame:
    """Compare measures of new runs with those of training runs.

    Parameters
    ----------
    runs : mapping of str to mapping
        Measures of each new run; absent ones are left out.
    reference : sequence of mapping
        Of each training run.

    Returns
    -------
    DataFrame
        One row per run and measure: ``run_group``, ``measure``, ``value``, ``expected`` (mean of
        the training runs), ``low`` and ``high`` (interval in which the value of a further run lies
        with probability 0.95), ``p`` and ``p_corrected`` (over the measures of the run). NaN where
        fewer than :data:`MIN_RUNS` training runs have the measure.
    """
    rows = [
        {"run_group": run, "measure": name, "value": own[name],
         **_place(own[name], [r[name] for r in reference if name in r], MEASURES[name][0])}
        for run, own in runs.items() for name in MEASURES if name in own
    ]
    table = pd.DataFrame(rows, columns=[
        "run_group", "measure", "value", "expected", "low", "high", "p",
    ])
    n_judged = table["p"].notna().groupby(table["run_group"]).transform("sum")
    return table.assign(p_corrected=(table["p"] * n_judged).clip(upper=1.0))


def false_alarms(reference: Sequence[Mapping[str, float]]) -> float:
    """Return the share of training runs that the others would question; NaN if too few.

    Parameters
    ----------
    reference : sequence of mapping
        Measures of each training run.
    """
    if len(reference) <= MIN_RUNS:
        return float("nan")
    found = []
    for number, own in enumerate(reference):
        others = [*reference[:number], *reference[number + 1:]]
        found.append(bool((judge({"": own}, others)["p_corrected"] <= ALPHA).any()))
    return float(np.mean(found))


def _fisher(first: np.ndarray, second: np.ndarray) -> float:
    if not (first.std() and second.std()):
        return 0.0
    return float(np.arctanh(np.clip(np.corrcoef(first, second)[0, 1], -0.999999, 0.999999)))


def _place(value: float, known: Sequence[float], worse: int) -> dict[str, float]:
    """Return the prediction interval of one more value, and the p-value of *value*."""
    n_known = len(known)
    centre = float(np.mean(known)) if known else np.nan
    if n_known < MIN_RUNS:
        return {"expected": centre, "low": np.nan, "high": np.nan, "p": np.nan}
    width = float(np.std(known, ddof=1)) * np.sqrt(1 + 1 / n_known)
    share = 1 - ALPHA / 2 if worse == 0 else 1 - ALPHA
    reach = student.ppf(share, n_known - 1) * width
    away = (value - centre) / width if width else float(np.sign(value - centre)) * 1e9
    if worse == 0:
        p = 2 * student.sf(abs(away), n_known - 1)
    else:
        p = student.sf(worse * away, n_known - 1)
    return {
        "expected": centre, "p": float(p),
        "low": centre - reach if worse <= 0 else -np.inf,
        "high": centre + reach if worse >= 0 else np.inf,
    }
