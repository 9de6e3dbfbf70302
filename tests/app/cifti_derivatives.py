"""A small dataset with derivatives in CIFTI: two spheres with holes, and a box of voxels."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from surface_derivatives import (
    LABELS,
    N_SCANS,
    RADIUS,
    T_R,
    patch_of,
    save_surface,
    sphere,
)

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.glm.confounds import MOTION
from bids_decoder.glm.design import Timing, trial_regressors
from bids_decoder.glm.hrf import get_hrf

POINTS, TRIANGLES = sphere()
N_SIDE = len(POINTS)
SHAPE = (12, 12, 8)
AFFINE = np.array([[4.0, 0, 0, -22], [0, 4, 0, -20], [0, 0, 4, -14], [0, 0, 0, 1]])
STEM = "space-fsLR_den-91k"


def brain_models():
    """Both hemispheres without the lowest vertices, and two boxes of voxels in another order."""
    models = nib.cifti2.BrainModelAxis
    cortex = np.flatnonzero(POINTS[:, 2] > -0.9 * RADIUS)
    left, right = (
        models.from_surface(cortex, N_SIDE, "CortexLeft" if side == "L" else "CortexRight")
        for side in "LR"
    )
    boxes = []
    for name, start in (("THALAMUS_LEFT", 0), ("THALAMUS_RIGHT", 6)):
        mask = np.zeros(SHAPE, bool)
        mask[start + 1:start + 5, 2:8, 2:6] = True
        boxes.append(models.from_mask(mask, name, AFFINE))
    return left + right + boxes[1] + boxes[0]


def signal_rows():
    """Rows around the top of the left hemisphere, and one half of a box."""
    models = brain_models()
    patch = np.flatnonzero(patch_of(POINTS))
    on_left = (models.name == "CIFTI_STRUCTURE_CORTEX_LEFT") & np.isin(models.vertex, patch)
    return on_left | (models.volume_mask & (models.voxel[:, 0] < 3))


def save_dtseries(path, values, t_r=T_R):
    """Values (n_volumes, n_rows) with the brain models of this dataset."""
    series = nib.cifti2.SeriesAxis(0, t_r, len(values), "SECOND")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Cifti2Image(values.astype(np.float32), (series, brain_models()))
    path.write_bytes(image.to_bytes())


def save_dlabel(path, values):
    """Labels 1 (other) and 2 (informative) of the rows of this dataset, in another order."""
    names = {0: ("???", (0, 0, 0, 0)), 1: ("other", (1, 0, 0, 1)), 2: ("informative", (0, 1, 0, 1))}
    axes = nib.cifti2.LabelAxis(["signal"], [names]), brain_models()[::-1]
    path.write_bytes(nib.Cifti2Image(values[None, ::-1].astype(np.float32), axes).to_bytes())
    return path


def save_midthickness(prep, label="01"):
    for side, shift in (("L", -50.0), ("R", 50.0)):
        name = f"sub-{label}_hemi-{side}_space-fsLR_den-32k_midthickness.surf.gii"
        save_surface(
            prep / f"sub-{label}/anat" / name,
            POINTS + [shift, 0, 0], TRIANGLES,
        )


def write_cifti_dataset(folder, *, n_runs=4, seed=0, meshes=True):
    """Raw events, and fMRIPrep's CIFTI series of one participant."""
    rng = np.random.default_rng(seed)
    raw, prep = folder / "raw", folder / "prep"
    for place, made in ((raw, {}), (prep, {
        "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep", "Version": "25.2.5"}],
    })):
        place.mkdir(parents=True)
        described = {"Name": "grayordinates", "BIDSVersion": "1.10.0", **made}
        (place / "dataset_description.json").write_text(json.dumps(described))
    if meshes:
        save_midthickness(prep)
    signal = signal_rows()
    pattern = np.where(signal, np.random.default_rng(9).normal(0, 1, len(signal)), 0.0)
    for run in range(1, n_runs + 1):
        onsets, labels = 4.0 + 9.0 * np.arange(20), rng.permutation(np.repeat(LABELS, 10))
        columns = trial_regressors(
            onsets, np.full(20, 1.0), Timing(N_SCANS, T_R), get_hrf("spm")
        )
        means = np.where(labels[:, None] == "face", 1.0, -1.0) * pattern
        bold = 100 + columns @ means + rng.normal(0, 1, (N_SCANS, len(signal)))
        stem = f"sub-01_task-see_run-{run}"
        save_nifti(raw / f"sub-01/func/{stem}_bold.nii.gz",
                   rng.normal(100, 5, (4, 4, 4, N_SCANS)).astype(np.float32), np.eye(4), t_r=T_R,
                   metadata={"RepetitionTime": T_R, "TaskName": "see"})
        save_table(raw / f"sub-01/func/{stem}_events.tsv",
                   pd.DataFrame({"onset": onsets, "duration": 1.0, "trial_type": labels}))
        func = prep / "sub-01/func"
        save_dtseries(func / f"{stem}_{STEM}_bold.dtseries.nii", bold)
        (func / f"{stem}_{STEM}_bold.json").write_text(
            json.dumps({"RepetitionTime": T_R, "StartTime": 0.0}))
        motion = pd.DataFrame(rng.normal(0, 0.01, (N_SCANS, 6)), columns=list(MOTION))
        save_table(func / f"{stem}_desc-confounds_timeseries.tsv", motion)
    return signal


def copy_person(root, label, models=None):
    """Make another participant of the files of the first one, with more noise."""
    rng = np.random.default_rng(int(label))
    for path in sorted(root.glob("*/sub-01/**/*")):
        target = Path(str(path).replace("sub-01", f"sub-{label}"))
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith(".dtseries.nii"):
            image = nib.load(path)
            # Two participants with the same values would be copies.
            values = image.get_fdata(dtype=np.float32) + rng.normal(size=image.shape)
            axes = image.header.get_axis(0), brain_models() if models is None else models
            target.write_bytes(nib.Cifti2Image(values.astype(np.float32), axes).to_bytes())
        elif path.is_file():
            shutil.copy(path, target)
