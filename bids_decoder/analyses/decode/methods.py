"""Methods texts of decoding."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_decoder.analyses.base import Steps
from bids_decoder.analyses.decode.published import protocol_of
from bids_decoder.evaluation.similarity import TRANSDUCTIVE
from bids_decoder.reports.results import Results, sidecar_of
from bids_decoder.reports.scores import compare, seen_participants
from bids_decoder.training.ablations import PREFIX
from bids_decoder.training.selectors import BY_SHARE_PRIOR

TEXTS = {
    "Decoding": (
        "decoder-deeplight-2d",
        "decoder-deeplight-3d",
        "decoder-cnn3d",
        "transfer",
        "pretraining",
        "pretraining-contrastive",
        "pretraining-prototypes",
        "scratch",
        "select-graded",
        "select-graded-by-sources",
        "select-troi",
        "select-encoding",
        "select-soft",
        "select-random",
        "select-all",
        "select-paper",
        "select-paper-guarded",
        "select-group-lasso",
        "select-hard-concrete",
        "select-univariate",
        "select-ridge-norm",
        "select-budget",
        "group-prior",
        "spatial-prior",
        "noise-filter",
        "shared-noise",
        "closed-form",
        "stage2-reinit",
        "stage2-lr_rewind",
        "stage2-trunk-frozen",
        "stage2-trunk-lora",
        "stage2-trunk-full",
        "seeds",
        "patterns",
    ),
    "Evaluation": (
        "protocol",
        "retrieval",
        "identification",
        "retrieval-csls",
        "retrieval-sinkhorn",
        "classification",
        "values",
        "baselines",
        "baselines-ridge",
        "baselines-ridge-labels",
        "baselines-svm",
        "statistics",
        "statistics-values",
        "statistics-test",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""


def steps(results: Results) -> Steps:
    """Return the methods steps of decoding and scoring a participant."""
    card = results.card("decoder_model")
    if not card:
        return {}
    asked = card.get("from_scratch", "--from-scratch") == "--from-scratch"
    why = "as requested" if asked else "since there was no pretrained model"
    found: Steps = {"scratch": {"why": why}}
    seen = seen_participants(card)
    if "volumes" in card:
        variant = f"-{card['volumes']['variant']}" if card["decoder"] == "deeplight" else ""
        found = {"transfer": {"n_participants": len(seen)}} if seen else found
        name = f"decoder-{card['decoder']}{variant}"
        return {name: {}} | found | _evaluation(results, card)
    if seen:
        loss = "prototypes" if card.get("target_kind") == "category" else "contrastive"
        found = {"pretraining": {"n_participants": len(seen)}, f"pretraining-{loss}": {}}
    return found | _selection(results) | _evaluation(results, card)


_GRADED = {
    True: {"field": "", "budget": "as many as are likely to carry signal, or all where these were "
           "fewer than 30, unless another number was requested"},
    False: {
        "field": ", whose smoothness, and the weight of the evidence of single voxels, were those "
        "with which half of the training runs best predicted the other half",
        "budget": "as many as are likely to carry signal, unless another number was requested or "
        "predicted held-out training runs clearly better",
    },
}
"""Details of the graded selection: in closed form, and chosen by cross-validation."""

_FITTED = {"value": "values", "image": "stimulus vectors", "features": "stimulus vectors"}
"""What a decoder in closed form predicts, by kind of target."""
_FEW_TRIALS = (
    " up to the mean eigenvalue of the kernel, or a tenth of it where there were fewer than four "
    "trials for each dimension of the labels"
)


def _selection(results: Results) -> Steps:
    masks = results.files("troi_mask")
    troi = results.settings.get("troi", {})
    if not masks or not troi:
        return {}
    card = results.card("decoder_model")
    closed = card.get("closed_form", False)
    selector = troi["selector"].removesuffix("-budget")
    steps: Steps = {f"select-{selector}": _GRADED[closed] if selector == "graded" else {}}
    mask = sidecar_of(masks[0])
    if mask.get("rule") == BY_SHARE_PRIOR:
        steps = {"select-graded-by-sources": {}}
    space = card.get("group_prior")
    if space:
        resampled = card.get("group_prior_resampled")
        steps["group-prior"] = {
            "space": space, "grids": "resampled to the grid of the participant (trilinear)"
            if resampled else "on the same grid",
        }
    if "n_voxels" in mask:
        steps["select-budget"] = {"n_voxels": mask["n_voxels"]}
    steps |= _spatial_prior(card)
    if card.get("noise_share"):
        share = card["noise_share"]
        steps["shared-noise"] = {"percent": f"{100 * share:.0f}"}
    if closed:
        kind = card.get("target_kind")
        steps["closed-form"] = {
            "targets": _FITTED.get(str(kind), "labels"),
            "default": "" if kind in _FITTED else _FEW_TRIALS,
        }
    elif card.get("stage2", troi["stage2"]) == "none":
        steps["stage2-trunk-frozen"] = {}
    else:
        steps |= {f"stage2-{troi['stage2']}": {}, f"stage2-trunk-{troi['stage2_trunk']}": {}}
    if "n_seeds" in mask:
        steps["seeds"] = {"n_seeds": mask["n_seeds"]}
    if results.files("statmap", label="TROI", stat="pattern"):
        steps["patterns"] = {}
    return steps


def _spatial_prior(card: dict[str, Any]) -> Steps:
    if card.get("noise_filter"):
        width = card["noise_filter_fwhm_mm"]
        return {"noise-filter": {
            "power": f"{-card['noise_filter_power']:g}",
            "smooth": f", smoothed by a Gaussian of {width:.3g} mm full width at half maximum"
            if width else "",
            "evidence": f"{card['noise_filter_evidence']:.1f}",
        }}
    if not card.get("spatial_prior"):
        return {}
    before, after = card["spatial_prior_scores"]
    width = card["spatial_prior_fwhm_mm"]
    return {"spatial-prior": {
        "smooth": f"smooth (Gaussian, {width:.3g} mm full width at half maximum)" if width
        else "different from voxel to voxel",
        "before": f"{before:.3f}", "after": f"{after:.3f}",
    }}


def _evaluation(results: Results, card: dict[str, Any]) -> Steps:
    metrics = results.table("metrics")
    comparisons = compare(metrics, card)
    if metrics is None or not comparisons:
        return {}
    protocol = protocol_of(card)
    steps: Steps = {} if protocol is None else {
        "protocol": {"title": protocol.title, "source": protocol.source}
    }
    if any(c.metric == "two_way" for c in comparisons):
        steps["identification"] = {}
    elif retrieval := [c for c in comparisons if c.direction in ("b2i", "i2b")]:
        row = retrieval[0].own
        steps["retrieval"] = {"pools": _pools(row["pool_size"], row["n_draws"])}
    for name in TRANSDUCTIVE:
        if any(c.own["similarity"] == name for c in comparisons):
            steps[f"retrieval-{name}"] = {}
    measured = {c.metric for c in comparisons}
    steps |= {text: {} for metric, text in _SCORES.items() if metric in measured}
    steps |= _baselines(metrics, comparisons[0].model)
    if {"baselines-ridge", "classification"} <= set(steps):
        steps["baselines-ridge-labels"] = {}
    return steps | _statistics(steps, comparisons[0].own)


_SCORES = {"balanced_accuracy": "classification", "r2": "values"}
"""Measure -> methods text."""


def _baselines(metrics: pd.DataFrame, own: str) -> Steps:
    others = sorted(set(metrics.get("model", pd.Series(dtype=object)).dropna()) - {own})
    others = [name for name in others if not name.startswith(PREFIX)]
    steps: Steps = {"baselines": {"models": ", ".join(others)}} if others else {}
    for kind in ("ridge", "svm"):
        if any(name.startswith(kind) for name in others):
            steps[f"baselines-{kind}"] = {}
    return steps


_NULLS = {
    "fixed": "in the test set, whose predictions do not depend on them",
    "refitted": "under each of which everything was fitted again in every fold",
}
"""How p values came about, by the column ``null``."""


def _statistics(scores: Steps, headline: pd.Series) -> Steps:
    """Return how intervals and p values of *scores* came about; *headline* is one row of them."""
    has_ranks = {"retrieval", "identification"} & set(scores)
    found: Steps = {"statistics-values": {}} if "values" in scores else {"statistics": {
        "ranks": "; those of ranks are from order statistics" if has_ranks else "",
    }}
    n_null, how = float(headline.get("n_null", 0)), _NULLS.get(headline.get("null"))
    if how and n_null > 0:
        found["statistics-test"] = {"n_permutations": int(n_null), "how": how}
    return found


def _pools(size: float, n_draws: float) -> str:
    """Return among what each response or image was searched, as text."""
    if pd.isna(size):
        return "among all candidates"
    if pd.isna(n_draws) or n_draws <= 1:
        return f"among {size:,.0f} candidates"
    return f"among {size:,.0f} candidates in each of {n_draws:,.0f} pools"
