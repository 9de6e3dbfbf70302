"""What was really done, told by the files that it left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from bids_decoder.bids.names import parse_entities, sidecar_path
from bids_decoder.files import read_json
from bids_decoder.reports.results import Results, participants
from bids_decoder.reports.scores import compare, seen_participants
from bids_decoder.training.ablations import PREFIX

Steps = dict[str, dict[str, Any]]

_NOISE_MODELS = {"ols": "ordinary least squares", "ar1": "first-order autoregressive"}
_CONFOUNDS = {
    "motion": "six motion parameters",
    "motion24": "24 motion parameters",
    "acompcor": "anatomical CompCor",
    "none": "none",
}
_SPACES = {
    "func": "the functional space of each participant",
    "T1w": "the space of each participant's T1-weighted image",
}
_MAPS = {
    "rsquare": "explained variance",
    "reliability": "split-half reliability",
    "noiseceiling": "noise ceiling",
}


def collect_facts(output_dir: Path, labels: Iterable[str] | None = None) -> dict[str, Any]:
    """Find the steps that were run, with what their texts need to know.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    labels : iterable of str or None
        Participants to speak of; None means all.

    Returns
    -------
    dict
        ``{"steps": {step: {name: value}}}`` for
        :func:`bids_decoder.reports.boilerplate.render_methods`.
    """
    people = [
        Results(output_dir, p) for p in (participants(output_dir) if labels is None else labels)
    ]
    dataset = Results(output_dir)
    steps: Steps = {"overview": {"version": _version(dataset)}, "software": {}}
    for results in people:
        _merge(steps, _preprocessing(results) | _responses(results) | _decoding(results))
        _merge(steps, _encoding(results))
    steps |= _subjects(dataset)
    if any(results.files("trials") for results in people):
        steps |= _split(dataset)
    return {"steps": steps}


def _merge(steps: Steps, more: Steps) -> None:
    """Add the steps of one more person; numbers that differ between people become ranges."""
    for step, values in more.items():
        known = steps.setdefault(step, {})
        for name, value in values.items():
            known[name] = _range(known[name], value) if name in known else value


def _range(first: Any, second: Any) -> Any:
    if first == second or not isinstance(second, int):
        return second
    ends = (*(first if isinstance(first, tuple) else (first,)), second)
    return (min(ends), max(ends))


def _version(results: Results) -> str:
    return (
        str(results.runs[-1].record.get("version", ""))
        if results.runs
        else "(version not recorded)"
    )


def _preprocessing(results: Results) -> Steps:
    given = results.setting("execution", "derivatives", {})
    if "betas" in given:
        return {"inputs-betas": {}}
    if "fmriprep" in given:
        return {"inputs-fmriprep": {}}
    steps: Steps = {}
    if results.files("preproc_T1w"):
        steps["anatomical"] = {}
    spaces = {
        parse_entities(p)["to"]
        for p in results.files("anat_xfm", from_="T1w")
        if "to" in parse_entities(p)
    }
    if spaces:
        steps["normalisation"] = {"space": ", ".join(sorted(spaces))}
    runs = results.files("preproc_bold")
    if runs:
        steps |= {"motion": {}, "resampling": {}}
    if any(_sidecar(p).get("SliceTimingCorrected") for p in runs):
        steps["slice-timing"] = {
            "slice_time_ref": results.setting("preprocessing", "slice_time_ref", 0.5)
        }
    if any(parse_entities(p).get("to") == "T1w" for p in results.files("bold_xfm")):
        steps["coregistration"] = {}
    if results.files("confounds"):
        steps["confounds"] = {"fd_threshold": results.setting("preprocessing", "fd_threshold", 0.5)}
    return steps


def _sidecar(path: Path) -> dict[str, Any]:
    sidecar = sidecar_path(path)
    return read_json(sidecar) if sidecar.exists() else {}


def _responses(results: Results) -> Steps:
    steps: Steps = {}
    given = "betas" in results.setting("execution", "derivatives", {})
    own = [] if given else results.files("betaseries")
    glm = results.settings.get("glm", {})
    if own and glm:
        steps[f"glm-{glm['estimator']}"] = {}
        steps["glm-space"] = {"space": _space_in_words(own[0])}
        steps["glm-model"] = {
            "hrf": glm["hrf"],
            "high_pass_s": f"{1 / glm['high_pass']:.0f}",
            "confounds": _CONFOUNDS[glm["confounds"]],
            "noise_model": _NOISE_MODELS[glm["noise_model"]],
        }
    if (results.files("decoder_model") or results.files("encoder_model")) and glm:
        steps["normalise"] = {"normalise": glm["normalise"]}
    maps = [words for stat, words in _MAPS.items() if results.files("statmap", stat=stat)]
    if maps:
        steps["quality"] = {"maps": ", ".join(maps)}
    if any("_contrast-" in p.name for p in results.files("statmap", stat="z")):
        steps["contrasts"] = {}
    return steps


def _space_in_words(path: Path) -> str:
    """Say where the responses in a file are."""
    entities = parse_entities(path)
    space = entities.get("space", "func")
    res = f", TemplateFlow resolution {entities['res']}" if "res" in entities else ""
    return _SPACES.get(space, f"the space {space}{res}")


def _split(dataset: Results) -> Steps:
    plan = dataset.plan
    split = plan.get("split", {})
    steps: Steps = {}
    if split.get("kind"):
        steps[f"split-{split['kind']}"] = {"n_test_stimuli": len(split.get("test_stimuli", []))}
    if plan.get("target_kind"):
        encoder = dataset.setting("trials", "image_encoder", "not recorded")
        steps[f"targets-{plan['target_kind']}"] = {"encoder": encoder}
    return steps


def _decoding(results: Results) -> Steps:
    card = results.card("decoder_model")
    if not card:
        return {}
    asked = card.get("from_scratch", "--from-scratch") == "--from-scratch"
    why = "as was asked for" if asked else "since there was no pretrained model"
    steps: Steps = {"scratch": {"why": why}}
    seen = seen_participants(card)
    if "volumes" in card:
        variant = f"-{card['volumes']['variant']}" if card["decoder"] == "deeplight" else ""
        steps = {"transfer": {"n_participants": len(seen)}} if seen else steps
        name = f"decoder-{card['decoder']}{variant}"
        return {name: {}} | steps | _evaluation(results, card)
    if seen:
        loss = "prototypes" if card.get("target_kind") == "category" else "contrastive"
        steps = {"pretraining": {"n_participants": len(seen)}, f"pretraining-{loss}": {}}
    return steps | _selection(results) | _evaluation(results, card) | _pictures(results, card)


def _pictures(results: Results, card: dict[str, Any]) -> Steps:
    steps: Steps = {"prior-diffusion": {}} if "prior" in card else {}
    gallery, scores = results.table("gallery"), results.table("reconstruction_metrics")
    if gallery is not None:
        steps["gallery"] = {"pool_size": int(float(gallery["pool_size"].iloc[0]))}
    if scores is not None:
        method = results.card("reconstruction_metrics").get("Method")
        if method in ("ridge", "unclip"):
            steps[f"reconstruction-{method}"] = {}
        steps["reconstruction-metrics"] = {"n": int(float(scores["n"].iloc[0]))}
    return steps


def _encoding(results: Results) -> Steps:
    card = results.card("encoder_model")
    if not card:
        return {}
    source = card["features"]
    facts = {
        **results.settings.get("encoding", {}),
        "features": "a table" if source == "table" else f"image encoder “{source}”",
    }
    steps: Steps = {f"encoder-{name}": facts for name in (card["encoder"], *card["beside"])}
    steps["encoding-accuracy"] = {"n_voxels": card["n_voxels"]}
    mask = results.card("encoder_mask")
    if mask.get("n_candidates", 0) > card["n_voxels"]:
        steps["encoding-screening"] = {"n_candidates": mask["n_candidates"]}
    repeats = {"test": "held-out", "train": "training"}.get(str(card["ceiling_from"]))
    if repeats:
        steps["encoding-ceiling"] = {"ceiling_from": repeats}
    if card["beside"]:
        steps["encoding-comparisons"] = {}
    return steps


def _subjects(dataset: Results) -> Steps:
    card = dataset.card("subjects_metrics")
    table = dataset.table("subjects_metrics")
    if not card or table is None:
        return {}
    return {"decoder-subjects": {
        "n_people": int(table["n"].iloc[0]), "n_repeats": card["n_repeats"],
        "n_splits": card["n_splits"],
    }}


def _selection(results: Results) -> Steps:
    masks = results.files("troi_mask")
    troi = results.settings.get("troi", {})
    if not masks or not troi:
        return {}
    steps: Steps = {f"select-{troi['selector'].removesuffix('-budget')}": {}}
    space = results.card("decoder_model").get("group_prior")
    if space:
        resampled = results.card("decoder_model").get("group_prior_resampled")
        steps["group-prior"] = {
            "space": space, "grids": "resampled to the grid of the participant (trilinear)"
            if resampled else "on the same grid",
        }
    mask = _sidecar(masks[0])
    if "n_voxels" in mask:
        steps["select-budget"] = {"n_voxels": mask["n_voxels"]}
    if troi["stage2"] == "none":
        steps["stage2-trunk-frozen"] = {}
    else:
        steps |= {f"stage2-{troi['stage2']}": {}, f"stage2-trunk-{troi['stage2_trunk']}": {}}
    if "n_seeds" in mask:
        steps["seeds"] = {"n_seeds": mask["n_seeds"]}
    return steps


def _evaluation(results: Results, card: dict[str, Any]) -> Steps:
    metrics = results.table("metrics")
    comparisons = compare(metrics, card)
    if metrics is None or not comparisons:
        return {}
    steps: Steps = {}
    evaluation = results.settings.get("evaluation", {})
    retrieval = [c for c in comparisons if c.direction in ("b2i", "i2b")]
    if retrieval:
        row = retrieval[0].own
        steps["retrieval"] = {
            "pool_size": _number(row["pool_size"]),
            "n_draws": _number(row["n_draws"]),
        }
    if any(c.own["similarity"] == "csls" for c in comparisons):
        steps["retrieval-csls"] = {}
    if any(c.metric == "balanced_accuracy" for c in comparisons):
        steps["classification"] = {}
    others = sorted(
        set(metrics.get("model", pd.Series(dtype=object)).dropna()) - {comparisons[0].model}
    )
    others = [name for name in others if not name.startswith(PREFIX)]
    if others:
        steps["baselines"] = {"models": ", ".join(others)}
    if "n_permutations" in evaluation:
        steps["statistics"] = evaluation
    return steps


def _number(value: float) -> str:
    return "all" if pd.isna(value) else f"{value:.0f}"
