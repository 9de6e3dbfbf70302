"""Samples of the functional derivatives that versions of fMRIPrep and NiBabies write.

Names, sidecars and columns are those in ``docs/outputs.rst`` and ``.circleci/*_outputs.txt`` of
each release, and in the changelog: since 21.0 ``hemi`` comes before ``space``, and aCompCor of one
tissue has names of its own; 23.1 ended ICA-AROMA; 23.2 added references, transforms and
preprocessed field maps of ``--level minimal``; 26 calls the space of a run ``run``.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_table

SHAPE3 = (4, 4, 3)
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
SIGNALS = ["csf", "white_matter", "global_signal"]
T1W, MNI = "_space-T1w", "_space-MNI152NLin2009cAsym_res-2"


@dataclass(frozen=True)
class Version:
    """What one version writes for a run, apart from the BOLD itself.

    ``native`` are names of further files of the run in its own space, ``{run}`` and ``{sub}`` in
    them stand for labels; ``columns`` are prefixes of components in its table of confounds.
    """

    number: str
    native: tuple[str, ...]
    columns: tuple[str, ...]
    spaces: tuple[str, ...] = (T1W, MNI)
    program: str = "fMRIPrep"
    t1w: str = "T1w"
    sidecar: dict = field(default_factory=dict)


_OLD = ("from-scanner_to-T1w_mode-image_xfm.txt", "from-T1w_to-scanner_mode-image_xfm.txt")
_FIT = (
    "desc-hmc_boldref.nii.gz", "desc-coreg_boldref.nii.gz", "desc-brain_mask.nii.gz",
    "from-orig_to-boldref_mode-image_desc-hmc_xfm.txt",
    "from-boldref_to-T1w_mode-image_desc-coreg_xfm.txt",
    "from-boldref_to-auto00000_mode-image_xfm.txt",
)
_RUN = (
    "space-orig_desc-hmc_boldref.nii.gz", "space-run_boldref.nii.gz",
    "space-run_desc-brain_mask.nii.gz", "from-orig_to-run_mode-image_desc-hmc_xfm.txt",
    "from-run_to-T1w_mode-image_desc-coreg_xfm.txt",
)
_TISSUES = ("a_comp_cor_", "c_comp_cor_", "w_comp_cor_", "t_comp_cor_")
_SLICES = {"SliceTimingCorrected": True, "StartTime": 0.975}

VERSIONS = {
    "20.2": Version("20.2.7", _OLD, ("a_comp_cor_", "t_comp_cor_", "aroma_motion_")),
    "21": Version("21.0.4", _OLD, (*_TISSUES, "edge_comp_", "aroma_motion_"), sidecar=_SLICES),
    "22": Version("22.1.1", _OLD, (*_TISSUES, "edge_comp_", "aroma_motion_"), sidecar=_SLICES),
    "23.2": Version("23.2.3", _FIT, (*_TISSUES, "edge_comp_"), sidecar=_SLICES),
    "24.1": Version("24.1.1", _FIT, (*_TISSUES, "edge_comp_"), sidecar=_SLICES),
    "25.2": Version("25.2.5", _FIT, (*_TISSUES, "edge_comp_"), sidecar=_SLICES),
    "26": Version("26.0.0", _RUN, (*_TISSUES, "edge_comp_"), sidecar=_SLICES),
    "nibabies": Version(
        "25.1.0", _FIT, _TISSUES, ("_space-T2w", "_space-MNIInfant_cohort-1_res-2"), "NiBabies",
        "T2w", _SLICES,
    ),
}


def confounds(version, n_volumes=40, seed=0):
    """A table with the columns of a version, n/a where it has no value."""
    rng = np.random.default_rng(seed)
    table = {}
    for name in (*SIGNALS, *MOTION):
        course = rng.normal(size=n_volumes).cumsum() / 100
        change = np.r_[np.nan, np.diff(course)]
        table |= {name: course, f"{name}_derivative1": change, f"{name}_power2": course**2,
                  f"{name}_derivative1_power2": change**2}
    for name in ("std_dvars", "dvars", "framewise_displacement", "rmsd"):
        table[name] = np.r_[np.nan, rng.uniform(0.05, 0.2, n_volumes - 1)]
    for prefix in version.columns:
        n = 2 if prefix in ("edge_comp_", "aroma_motion_") else 6
        names = [f"{prefix}{k + 1:02d}" if "aroma" in prefix else f"{prefix}{k:02d}"
                 for k in range(n)]
        table |= {name: rng.normal(0, 0.1, n_volumes) for name in names}
    table |= {f"cosine{k:02d}": np.cos(np.linspace(0, np.pi * (k + 1), n_volumes)) for k in (0, 1)}
    table["non_steady_state_outlier00"] = (np.arange(n_volumes) == 0).astype(float)
    table["motion_outlier00"] = (np.arange(n_volumes) == 17).astype(float)
    return pd.DataFrame(table)


def compcor_masks(version):
    """Sidecar of the table: which tissue a component is of (20.2 has one name for all)."""
    masks = {"a": "combined", "c": "CSF", "w": "WM"}
    tissues = {
        f"{prefix}{k:02d}": {"Method": "aCompCor", "Mask": masks[prefix[0]], "Retained": True}
        for prefix in version.columns if prefix[0] in masks and "comp_cor" in prefix
        for k in range(6)
    }
    if "c_comp_cor_" not in version.columns:
        for k in range(2, 6):
            tissues[f"a_comp_cor_{k:02d}"]["Mask"] = "CSF" if k < 4 else "WM"
    return tissues


def write(skeleton, version, *, level="full", people=("01",), runs="12"):
    """Write the derivatives of the toy dataset as a version does; returns their folder."""
    top = skeleton.root.parent / "fp"
    skeleton.json("../fp/dataset_description.json", {
        "Name": f"{version.program} outputs", "BIDSVersion": "1.4.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": version.program, "Version": version.number}],
    })
    for sub in people:
        anat = f"../fp/sub-{sub}/anat/sub-{sub}"
        for name in (f"desc-preproc_{version.t1w}", "desc-brain_mask"):
            skeleton.image(f"{anat}_{name}.nii.gz", (4, 4, 4))
        skeleton.text(f"{anat}_from-{version.t1w}_to-MNI152NLin2009cAsym_mode-image_xfm.h5", "x")
        if version.native is _FIT:
            skeleton.image(
                f"../fp/sub-{sub}/fmap/sub-{sub}_fmapid-auto00000_desc-preproc_fieldmap.nii.gz",
                SHAPE3,
            )
        for run in runs:
            _write_run(skeleton, version, f"../fp/sub-{sub}/func/sub-{sub}_task-see_run-{run}",
                       level)
    return top


def _write_run(skeleton, version, stem, level):
    for name in (name.replace("T1w", version.t1w) for name in version.native):
        if name.endswith(".nii.gz"):
            skeleton.image(f"{stem}_{name}", SHAPE3)
        else:
            skeleton.text(f"{stem}_{name}", "#Insight Transform File V1.0\n")
    if level == "minimal":
        return
    table = skeleton.root / f"{stem}_desc-confounds_timeseries.tsv"
    if level == "full":
        save_table(table, confounds(version), compcor_masks(version))
    for space in version.spaces:
        skeleton.image(f"{stem}{space}_desc-preproc_bold.nii.gz")
        skeleton.json(f"{stem}{space}_desc-preproc_bold.json", {
            "RepetitionTime": 2.0, "SkullStripped": False, "TaskName": "see", **version.sidecar,
        })
        skeleton.image(f"{stem}{space}_boldref.nii.gz", SHAPE3)
        skeleton.image(f"{stem}{space}_desc-brain_mask.nii.gz", data=np.ones(SHAPE3, np.uint8))
