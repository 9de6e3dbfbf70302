"""Methods texts of preparation."""

from __future__ import annotations

from pathlib import Path

from bids_decoder.analyses.base import Steps
from bids_decoder.bids.names import OutputName, parse_entities
from bids_decoder.glm.reliability import REPEATED
from bids_decoder.regressors import split_wanted
from bids_decoder.reports.results import Results, participants, run_name, sidecar_of
from bids_decoder.workflows.fieldmap_choice import IN_WORDS

TEXTS = {
    "Preprocessing": (
        "inputs-fmriprep",
        "inputs-betas",
        "inputs-released",
        "anatomical",
        "normalisation",
        "motion",
        "slice-timing",
        "distortion-pair",
        "distortion-phases",
        "distortion-direct",
        "distortion-t1w",
        "distortion-use",
        "coregistration",
        "resampling",
        "echoes",
        "tedana",
        "confounds",
    ),
    "Single-trial responses": (
        "glm-ridge",
        "glm-lss",
        "glm-lsa",
        "glm-glmsingle",
        "glm-volume",
        "glm-space",
        "glm-model",
        "normalise",
        "quality",
        "quality-repeats",
        "contrasts",
    ),
    "Training and test": (
        "split-stimuli",
        "split-runs",
        "split-heldout-runs",
        "split-stimulus-folds",
    ),
    "Decoding": (
        "targets-image",
        "targets-features",
        "targets-words",
        "targets-category",
        "targets-value",
    ),
}
"""Names of methods texts in ``boilerplate``, by heading."""
_NOISE_MODELS = {"ols": "ordinary least squares", "ar1": "first-order autoregressive"}
_CONFOUNDS = {
    "motion": "six motion parameters",
    "motion24": "24 motion parameters",
    "acompcor": "six motion parameters and five components of anatomical CompCor",
    "simple": "24 motion parameters and the mean signals of CSF and white matter",
    "scrubbing": "24 motion parameters, the mean signals of CSF and white matter with their "
    "derivatives and squares, and one regressor for each volume with motion and each in a segment "
    "of fewer than five volumes between them",
    "compcor": "24 motion parameters and all retained components of anatomical CompCor",
    "ica_aroma": "the mean signals of CSF and white matter and the components of ICA-AROMA that "
    "are motion",
    "none": "none",
}
_SPACES = {
    "func": "the functional space of each participant",
    "T1w": "the space of each participant's T1-weighted image",
}
_DISTORTION = {
    IN_WORDS["pair"]: "distortion-pair", IN_WORDS["phasediff"]: "distortion-phases",
    IN_WORDS["phases"]: "distortion-phases", IN_WORDS["direct"]: "distortion-direct",
    IN_WORDS["t1w"]: "distortion-t1w",
}
_MAPS = {
    "rsquare": "explained variance",
    "reliability": "split-half reliability",
    "noiseceiling": "noise ceiling",
}


def steps(results: Results) -> Steps:
    """Return the methods steps of preparing the data of a participant."""
    return _preprocessing(results) | _echoes(results) | _responses(results)


def group_steps(results: Results) -> Steps:
    """Return the methods steps of split and targets, as far as something was fitted to them."""
    people = [Results(results.output_dir, label) for label in participants(results.output_dir)]
    made = {desc for person in people for desc in _scored(person)}
    steps = _split(results) if made else {}
    return steps | _targets(results) if made - set(_WITHOUT_TARGETS) else steps


_SCORES = OutputName("metrics", ".tsv", "func")
_WITHOUT_TARGETS = ("encoder", "rsa", "rsaregions")
"""Values of ``desc`` of scores of what decodes nothing."""


def _scored(person: Results) -> set[str]:
    """Return what models were fitted and scored, as values of ``desc``."""
    scores = {parse_entities(path).get("desc", "") for path in person.files(_SCORES)}
    models = {"decoder": "decoder_model", "searchlight": "search_map"}
    found = {desc for desc, name in models.items() if person.files(name) or person.card(name)}
    prepared = {"tedana", "distortion"}
    return found | {desc for desc in scores if not desc.endswith("null")} - prepared


def _preprocessing(results: Results) -> Steps:
    given = results.setting("execution", "derivatives", {})
    if (layout := _layout(results)) is not None:
        return {"inputs-released": {"layout": layout}}
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
        steps |= {
            "motion": {"reference": _reference(results), "runs": _run_alignment(runs)},
            "resampling": {},
        }
    if any(sidecar_of(p).get("SliceTimingCorrected") for p in runs):
        steps["slice-timing"] = {
            "slice_time_ref": results.setting("preprocessing", "slice_time_ref", 0.5)
        }
    steps |= _distortion(results)
    if any(parse_entities(p).get("to") == "T1w" for p in results.files("bold_xfm")):
        steps["coregistration"] = {}
    if results.files("confounds"):
        steps["confounds"] = {
            name: results.setting("preprocessing", name, usual)
            for name, usual in (("fd_threshold", 0.5), ("dvars_threshold", 1.5))
        }
    return steps


