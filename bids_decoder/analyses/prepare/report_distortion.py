"""Part of the report on susceptibility distortion: fields, before and after, agreement with T1w."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_decoder.bids.names import parse_entities
from bids_decoder.reports.blocks import Block, Figure, Table, absent
from bids_decoder.reports.drawing import COLUMNS, draw_contours, draw_map
from bids_decoder.reports.figures import Picture, picture
from bids_decoder.reports.geometry import (
    Underlay,
    bold_to_t1w,
    bright_voxels,
    choose_slices,
    cut,
    load,
)
from bids_decoder.reports.results import Results, run_name, sidecar_of

_MOST_RUNS = 2


def distortion_blocks(results: Results) -> list[Block]:
    """Return what was corrected in each run, pictures, and the agreement with the T1w image."""
    paths = results.files("shiftmap")
    if not paths:
        if not results.files("preproc_bold"):
            return []
        why = (
            "the runs had no usable field map, or it was left out (--ignore fieldmaps); warnings "
            "of the plan say which."
        )
        return [absent("Susceptibility distortion", f"it was not corrected: {why}")]
    rows = [_row(path) for path in paths]
    header = ["run", "from", "direction", "median shift (mm)", "largest shift (mm)"]
    blocks: list[Block] = [
        Table(header, rows, "Correction of susceptibility distortion. Shifts are along the "
              "phase-encoding direction, in the brain; largest: 99th percentile",
              frozenset(header[3:])),
    ]
    for number, path in enumerate(paths[:_MOST_RUNS], start=1):
        blocks += [Figure(drawn) for drawn in _pictures(results, path, number)]
    return [*blocks, *_boundary(results)]


def _row(path: Path) -> list[str]:
    own = sidecar_of(path)
    moves = [own.get(key) for key in ("MedianShiftMM", "LargestShiftMM")]
    return [
        run_name(path), str(own.get("Method", "n/a")),
        str(own.get("PhaseEncodingDirection", "n/a")),
        *("n/a" if value is None else f"{value:.1f}" for value in moves),
    ]


def _pictures(results: Results, path: Path, number: int) -> list[Picture]:
    """Draw the shifts of a run on its corrected reference, and both references with a contour."""
    wanted = parse_entities(path)
    before, after = (
        next((p for p in results.files(key) if _is_of(p, wanted)), None)
        for key in ("distorted_boldref", "boldref")
    )
    if before is None or after is None:
        return []
    corrected, shifts = load(after), load(path)
    bright = bright_voxels(corrected)
    under = Underlay(corrected, np.eye(4), "the corrected BOLD reference")
    numbers = choose_slices(bright > 0, COLUMNS)
    outline = _outline(results, corrected, bright)
    images = (load(before), corrected)
    rows = [cut(corrected, numbers, Underlay(image, np.eye(4), "")) for image in images]
    name = run_name(path)
    limit = float(np.percentile(np.abs(np.asarray(shifts.dataobj)), 99.5)) or 1.0
    return [
        picture(
            draw_contours(*rows, cut(corrected, numbers, outline), ("Before", "After")),
            f"distortion{number}",
            f"BOLD reference of {name} before (top) and after (bottom) correction; the line in "
            "both is the edge of the brain after correction, of the T1w image where there is one.",
            "Slices of the BOLD reference before and after correction with a common contour.",
            "png",
        ),
        picture(
            draw_map(cut(shifts, choose_slices(bright > 0, 2 * COLUMNS), under), limit,
                     signed=True),
            f"shiftmap{number}",
            f"Shift of signal in {name} along its phase-encoding axis (voxels), on "
            f"{under.label}.",
            "Slices coloured by the displacement of signal.", "png",
        ),
    ]


def _is_of(path: Path, wanted: dict[str, str]) -> bool:
    own = parse_entities(path)
    own.pop("desc", None)
    return own == wanted


def _outline(results: Results, corrected: nib.Nifti1Image, bright: np.ndarray) -> Underlay:
    matrix, masks = bold_to_t1w(results), results.files("anat_mask")
    if masks and matrix is not None:
        return Underlay(load(masks[0]), matrix, "")
    return Underlay(nib.Nifti1Image(bright, corrected.affine), np.eye(4), "")


def _number(cell: Any, scale: float, digits: int) -> str:
    # No point of the boundary is inside the field of view of a slab, for instance.
    value = float("nan") if cell is None else scale * float(cell)
    return f"{value:.{digits}f}" if np.isfinite(value) else "n/a"


def _boundary(results: Results) -> list[Block]:
    table = results.table("distortion_metrics")
    if table is None:
        return []
    rows = [
        [str(row["image"]), _number(row["contrast"], 1.0, 2), _number(row["share"], 100.0, 1),
         str(row["n_points"])]
        for _, row in table.iterrows()
    ]
    header = ["image", "contrast (%)", "points with brighter grey matter (%)", "points"]
    return [Table(
        header, rows, "Agreement of the first run with the grey-white boundary of the T1w image, "
        "each aligned on its own: larger is better", frozenset(header[1:]),
    )]
