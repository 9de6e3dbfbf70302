"""Registry of output names: folder, fixed entities, suffix and extension by key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ENTITY_ORDER = (
    "sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "fmapid", "echo", "part", "from", "to",
    "mode", "hemi", "space", "cohort", "res", "den", "label", "contrast", "stat", "desc",
)


@dataclass(frozen=True)
class OutputName:
    """Name of one kind of output file.

    Parameters
    ----------
    suffix, extension : str
    folder : str
        Datatype folder below ``sub-<label>[/ses-<label>]``; for group files the top folder.
    entities : dict
        Entities that never vary for this kind.
    """

    suffix: str
    extension: str
    folder: str
    entities: dict[str, str] = field(default_factory=dict)


def _name(folder: str, suffix: str, extension: str = ".nii.gz", **entities: str) -> OutputName:
    return OutputName(suffix, extension, folder, entities)


NAMES: dict[str, OutputName] = {
    "preproc_T1w": _name("anat", "T1w", desc="preproc"),
    "anat_mask": _name("anat", "mask", desc="brain"),
    "dseg": _name("anat", "dseg"),
    "probseg": _name("anat", "probseg"),
    "anat_xfm": _name("anat", "xfm", ".h5", mode="image"),
    "midthickness": _name("anat", "midthickness", ".surf.gii"),
    "preproc_bold": _name("func", "bold", desc="preproc"),
    "bold_mask": _name("func", "mask", desc="brain"),
    "boldref": _name("func", "boldref"),
    "t2star": _name("func", "T2starmap"),
    "s0": _name("func", "S0map"),
    "echo_weights": _name("func", "weights", desc="echoes"),
    "echo_mixing": _name("func", "mixing", ".tsv", desc="ICA"),
    "echo_metrics": _name("func", "metrics", ".tsv", desc="tedana"),
    "confounds": _name("func", "timeseries", ".tsv", desc="confounds"),
    "bold_xfm": _name("func", "xfm", ".txt", mode="image"),
    "fieldmap": _name("fmap", "fieldmap", desc="preproc"),
    "fieldmap_reference": _name("fmap", "fieldmap", desc="magnitude"),
    "shiftmap": _name("fmap", "shiftmap"),
    "distorted_boldref": _name("fmap", "boldref", desc="distorted"),
    "distortion_metrics": _name("fmap", "metrics", ".tsv", desc="distortion"),
    "betaseries": _name("func", "betaseries", desc="singletrial"),
    "trials": _name("func", "trials", ".tsv", desc="singletrial"),
    "glm_mask": _name("func", "mask", desc="singletrial"),
    "statmap": _name("func", "statmap"),
    "region_mask": _name("func", "mask", label="occipital"),
    "troi_mask": _name("func", "mask", label="TROI"),
    "troi_map": _name("func", "statmap", stat="troi"),
    "relevance_map": _name("func", "statmap", stat="relevance"),
    "predictions": _name("func", "predictions", ".tsv", desc="decoder"),
    "metrics": _name("func", "metrics", ".tsv", desc="decoder"),
    "nulls": _name("func", "metrics", ".tsv", desc="null"),
    "comparisons": _name("func", "comparisons", ".tsv", desc="decoder"),
    "learning": _name("func", "learning", ".tsv", desc="decoder"),
    "gallery": _name("func", "predictions", ".tsv", desc="gallery"),
    "gallery_metrics": _name("func", "metrics", ".tsv", desc="gallery"),
    "gallery_nulls": _name("func", "metrics", ".tsv", desc="gallerynull"),
    "gallery_sheet": _name("func", "sheet", ".png", desc="gallery"),
    "reconstruction": _name("reconstruction", "image", ".png", desc="reconstruction"),
    "reconstruction_sheet": _name("func", "sheet", ".png", desc="reconstruction"),
    "reconstruction_pictures": _name("func", "predictions", ".tsv", desc="reconstruction"),
    "reconstruction_error": _name("func", "errormap", ".tsv", desc="reconstruction"),
    "reconstruction_metrics": _name("func", "metrics", ".tsv", desc="reconstruction"),
    "decoder_model": _name("model", "model", ".safetensors", desc="decoder"),
    "painter_model": _name("model", "model", ".safetensors", desc="painter"),
    "encoder_metrics": _name("func", "metrics", ".tsv", desc="encoder"),
    "encoder_nulls": _name("func", "metrics", ".tsv", desc="encodernull"),
    "encoder_comparisons": _name("func", "comparisons", ".tsv", desc="encoder"),
    "encoder_predictions": _name("func", "predictions", ".tsv", desc="encoder"),
    "encoder_learning": _name("func", "learning", ".tsv", desc="encoder"),
    "encoder_mask": _name("func", "mask", desc="encoder"),
    "encoder_map": _name("func", "statmap", desc="encoder"),
    "encoder_map_mask": _name("func", "mask", desc="encoded"),
    "encoder_model": _name("model", "model", ".safetensors", desc="encoder"),
    "curve_metrics": _name("func", "metrics", ".tsv", desc="learningcurve"),
    "search_map": _name("func", "statmap", desc="searchlight"),
    "search_mask": _name("func", "mask", desc="searchlight"),
    "search_peaks": _name("func", "peaks", ".tsv", desc="searchlight"),
    "rsa_metrics": _name("func", "metrics", ".tsv", desc="rsa"),
    "rsa_nulls": _name("func", "metrics", ".tsv", desc="rsanull"),
    "rsa_distances": _name("func", "rdm", ".tsv", desc="rsa"),
    "rsa_model": _name("func", "rdm", ".tsv", desc="rsamodel"),
    "rsa_comparisons": _name("func", "comparisons", ".tsv", desc="rsa"),
    "rsa_region_metrics": _name("func", "metrics", ".tsv", desc="rsaregions"),
    "rsa_region_nulls": _name("func", "metrics", ".tsv", desc="rsaregionsnull"),
    "rsa_region_distances": _name("func", "rdm", ".tsv", desc="rsaregions"),
    "rsa_search_map": _name("func", "statmap", desc="rsasearch"),
    "rsa_search_mask": _name("func", "mask", desc="rsasearch"),
    "rsa_search_peaks": _name("func", "peaks", ".tsv", desc="rsasearch"),
    "figure_svg": _name("figures", "figure", ".svg"),
    "figure_png": _name("figures", "figure", ".png"),
    "group_figure_svg": _name("group/figures", "figure", ".svg"),
    "group_figure_png": _name("group/figures", "figure", ".png"),
    "pretrained_model": _name("group", "model", ".safetensors", desc="pretrained"),
    "pretrained_learning": _name("group", "learning", ".tsv", desc="pretrained"),
    "subjects_metrics": _name("group", "metrics", ".tsv", desc="subjects"),
    "subjects_predictions": _name("group", "predictions", ".tsv", desc="subjects"),
    "subjects_nulls": _name("group", "metrics", ".tsv", desc="null"),
    "subjects_roc": _name("group", "roc", ".tsv", desc="subjects"),
    "subjects_embedding": _name("group", "embedding", ".tsv", desc="subjects"),
    "subjects_map": _name("group", "statmap", stat="occlusion"),
    "subjects_mean": _name("group", "statmap", stat="mean"),
    "subjects_model": _name("group", "model", ".safetensors", desc="subjects"),
    "group_metrics": _name("group", "metrics", ".tsv", desc="group"),
    "group_rsa": _name("group", "metrics", ".tsv", desc="rsa"),
    "group_midthickness": _name("group", "midthickness", ".surf.gii"),
    "group_map": _name("group", "statmap", desc="group"),
}

_LABEL = re.compile(r"[0-9A-Za-z+]+")


def find_name(key: str | OutputName) -> OutputName:
    """Return the name behind a key of :data:`NAMES`; a name is returned as it is."""
    return key if isinstance(key, OutputName) else NAMES[key]


def derivative_path(output_dir: Path, key: str | OutputName, **entities: str | None) -> Path:
    """Build the path of one output.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    key : str or OutputName
        Key of :data:`NAMES`, or the name of an output that is not among them.
    **entities : str or None
        Values by short entity name (``sub``, ``ses``, ``task``, ``run``, ``space``, …; use
        ``from_`` for ``from``); None means absent.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        For entities that have no place in a name, or labels with other characters than
        letters, digits and ``+``.

    Examples
    --------
    >>> str(derivative_path(Path("out"), "bold_mask", sub="01", task="see", run="1"))
    'out/sub-01/func/sub-01_task-see_run-1_desc-brain_mask.nii.gz'
    """
    name = find_name(key)
    given = {k.rstrip("_"): v for k, v in entities.items() if v is not None}
    values = {**given, **name.entities}
    unknown = set(values) - set(ENTITY_ORDER)
    bad = [v for v in values.values() if not _LABEL.fullmatch(v)]
    if unknown or bad:
        raise ValueError(f"not usable in a BIDS name: {sorted(unknown)} {bad}")
    parts = [f"{entity}-{values[entity]}" for entity in ENTITY_ORDER if entity in values]
    folder = output_dir
    for level in ("sub", "ses"):
        if level in values:
            folder = folder / f"{level}-{values[level]}"
    return folder / name.folder / ("_".join([*parts, name.suffix]) + name.extension)


def sidecar_path(path: Path) -> Path:
    """Return the path of the JSON sidecar of an output file."""
    return path.with_name(path.name.split(".")[0] + ".json")


def parse_entities(path: Path | str) -> dict[str, str]:
    """Read the entities from a BIDS file name.

    Examples
    --------
    >>> parse_entities("sub-01_task-see_run-1_desc-brain_mask.nii.gz")
    {'sub': '01', 'task': 'see', 'run': '1', 'desc': 'brain'}
    """
    stem = (path if isinstance(path, Path) else Path(path)).name.split(".")[0]
    pairs = (part.split("-", 1) for part in stem.split("_") if "-" in part)
    return {key: value for key, value in pairs}


def resolution_entry(path: Path) -> dict[str, str]:
    """Return the entry that BIDS requires in the sidecar of an image whose name has ``res``.

    Examples
    --------
    >>> resolution_entry(Path("sub-01_space-MNI152NLin2009cAsym_res-2_boldref.nii.gz"))
    {'Resolution': 'MNI152NLin2009cAsym, TemplateFlow resolution 2'}
    >>> resolution_entry(Path("sub-01_boldref.nii.gz"))
    {}
    """
    entities = parse_entities(path)
    if "space" not in entities or "res" not in entities:
        return {}
    return {"Resolution": f"{entities['space']}, TemplateFlow resolution {entities['res']}"}


def unique_names(labels: list[str]) -> dict[str, str]:
    """Return a unique name of letters and digits for each label.

    Examples
    --------
    >>> unique_names(["face", "left hand", "left-hand"])
    {'face': 'face', 'left hand': 'lefthand', 'left-hand': 'lefthand2'}
    """
    names: dict[str, str] = {}
    for label in labels:
        plain = "".join(c for c in label if c.isascii() and c.isalnum()) or "label"
        number = sum(name.rstrip("0123456789") == plain for name in names.values())
        names[label] = plain if plain not in names.values() else f"{plain}{number + 1}"
    return names


def suffix_of(path: Path | str) -> str:
    """Return the suffix in a BIDS file name.

    Examples
    --------
    >>> suffix_of("sub-01_task-see_run-1_desc-brain_mask.nii.gz")
    'mask'
    """
    return (path if isinstance(path, Path) else Path(path)).name.split(".")[0].rpartition("_")[2]