def _echoes(results: Results) -> Steps:
    maps = results.files("t2star")
    if not maps:
        return {}
    times = sidecar_of(maps[0])["EchoTimes"]
    in_ms = ", ".join(f"{1000 * time:g}" for time in times)
    steps: Steps = {"echoes": {"n_echoes": len(times), "echo_times": in_ms}}
    return steps | {"tedana": {}} if results.files("echo_metrics") else steps


def _reference(results: Results) -> str:
    """Return what the reference of each BOLD run was, as text."""
    sources = [sidecar_of(path).get("Sources", []) for path in results.files("boldref")]
    given = [any("_sbref." in name for name in own) for own in sources]
    median = "the median of aligned volumes"
    if not any(given):
        return median
    return "the single-band reference image" + ("" if all(given) else f", or else {median},")


def _run_alignment(runs: list[Path]) -> str:
    if len({run_name(path) for path in runs}) < 2:
        return ""
    return " References of runs were aligned rigidly to that of the first run."


def _distortion(results: Results) -> Steps:
    methods = {sidecar_of(path).get("Method") for path in results.files("shiftmap")}
    steps: Steps = {text: {} for method, text in _DISTORTION.items() if method in methods}
    return steps | {"distortion-use": {}} if steps else steps


def _responses(results: Results) -> Steps:
    steps: Steps = {}
    given = "betas" in results.setting("execution", "derivatives", {})
    given = given or _layout(results) is not None
    own = [] if given else results.files("betaseries")
    glm = results.settings.get("glm", {})
    if own and glm:
        steps[f"glm-{glm['estimator']}"] = {}
        steps["glm-space"] = {"space": _space_in_words(own[0])}
        steps["glm-model"] = {
            "hrf": glm["hrf"],
            "high_pass_s": f"{1 / glm['high_pass']:.0f}",
            "confounds": _confounds_in_words(glm["confounds"]),
            "noise_model": _NOISE_MODELS[glm["noise_model"]],
        }
    if (results.files("decoder_model") or results.files("encoder_model")) and glm:
        steps["normalise"] = {"normalise": glm["normalise"]}
    steps |= _quality(results)
    if any("_contrast-" in p.name for p in results.files("statmap", stat="z")):
        steps["contrasts"] = {}
    return steps


def _quality(results: Results) -> Steps:
    maps = {
        words: found[0] for stat, words in _MAPS.items()
        if (found := results.files("statmap", stat=stat))
    }
    steps: Steps = {"quality": {"maps": ", ".join(maps)}} if maps else {}
    repeats = [path for words, path in maps.items() if words != _MAPS["rsquare"]]
    if repeats:
        of_labels = REPEATED.format("labels") in sidecar_of(repeats[0]).get("Notes", [])
        steps["quality-repeats"] = {"unit": "label" if of_labels else "stimulus"}
    return steps


def _confounds_in_words(confounds: list[str]) -> str:
    """Name the noise regressors; patterns of columns are quoted."""
    columns, folders = split_wanted(confounds)
    words = [_CONFOUNDS.get(name, f"columns “{name}” of the table of confounds")
             for name in columns]
    return "; ".join([*words, *(["own regressors"] if folders else [])]) or "none"


def _layout(results: Results) -> str | None:
    """Return the layout of released responses from which beta series were written, if any."""
    written = results.files("betaseries")
    return sidecar_of(written[0]).get("Layout") if written else None


def _space_in_words(path: Path) -> str:
    """Return the space of the responses in a file, as text."""
    entities = parse_entities(path)
    space = entities.get("space", "func")
    res = f", TemplateFlow resolution {entities['res']}" if "res" in entities else ""
    return _SPACES.get(space, f"the space {space}{res}")


def _split(dataset: Results) -> Steps:
    split = dataset.plan.get("split", {})
    if not split.get("kind"):
        return {}
    folds = split.get("stimulus_folds", [])
    n_tested = sum(map(len, [split.get("test_stimuli", []), *folds]))
    return {f"split-{split['kind']}": {"n_test_stimuli": n_tested, "n_folds": len(folds)}}


def _targets(dataset: Results) -> Steps:
    plan = dataset.plan
    if not plan.get("target_kind") or plan.get("split", {}).get("kind") == "new":
        return {}
    words = plan.get("text_encoder")
    if words:
        return {"targets-words": {
            "text_encoder": words["name"], "digest": words["sha256"][:16],
        }}
    encoder = plan.get("image_encoder", "not recorded")
    columns = ", ".join(plan.get("value_columns", []))
    return {f"targets-{plan['target_kind']}": {"encoder": encoder, "columns": columns}}
