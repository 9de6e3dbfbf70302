"""Explanations of derivatives without an image that can be decoded, and how to get one."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from bids_decoder.bids.layouts import NIFTI
from bids_decoder.errors import ExitCode, Finding

_KINDS = (
    ("surface series (GIFTI, hemi-L and hemi-R)", re.compile(r"_hemi-[LR]_.*\.gii$")),
    ("boldref images", re.compile(r"_boldref\.nii(\.gz)?$")),
    ("transforms", re.compile(r"_xfm\.(txt|h5|json|mat)$")),
    ("BOLD images that are not preprocessed", re.compile(r"_bold\.nii(\.gz)?$")),
    ("beta series of another desc", re.compile(r"_betaseries\.nii(\.gz)?$")),
)
"""Kinds of functional files that may be present instead; the first that matches counts."""

_WANTED = {
    "fmriprep": "*_desc-preproc_bold.nii.gz", "betas": "*_desc-singletrial_betaseries.nii.gz",
}


def explain_no_images(place: Path, source: str) -> Finding:
    """Explain what a folder of derivatives holds instead of images that can be decoded.

    Parameters
    ----------
    place : Path
        Top folder of the derivatives, which hold no image of the wanted kind.
    source : {"fmriprep", "betas"}

    Returns
    -------
    Finding
    """
    found = _count_kinds(place)
    there = ", ".join(f"{count} {kind}" for kind, count in found.items())
    fix = _fix_fmriprep(found) if source == "fmriprep" else (
        "name them sub-<label>_task-<label>[_run-<label>]_desc-singletrial_betaseries.nii.gz, each "
        "with a table *_desc-singletrial_trials.tsv, or run 'participant --stage prepare' on BOLD"
    )
    return Finding(
        f"--derivatives {source}={place}", f"holds no {_WANTED[source]}; found: "
        f"{there or 'no functional file below sub-<label> folders'}", fix,
        ExitCode.MISSING_INPUT,
    )


def _count_kinds(place: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for folder in sorted(place.glob("sub-*")):
        for _, _, names in os.walk(folder):
            kinds = (_kind_of(name) for name in names if "_task-" in name)
            found.update(kind for kind in kinds if kind is not None)
    return found


def _kind_of(name: str) -> str | None:
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), None)


def _fix_fmriprep(found: Counter[str]) -> str:
    names = set(found)
    if any(name.startswith("surface") for name in names):
        return ("volumes, CIFTI series and GIFTI series of both hemispheres are decoded: run "
                "fMRIPrep again with --output-spaces T1w, a volumetric space, or fsaverage5, "
                "or with --cifti-output (and --level full)")
    if names & {"boldref images", "transforms"}:
        return ("this is the output of --level minimal: run fMRIPrep again with --level full and "
                "--output-spaces T1w or MNI152NLin2009cAsym; it goes on from these files with "
                "--derivatives minimal=PATH")
    return ("give the output folder of fMRIPrep, in which sub-<label>/[ses-<label>/]func/ holds "
            f"*_desc-preproc_bold{NIFTI[0]}; fMRIPrep writes it with --output-spaces T1w")
