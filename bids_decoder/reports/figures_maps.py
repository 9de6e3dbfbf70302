"""Figures of the brain: masks, maps and contours on slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.bids.names import parse_entities, sidecar_path
from bids_decoder.bids.surfaces import hemisphere_names
from bids_decoder.errors import BidsDecoderError
from bids_decoder.files import read_json
from bids_decoder.preprocessing.templates import OutputSpace, load_template
from bids_decoder.reports.drawing import COLUMNS, draw_contours, draw_map, draw_mask
from bids_decoder.reports.figures import Picture, picture
from bids_decoder.reports.geometry import (
    NATIVE,
    Underlay,
    bold_to_t1w,
    boldrefs,
    bright_voxels,
    choose_slices,
    cut,
    has_geometry,
    load,
    name_underlay,
    t1w_in,
    underlay_for,
)
from bids_decoder.reports.packed import Look
from bids_decoder.reports.results import Results, run_name
from bids_decoder.reports.surfaces import row_pictures
from bids_decoder.reports.template_surfaces import with_surface
from bids_decoder.reports.volumes import map_volume

_FAINT = 0.02
"""Fraction of the largest value below which an unsigned map is not drawn."""


_Z = 3.1
"""Threshold of z maps."""

_MAX_LABELS = 12
"""Patterns of more labels are not drawn; the image has them all."""


def troi_pictures(results: Results) -> list[Picture]:
    """Draw each TROI mask, and each continuous TROI map, on its underlay.

    Parameters
    ----------
    results : Results
        Of one participant.

    Returns
    -------
    list of Picture
        Empty when there is nothing to draw; see :func:`why_no_map` for the reason.
    """
    pictures = []
    for number, path in enumerate(results.files("troi_mask"), start=1):
        image = load(path)
        mask = np.asanyarray(image.dataobj) > 0
        if not has_geometry(image):
            pictures += row_pictures(
                path, f"troimask{number}",
                f"TROI: the {mask.sum():,} vertices that the decoder selected", signed=False,
            )
        if not has_geometry(image) or not mask.any():
            continue
        under = underlay_for(path, results)
        slices = cut(image, choose_slices(mask, 2 * COLUMNS), under)
        drawn = picture(
            draw_mask(slices),
            f"troimask{number}",
            f"TROI: the {mask.sum():,} voxels that the decoder selected, on "
            f"{name_underlay(under)}.",
            f"Slices through the brain with {mask.sum()} selected voxels coloured.",
            "png",
        )
        look = Look("Voxels that the decoder selected", "mask")
        pictures.append(replace(drawn, volume=map_volume(path, results, image, under, look)))
    for number, path in enumerate(results.files("troi_map"), start=1):
        pictures += map_picture(
            path,
            results,
            f"troimap{number}",
            "Importance of voxels in stage 1 of TROI",
            signed=False,
        )
    return pictures


def pattern_pictures(results: Results) -> list[Picture]:
    """Draw the maps that explain the decoder: activation patterns first, then weights."""
    pictures, of_labels = [], []
    for number, path in enumerate(results.files("statmap", label="TROI"), start=1):
        name, title = f"troistat{number}", describe(path)
        labels = read_json(sidecar_path(path)).get("Labels")
        if labels is None:
            pictures += map_picture(path, results, name, title, signed=False)
            continue
        for volume, label in enumerate(labels[:_MAX_LABELS]):
            of_labels += map_picture(
                path, results, f"{name}label{volume + 1}", f"Activation pattern of {label}",
                signed=True, volume=volume,
            )
    return [*with_surface(pictures), *of_labels] if pictures else with_surface(of_labels)


def encoder_pictures(results: Results) -> list[Picture]:
    """Draw the maps of the chosen encoder, then the accuracy maps of the others."""
    chosen = str(results.card("encoder_model").get("encoder")).replace("-", "")
    paths = results.files("encoder_map")
    own = [path for path in paths if parse_entities(path)["label"] == chosen]
    others = [path for path in paths if path not in own]
    pictures = []
    for number, path in enumerate([*own, *others], start=1):
        signed = parse_entities(path)["stat"] in ("correlation", "score", "normalised")
        pictures += map_picture(
            path, results, f"encodermap{number}", describe(path), signed=signed
        )
    return with_surface(pictures)


def relevance_pictures(results: Results) -> list[Picture]:
    """Draw the 5 % of voxels with the largest values in the relevance map of each label."""
    pictures = []
    for number, path in enumerate(results.files("relevance_map"), start=1):
        data = np.asanyarray(load(path).dataobj, dtype=np.float32)
        inside = np.abs(data[data != 0])
        threshold = float(np.percentile(inside, 95)) if inside.size else 0.0
        pictures += map_picture(
            path, results, f"relevance{number}",
            f"{describe(path)}; the 5 % of voxels with the largest values",
            signed=True, threshold=threshold,
        )
    return with_surface(pictures)


def describe(path: Path) -> str:
    """Return the description in the sidecar of a map, else the value of ``stat-``."""
    sidecar = sidecar_path(path)
    text = read_json(sidecar).get("Description") if sidecar.exists() else None
    return (text or parse_entities(path).get("stat", path.name)).rstrip(".")


def contrast_pictures(results: Results) -> list[Picture]:
    """Draw each z map of a contrast, thresholded at ``|z| > 3.1``."""
    pictures = []
    for number, path in enumerate(contrast_maps(results), start=1):
        title = f"Contrast {contrast_title(path)}, |z| > {_Z:g} (uncorrected)"
        pictures += map_picture(
            path,
            results,
            f"contrast{number}",
            title,
            signed=True,
            threshold=_Z,
        )
    return with_surface(pictures)


def contrast_maps(results: Results) -> list[Path]:
    """Find the z maps of contrasts."""
    return [p for p in results.files("statmap", stat="z") if "_contrast-" in p.name]


def contrast_title(path: Path) -> str:
    """Return the title of a contrast.

    Examples
    --------
    >>> contrast_title(Path("sub-1_contrast-faceMinushouse_stat-z_statmap.nii.gz"))
    'face − house'
    """
    name = path.name.split("_contrast-")[1].split("_")[0]
    return name.replace("Minus", " − ")


def registration_picture(results: Results) -> Picture | None:
    """Draw the BOLD reference and the T1w image on the same slices with the same contours.

    Returns
    -------
    Picture or None
        None when a boldref, a T1w image or a transform is absent, or when the BOLD
        grid has no geometry.
    """
    references = boldrefs(results, NATIVE)
    matrix = bold_to_t1w(results)
    anatomy = t1w_in(results)
    if not references or matrix is None or anatomy is None:
        return None
    bold = load(references[0])
    if not has_geometry(bold):
        return None
    t1w = Underlay(load(anatomy), matrix, "the T1w image")
    outline, what = _outline_source(results, bold)
    numbers = choose_slices(bright_voxels(bold) > 0, COLUMNS)
    rows = [
        cut(bold, numbers, Underlay(bold, np.eye(4), "the BOLD reference")),
        cut(bold, numbers, t1w),
        cut(bold, numbers, outline),
    ]
    figure = draw_contours(*rows, ("BOLD", "T1w"))
    return picture(
        figure,
        "registration",
        f"BOLD reference of {run_name(references[0])} (top) and the T1w image brought to its grid "
        "(bottom); "
        f"the line in both is the edge of {what}. Edges of the brain and the ventricles should "
        "coincide.",
        "Slices of BOLD and T1w with a common contour.",
        "png",
    )


def normalisation_pictures(results: Results) -> list[Picture]:
    """Draw the T1w image in each template space above the template, with the template's edge.

    Templates that are not installed are omitted.
    """
    pictures = []
    for path in results.files("preproc_T1w"):
        entities = parse_entities(path)
        if not {"space", "res"} <= set(entities):
            continue
        space = OutputSpace(entities["space"], int(entities["res"]))
        try:
            template = load_template(space)
        except BidsDecoderError:
            continue
        brain, mask = (
            nib.as_closest_canonical(nib.Nifti1Image(data.astype(np.float32), template.affine))
            for data in (template.volume, template.mask)
        )
        numbers = choose_slices(np.asarray(mask.dataobj) > 0, COLUMNS)
        rows = [
            cut(mask, numbers, Underlay(image, np.eye(4), ""))
            for image in (load(path), brain, mask)
        ]
        pictures.append(picture(
            draw_contours(*rows, ("T1w", "Template")),
            f"normalisation{len(pictures) + 1}",
            f"T1w image in the space {space} (top) and the template (bottom); the line in both is "
            "the edge of the template's brain. Outlines, ventricles and large folds should agree.",
            "Slices of the T1w image and the template with a common contour.",
            "png",
        ))
    return pictures


def _outline_source(results: Results, bold: nib.Nifti1Image) -> tuple[Underlay, str]:
    matrix = bold_to_t1w(results)
    masks = results.files("anat_mask")
    if masks and matrix is not None:
        return Underlay(load(masks[0]), matrix, ""), "the brain mask of the T1w image"
    masks = results.files("bold_mask") + results.files("glm_mask")
    if masks:
        return Underlay(load(masks[0]), np.eye(4), ""), "the brain mask of the BOLD run"
    bright = nib.Nifti1Image(bright_voxels(bold), bold.affine)
    return Underlay(bright, np.eye(4), ""), "the bright part of the BOLD reference"


def map_picture(
    path: Path,
    results: Results,
    name: str,
    title: str,
    *,
    signed: bool,
    threshold: float = 0.0,
    volume: int = 0,
) -> list[Picture]:
    """Draw one map on its underlay.

    Parameters
    ----------
    path : Path
    results : Results
        Of the participant whose images are the underlay.
    name, title : str
        Of the picture.
    signed : bool
        Two-sided scale, otherwise from 0.
    threshold : float
        Smaller absolute values are not drawn.
    volume : int
        Number of the volume in the file.

    Returns
    -------
    list of Picture
        One, or none where the map is empty or its voxels have no known positions.
    """
    image = load(path, volume)
    data = np.asanyarray(image.dataobj, dtype=np.float32)
    data = np.nan_to_num(data, posinf=0.0, neginf=0.0)
    # Values near zero over the whole brain would hide the anatomy.
    faint = 0.0 if signed else _FAINT * float(data.max(initial=0))
    shown = np.abs(data) > max(threshold, faint)
    if not has_geometry(image):
        return row_pictures(
            path, name, title, signed=signed, threshold=max(threshold, faint), volume=volume
        )
    if not np.any(data):
        return []
    where = shown if shown.any() else data != 0
    under = underlay_for(path, results)
    clean = nib.Nifti1Image(np.where(shown, data, np.nan).astype(np.float32), image.affine)
    slices = cut(clean, choose_slices(where, 2 * COLUMNS), under)
    limit = float(np.percentile(np.abs(data[where]), 99.5))
    none = "" if shown.any() else " No voxel passes."
    drawn = picture(
        draw_map(slices, limit, signed=signed),
        name,
        f"{title}, on {name_underlay(under)}.{none}{_veil(signed)}",
        f"{title}: {int(shown.sum())} voxels coloured on slices.",
        "png",
    )
    look = Look(title, "signed" if signed else "positive", limit, max(threshold, faint))
    return [replace(drawn, volume=map_volume(path, results, image, under, look))]


def part_picture(
    path: Path, results: Results, name: str, title: str, parts: tuple[np.ndarray, np.ndarray]
) -> list[Picture]:
    """Draw some voxels of a map, coloured by values of their own.

    Parameters
    ----------
    path : Path
        The map, for its grid and its underlay.
    results : Results
    name, title : str
        Of the picture.
    parts : tuple of ndarray, each of shape (i, j, k)
        Values from 0 on in the order of :func:`~.geometry.load`, and which of them are shown. On
        surfaces, zeros are not drawn.

    Returns
    -------
    list of Picture
        One, or none where nothing is shown.
    """
    values, shown = parts
    if not shown.any():
        return []
    visible, grid = np.where(shown, values, np.nan).astype(np.float32), load(path)
    if not has_geometry(grid):
        return row_pictures(path, name, title, signed=False, values=visible)
    under, image = underlay_for(path, results), nib.Nifti1Image(visible, grid.affine)
    slices = cut(image, choose_slices(shown, 2 * COLUMNS), under)
    limit = float(values[shown].max())
    drawn = picture(
        draw_map(slices, limit, signed=False), name, f"{title}, on {name_underlay(under)}.",
        f"{title}: {int(shown.sum())} voxels coloured on slices.", "png",
    )
    look = Look(title, "positive", limit)
    return [replace(drawn, volume=map_volume(path, results, image, under, look))]


def _veil(signed: bool) -> str:
    return "" if signed else f" Values below {100 * _FAINT:.0f} % of the largest are left out."


def why_no_map(results: Results) -> str:
    """Return why there is no picture of the TROI: no mask, an empty one, or no positions."""
    paths = results.files("troi_mask")
    if not paths:
        return "No TROI mask was written for this participant."
    image = load(paths[0])
    if not np.any(image.dataobj):
        return "The TROI mask is empty."
    if all(side.is_file() for side in hemisphere_names(paths[0])):
        return (
            "The surfaces of the hemispheres (midthickness) are not among the outputs of this "
            "participant, so the mask cannot be drawn on them."
        )
    return (
        f"The image grid ({' × '.join(map(str, image.shape[:3]))}) is only a container: the "
        "positions of the voxels are not known, so the mask cannot be drawn on a brain."
    )
