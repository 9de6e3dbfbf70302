"""A small dataset with derivatives on surfaces: two spheres, categories in a patch of the left."""

import json

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.glm.confounds import MOTION
from bids_decoder.glm.design import Timing, trial_regressors
from bids_decoder.glm.hrf import get_hrf

T_R, N_SCANS, LABELS = 2.0, 100, ("face", "house")
RADIUS = 40.0


def sphere(n_subdivisions=2):
    """An icosahedron whose triangles are divided again and again: points and triangles."""
    golden = (1 + 5**0.5) / 2
    points = [
        (a, b * golden, 0) for a in (-1, 1) for b in (-1, 1)
    ]
    points = np.array([np.roll(p, k) for k in range(3) for p in points], dtype=float)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    near = np.linalg.norm(points[:, None] - points[None], axis=-1) < 1.1
    triangles = [(i, j, k) for i in range(12) for j in range(i + 1, 12) for k in range(j + 1, 12)
                 if near[i, j] and near[j, k] and near[i, k]]
    for _ in range(n_subdivisions):
        points, triangles = _divided(points, triangles)
    return RADIUS * points, np.array(triangles)


def _divided(points, triangles):
    points, middle, found = list(points), {}, []

    def between(a, b):
        pair = (min(a, b), max(a, b))
        if pair not in middle:
            place = points[a] + points[b]
            middle[pair] = len(points)
            points.append(place / np.linalg.norm(place))
        return middle[pair]

    for a, b, c in triangles:
        ab, bc, ca = between(a, b), between(b, c), between(c, a)
        found += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return np.array(points), found


def save_surface(path, points, triangles):
    arrays = [
        nib.gifti.GiftiDataArray(points.astype(np.float32), intent="NIFTI_INTENT_POINTSET"),
        nib.gifti.GiftiDataArray(triangles.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.GiftiImage(darrays=arrays), path)


def save_series(path, values):
    """Values of one hemisphere, (n_vertices, n_volumes), one array for each volume."""
    arrays = [nib.gifti.GiftiDataArray(np.ascontiguousarray(volume, dtype=np.float32))
              for volume in values.T]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.GiftiImage(darrays=arrays), path)


def patch_of(points, degrees=70):
    """Vertices around the top of a hemisphere."""
    return points[:, 2] > RADIUS * np.cos(np.radians(degrees))


def write_surface_dataset(folder, *, n_runs=4, seed=0, amplitude=1.0):
    """Raw events and derivatives in ``fsnative``; returns the patch of both hemispheres, joined."""
    rng = np.random.default_rng(seed)
    raw, prep = folder / "raw", folder / "prep"
    points, triangles = sphere()
    for place, program in ((raw, None), (prep, "fMRIPrep")):
        place.mkdir(parents=True)
        described = {"Name": "surfaces", "BIDSVersion": "1.10.0"}
        if program:
            described |= {"DatasetType": "derivative",
                          "GeneratedBy": [{"Name": program, "Version": "25.2.5"}]}
        (place / "dataset_description.json").write_text(json.dumps(described))
    for side, shift in (("L", -50.0), ("R", 50.0)):
        save_surface(prep / f"sub-01/anat/sub-01_hemi-{side}_midthickness.surf.gii",
                     points + [shift, 0, 0], triangles)
    patch = np.concatenate([patch_of(points), np.zeros(len(points), dtype=bool)])
    timing = Timing(N_SCANS, T_R)
    for run in range(1, n_runs + 1):
        stem = f"sub-01_task-see_run-{run}"
        onsets = 4.0 + 9.0 * np.arange(20)
        labels = rng.permutation(np.repeat(LABELS, 10))
        columns = trial_regressors(onsets, np.full(20, 1.0), timing, get_hrf("spm"))
        means = np.where(labels[:, None] == "face", 1.0, -1.0) * _pattern(patch)
        bold = 100 + amplitude * (columns @ means) + rng.normal(0, 1, (N_SCANS, len(patch)))
        _write_run(raw, prep, stem, (onsets, labels), bold.astype(np.float32), len(points), rng)
    return patch


def _pattern(patch):
    return np.where(patch, np.random.default_rng(9).normal(0.0, 1.0, len(patch)), 0.0)


def _write_run(raw, prep, stem, events, bold, n_left, rng):
    save_nifti(raw / f"sub-01/func/{stem}_bold.nii.gz",
               rng.normal(100, 5, (4, 4, 4, N_SCANS)).astype(np.float32), np.eye(4), t_r=T_R,
               metadata={"RepetitionTime": T_R, "TaskName": "see"})
    onsets, labels = events
    save_table(raw / f"sub-01/func/{stem}_events.tsv",
               pd.DataFrame({"onset": onsets, "duration": 1.0, "trial_type": labels}))
    func = prep / "sub-01/func"
    for side, part in (("L", bold[:, :n_left]), ("R", bold[:, n_left:])):
        save_series(func / f"{stem}_hemi-{side}_space-fsnative_bold.func.gii", part.T)
        (func / f"{stem}_hemi-{side}_space-fsnative_bold.json").write_text(
            json.dumps({"RepetitionTime": T_R, "StartTime": 0.0, "SkullStripped": True}))
    motion = pd.DataFrame(rng.normal(0, 0.01, (N_SCANS, 6)), columns=list(MOTION))
    save_table(func / f"{stem}_desc-confounds_timeseries.tsv", motion)
