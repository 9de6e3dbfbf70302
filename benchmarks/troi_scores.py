"""Selections and read-outs of the benchmark of the trainable region of interest, with scores."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, label
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from troi_cases import Case, Plan

from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import coordinates
from bids_decoder.evaluation.retrieval import Embedded, score_retrieval
from bids_decoder.evaluation.ridge import ridge_predict
from bids_decoder.evaluation.statistics import dice
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.responses import SimulatedPerson
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.training.selection.budget import top_mask
from bids_decoder.training.selection.task import Selection

DILATIONS = {"dilated-1.5": 1.5, "dilated-3": 3.0}
FIXED = ("all", "oracle", *DILATIONS)
METHODS = (
    "graded", "troi-budget", "soft", "encoding", "univariate", "ridge-norm", "paper",
    "paper-guarded", "group-lasso", "hard-concrete", "random", *FIXED,
)
READOUTS = ("ridge", "scratch", "pretrained")
SCORES = Evaluation(pool_size=300, n_draws=30, n_permutations=1)


def fixed_selection(method: str, case: Case) -> Selection:
    """Select by the truth: all voxels, the true region, or the region and what is around it."""
    roi = case.truth.roi
    if method == "all":
        mask = np.ones(len(roi), dtype=bool)
    elif method == "oracle":
        mask = roi
    else:
        away = distance_transform_edt(case.truth.grid.to_volume(~roi, fill=True))
        mask = top_mask(-away[case.truth.grid.mask], round(DILATIONS[method] * roi.sum()))
    weights = mask.astype(np.float32)
    return Selection(mask, weights, weights, {"rule": method})


def select(
    method: str, case: Case, model: Model | None, plan: Plan, seed: int
) -> tuple[Selection, float]:
    """Select voxels; give the seconds it took too."""
    started = time.perf_counter()
    if method in FIXED:
        selection = fixed_selection(method, case)
    else:
        context = plan.context(method, seed)
        selection = load_decoder("troi").select(case.train, case.targets, model, context)
    return selection, time.perf_counter() - started


def mask_scores(selection: Selection, truth: SimulatedPerson) -> dict[str, float]:
    """Compare the mask and the continuous map with the truth."""
    mask, score = selection.mask, np.asarray(selection.score, dtype=np.float64)
    n_roi = int(truth.roi.sum())
    hits = (mask & truth.roi).sum()
    flat = np.ptp(score) == 0
    return {
        "n_voxels": float(mask.sum()),
        "dice": dice(mask, truth.roi),
        "dice_roi_sized": np.nan if flat else dice(top_mask(score, n_roi), truth.roi),
        "precision": hits / max(mask.sum(), 1),
        "recall": hits / n_roi,
        "auc": roc_auc_score(truth.roi, score),
        "spearman": np.nan if flat else float(spearmanr(score, truth.ncsnr).statistic),
        "n_components": float(label(truth.grid.to_volume(mask))[1]),
    }


def ridge_readout(case: Case, selection: Selection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict with cross-validated ridge from weighted voxels; gallery in the same space."""
    voxels = np.flatnonzero(selection.weights)
    scaled = [p.betas[:, voxels] * selection.weights[voxels] for p in (case.train, case.test)]
    space = coordinates(case.train.target_rows, case.targets)
    predicted = ridge_predict(scaled[0], space.scores, scaled[1], case.train.run_groups)
    gallery = (case.targets.vectors - space.mean) @ space.components.T
    return predicted, gallery, np.zeros(gallery.shape[1])


def decoder_readout(
    case: Case, selection: Selection, model: Model | None, context: FitContext
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict with the program's decoder; give the mean prediction of training trials too."""
    decoder = load_decoder("troi")
    adapted = decoder.adapt(case.train, case.targets, selection, model, context)
    train_mean = decoder.predict(adapted, case.train.betas).mean(axis=0)
    gallery = decoder.gallery(adapted, case.targets)
    return decoder.predict(adapted, case.test.betas), gallery, train_mean


def retrieval_scores(
    case: Case, predicted: np.ndarray, gallery: np.ndarray, train_mean: np.ndarray, seed: int
) -> dict[str, float]:
    """Top-1 in pools of 300: by direction, repeats (1 or 3) and similarity."""
    trials = Embedded(
        predicted, case.test.trials["stimulus"].to_numpy(str), case.test.run_groups, gallery,
        np.array(case.targets.ids),
    )
    rng = np.random.default_rng(derive_seed(seed, "pools"))
    metrics, *_ = score_retrieval(trials, SCORES, rng, training_mean=train_mean)
    wanted = metrics[(metrics["metric"] == "top1") & (metrics["pool_size"] == SCORES.pool_size)]
    repeats = {"single": 1, "averaged": 3}
    return {
        f"{row.direction}_{row.similarity}_{repeats[row.unit]}": float(row.value)
        for row in wanted.itertuples()
    }


def run_method(
    method: str, case: Case, plan: Plan, seed: int, readouts: list[str]
) -> dict[str, Any]:
    """Select and decode with one method; give all that is recorded."""
    fit_seed = derive_seed(seed, "fit", case.train.label)
    selection, seconds = select(method, case, case.pretrained, plan, fit_seed)
    result: dict[str, Any] = {
        "mask": mask_scores(selection, case.truth), "notes": selection.notes,
        "select_seconds": seconds, "readouts": {},
    }
    for readout in readouts:
        chosen = selection
        if readout == "scratch":
            chosen, _ = select(method, case, case.scratch, plan, fit_seed)
        started = time.perf_counter()
        if readout == "ridge":
            outcome = ridge_readout(case, chosen)
        else:
            model = case.scratch if readout == "scratch" else case.pretrained
            outcome = decoder_readout(case, chosen, model, plan.context(method, fit_seed))
        fitted = time.perf_counter() - started
        scores = retrieval_scores(case, *outcome, seed)
        result["readouts"][readout] = {**scores, "fit_seconds": fitted}
    return result
