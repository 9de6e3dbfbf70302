"""Tiny samples in the exact layout of releases: a few participants, runs, trials and voxels."""

from dataclasses import dataclass

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
from scipy.io import savemat

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


@dataclass
class Truth:
    """What a sample holds: responses (n_trials, n_voxels) and labels of one participant."""

    values: np.ndarray
    stimuli: list
    sessions: list
    runs: list


def trials(seed=0, n_runs=4, n_stimuli=6, n_voxels=24, noise=0.5):
    """Responses with a pattern of each stimulus, once in every run."""
    rng = np.random.default_rng(seed)
    patterns = rng.standard_normal((n_stimuli, n_voxels))
    order = np.concatenate([rng.permutation(n_stimuli) for _ in range(n_runs)])
    values = patterns[order] + noise * rng.standard_normal((len(order), n_voxels))
    return Truth(
        values.astype(np.float32), [f"picture{number}" for number in order],
        ["1" if run < n_runs // 2 else "2" for run in range(n_runs) for _ in range(n_stimuli)],
        [str(run + 1) for run in range(n_runs) for _ in range(n_stimuli)],
    )


def table(truth):
    """Table of the trials, as text."""
    return pd.DataFrame(
        {"session": truth.sessions, "run": truth.runs, "stimulus": truth.stimuli,
         "label": [name[-1] for name in truth.stimuli]}
    )


def write_table(path, rows):
    """Write a table with tabs or commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False, na_rep="n/a")


def save_image(path, data):
    """Write a NIfTI image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, AFFINE), path)


def mask_of(n_voxels, shape=(4, 5, 6), seed=0):
    """A mask with a number of voxels."""
    mask = np.zeros(np.prod(shape), dtype=bool)
    mask[np.random.default_rng(seed).choice(len(mask), n_voxels, replace=False)] = True
    return mask.reshape(shape)


def on_grid(values, mask):
    """Volumes (x, y, z, trials) of responses in a mask."""
    volumes = np.zeros((*mask.shape, len(values)), dtype=values.dtype)
    volumes[mask] = values.T
    return volumes


def plain(folder, labels=("01", "02")):
    """One ``.npy`` matrix and one table per participant; returns the truth by label."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed, label in enumerate(labels):
        found[label] = trials(seed)
        np.save(folder / f"sub-{label}_betas.npy", found[label].values)
        write_table(folder / f"sub-{label}_trials.tsv", table(found[label]))
    return found


def matlab73(path, **arrays):
    """Write arrays as MATLAB does since version 7.3: HDF5 behind 512 bytes, axes reversed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = np.asarray(values).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")


def glmsingle(folder, extension="npy", kind="TYPED_FITHRF_GLMDENOISE_RR", truth=None, mask=None):
    """Output folder of GLMsingle for one participant, with its design; returns the truth."""
    truth = trials() if truth is None else truth
    mask = mask_of(truth.values.shape[1]) if mask is None else mask
    folder.mkdir(parents=True, exist_ok=True)
    volumes = on_grid(truth.values, mask)
    order = np.array([int(name.removeprefix("picture")) for name in truth.stimuli])
    lengths = np.array([truth.runs.count(run) for run in dict.fromkeys(truth.runs)])
    if extension == "mat":
        matlab73(folder / f"{kind}.mat", modelmd=volumes, R2=volumes[..., 0])
        matlab73(folder / "DESIGNINFO.mat", stimorder=order[None] + 1.0, numtrialrun=lengths[None])
        return truth
    np.save(folder / "DESIGNINFO.npy", {
        "stimorder": order.tolist(), "numtrialrun": lengths, "tr": 2.0, "params": {"wanthdf5": 0},
        "designSINGLE": [np.eye(2)],
    }, allow_pickle=True)
    content = {"HRFindex": None, "betasmd": volumes, "R2": volumes[..., 0], "pcnum": 3}
    if extension == "npy":
        np.save(folder / f"{kind}.npy", content, allow_pickle=True)
    else:
        with h5py.File(folder / f"{kind}.hdf5", "w") as file:
            file.create_dataset("betasmd", data=volumes)
            file.create_dataset("HRFindex", data=h5py.Empty("f"))
    return truth


def events(folder, truth, label="01", task="see"):
    """BIDS dataset with the events of a participant, and rows of rest between trials."""
    rows = table(truth)
    write_table(folder / "participants.tsv", pd.DataFrame({"participant_id": [f"sub-{label}"]}))
    (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    for (session, run), own in rows.groupby(["session", "run"], sort=False):
        onsets = 4.5 + 5.0 * np.arange(len(own))
        shown = pd.DataFrame({"onset": onsets, "duration": 2.0, "trial_type": own["label"],
                              "stim_id": own["stimulus"]})
        rest = pd.DataFrame({"onset": [0.0], "duration": 4.0, "trial_type": ["rest"],
                             "stim_id": ["n/a"]})
        name = f"sub-{label}_ses-{session}_task-{task}_run-{run}_events.tsv"
        write_table(folder / f"sub-{label}/ses-{session}/func" / name, pd.concat([rest, shown]))


def nsd(folder, subject=1, extension="nii.gz", sessions=(1, 2), shape=(4, 5, 6)):
    """Betas, design and mask of a participant of NSD; returns per cent signal change and mask."""
    rng = np.random.default_rng(subject)
    mask = mask_of(24, shape)
    place = folder / f"nsddata_betas/ppdata/subj{subject:02d}/func1pt8mm"
    place = place / "betas_fithrf_GLMdenoise_RR"
    found = {}
    for session in sessions:
        stored = rng.integers(-900, 900, (*shape, 750)).astype(np.int16)
        found[session] = (stored[mask] / np.float32(300)).T.astype(np.float32)
        name = f"betas_session{session:02d}"
        if extension == "hdf5":
            place.mkdir(parents=True, exist_ok=True)
            with h5py.File(place / f"{name}.hdf5", "w") as file:
                file.create_dataset("betas", data=stored.T, chunks=(750, 1, 1, 1))
        else:
            save_image(place / f"{name}.{extension}", stored)
    roi = folder / f"nsddata/ppdata/subj{subject:02d}/func1pt8mm/roi"
    save_image(roi / "nsdgeneral.nii.gz", np.where(mask, 1, -1).astype(np.int16))
    design = folder / "nsddata/experiments/nsd"
    design.mkdir(parents=True, exist_ok=True)
    savemat(design / "nsd_expdesign.mat", nsd_design())
    return found, mask


def nsd_design():
    """Design of NSD: 30,000 trials, 10,000 pictures, 8 participants, 1,000 shared pictures."""
    rng = np.random.default_rng(0)
    pictures = 1 + np.array([rng.permutation(73_000)[:10_000] for _ in range(8)])
    shared = np.sort(1 + rng.choice(73_000, 1000, replace=False))
    pictures[:, :1000] = shared
    ordering = 1 + rng.permutation(np.tile(np.arange(10_000), 3))
    return {"masterordering": ordering[None], "subjectim": pictures, "sharedix": shared[None]}
