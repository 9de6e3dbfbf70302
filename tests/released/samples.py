"""Tiny samples in the exact layout of releases: a few participants, runs, trials and voxels."""

import io
import tarfile
from dataclasses import dataclass

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
from scipy.io import savemat
from scipy.signal import detrend

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


def add_member(archive, name, array):
    """Add an array to a tar."""
    content = io.BytesIO()
    np.save(content, array)
    member = tarfile.TarInfo(name)
    member.size = content.tell()
    archive.addfile(member, io.BytesIO(content.getvalue()))


def mindeye(folder, subject=1, n_trials=24, n_voxels=10, sets=("train", "new_test")):
    """Betas and webdatasets as MindEye2 gives them; every fourth trial is in the second set.

    Returns the betas, and pictures, sessions and runs of the trials.
    """
    rng = np.random.default_rng(subject)
    folder.mkdir(parents=True, exist_ok=True)
    betas = rng.standard_normal((n_trials, n_voxels)).astype(np.float32)
    with h5py.File(folder / f"betas_all_subj{subject:02d}_fp32_renorm.hdf5", "w") as file:
        file.create_dataset("betas", data=betas)
    order = np.arange(n_trials)
    rows = np.full((n_trials, 17), -1)
    rows[:, 0] = rng.choice(73_000, n_trials)
    rows[:, 1], rows[:, 2], rows[:, 3] = subject, 1 + order // 12, 1 + order // 6 % 2
    rows[:, 4], rows[:, 5], rows[:, 9] = 1 + order % 6, order, rng.integers(0, 2000, n_trials)
    rows[:, 16] = order % 4 == 0
    for name, chosen in zip(sets, (order[order % 4 > 0], order[order % 4 == 0]), strict=True):
        place = folder / f"wds/subj{subject:02d}/{name}"
        place.mkdir(parents=True)
        # Tars are numbered, and samples are shuffled in them.
        for number, part in enumerate(np.array_split(rng.permutation(chosen), 2)):
            with tarfile.open(place / f"{number}.tar", "w") as archive:
                for count, row in enumerate(part):
                    stem = f"sample{count:09d}"
                    add_member(archive, f"{stem}.behav.npy", rows[row][None])
                    add_member(archive, f"{stem}.olds_behav.npy", np.full((3, 17), -1))
    return betas, rows


def bdpy(path, truth, mask=None, old_names=False):
    """File of Generic Object Decoding: design, voxels, positions and regions of a participant."""
    mask = mask_of(truth.values.shape[1]) if mask is None else mask
    places = np.argwhere(mask) @ AFFINE[:3, :3] + [-20.0, -90.0, 3.0]
    numbers = np.array([int(name.removeprefix("picture")) for name in truth.stimuli])
    design = {
        "DataType": np.where(np.array(truth.runs) == "4", 2.0, 1.0),
        "Run": np.array(truth.runs, dtype=float), "Session": np.array(truth.sessions, dtype=float),
        "Label": np.round(1518878 + (numbers + 42) * 1e-6, 6),
    }
    dataset = np.column_stack([*design.values(), truth.values.astype(float)])
    n_columns, first = dataset.shape[1], len(design)
    voxels = np.arange(first, n_columns)

    def row(columns, values=1.0):
        found = np.full(n_columns, np.nan)
        found[columns] = values
        return found

    keys = {name: row([number]) for number, name in enumerate(design)} | {
        "VoxelData": row(voxels), "voxel_x": row(voxels, places[:, 0]),
        "voxel_y": row(voxels, places[:, 1]), "voxel_z": row(voxels, places[:, 2]),
        "ROI_V1": row(voxels[:10]), "ROI_VC": row(voxels),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    array, metadata = ("dataSet", "metaData") if old_names else ("dataset", "metadata")
    if path.suffix == ".mat":
        cells = np.empty((1, len(keys)), dtype=object)
        cells[0] = list(keys)
        savemat(path, {array: dataset, metadata: {
            "key": cells, "description": cells, "value": np.stack(list(keys.values())),
        }})
        return places
    with h5py.File(path, "w") as file:
        file[array] = dataset
        file[f"{metadata}/key"] = list(keys)
        file[f"{metadata}/description"] = ["1 = x"] * len(keys)
        file[f"{metadata}/value"] = np.stack(list(keys.values()))
    return places


def bold5000(folder, label="CSI1", form="nii.gz", n_sessions=2, n_runs=2):
    """Sessions, or regions, of a participant of BOLD5000, of 37 trials per run; returns values."""
    rng = np.random.default_rng(5)
    mask = mask_of(20)
    per_session = 37 * n_runs
    values = rng.standard_normal((n_sessions * per_session, 20)).astype(np.float32)
    name = f"{label}_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR"
    folder.mkdir(parents=True, exist_ok=True)
    if form == "npy":
        for region, part in (("LHPPA", values[:, :8]), ("RHPPA", values[:, 8:])):
            np.save(folder / f"{name}_allses_{region}.npy", part)
    else:
        save_image(folder / f"{label}_brainmask.nii.gz", mask.astype(np.uint8))
        for session, own in enumerate(np.split(values, n_sessions), start=1):
            save_image(folder / f"{name}_ses-{session:02d}.nii.gz", on_grid(own, mask))
    names = [f"COCO_train2014_{number:012d}.jpg" for number in rng.permutation(len(values))]
    lists = folder / f"Stimuli_Presentation_Lists/{label}"
    lists.mkdir(parents=True)
    (lists / f"{label}_imgnames.txt").write_text("\n".join(names) + "\n")
    return values, names


def things(folder, truth, label="01"):
    """Table of responses as pandas stores it, and metadata of trials and voxels."""
    place = folder / "betas_csv"
    place.mkdir(parents=True, exist_ok=True)
    mask = mask_of(truth.values.shape[1])
    with h5py.File(place / f"sub-{label}_ResponseData.h5", "w") as file:
        group = file.create_group("ResponseData")
        group["block0_values"] = truth.values.T.astype(float)
        group["block1_values"] = np.arange(truth.values.shape[1])[:, None]
        group["axis1"] = np.arange(truth.values.shape[1])
    write_table(place / f"sub-{label}_StimulusMetadata.csv", pd.DataFrame({
        "trial_type": ["test" if run == "4" else "train" for run in truth.runs],
        "session": truth.sessions, "run": truth.runs, "subject_id": 1,
        "trial_id": range(len(truth.runs)), "stimulus": truth.stimuli,
        "concept": [name[:-1] for name in truth.stimuli],
    }))
    x, y, z = np.argwhere(mask).T
    write_table(place / f"sub-{label}_VoxelMetadata.csv", pd.DataFrame({
        "voxel_id": range(len(x)), "subject_id": 1, "voxel_x": x + 7, "voxel_y": y + 5,
        "voxel_z": z, "nc_singletrial": 3.0, "V1": 1,
    }))
    return mask


def nod(folder, label="01", n_runs=2, n_trials=5, n_points=12):
    """CIFTI images of runs with names of stimuli, as ciftify's folder of NOD has them."""
    rng = np.random.default_rng(9)
    structure = nib.cifti2.BrainModelAxis.from_surface(
        np.arange(n_points), 40, name="CortexLeft"
    )
    values, names = [], []
    for run in range(1, n_runs + 1):
        own = rng.standard_normal((n_trials, n_points)).astype(np.float32)
        shown = [f"n0{run}{trial}.JPEG" for trial in range(n_trials)]
        stem = f"ses-imagenet01_task-imagenet_run-{run}"
        place = folder / f"derivatives/ciftify/sub-{label}/results/{stem}"
        place.mkdir(parents=True)
        axes = (nib.cifti2.ScalarAxis(shown), structure)
        nib.save(nib.Cifti2Image(own, axes), place / f"{stem}_beta.dscalar.nii")
        (place / f"{stem}_label.txt").write_text("\n".join(shown))
        values.append(own)
        names += shown
    return np.concatenate(values), names


def laion(folder, label="01", sessions=("01", "02"), mask_as="mask"):
    """Sessions of two runs of LAION-fMRI, with pictures; returns the truth."""
    truth, mask = trials(3), mask_of(24)
    place = folder / f"derivatives/glmsingle-tedana/sub-{label}"
    stem = f"sub-{label}_task-images_space-T1w"
    if mask_as == "mask":
        save_image(place / f"{stem}_desc-meanR2gt15mask_mask.nii.gz", mask.astype(np.uint8))
    else:
        explained = np.where(mask, 20.0, 14.0).astype(np.float32)
        save_image(place / f"{stem}_stat-rsquare_desc-R2mean_statmap.nii.gz", explained)
    truth.stimuli = [f"{name}.jpg" for name in truth.stimuli]
    truth.runs = [f"{1 + (int(run) - 1) % 2:02d}" for run in truth.runs]
    truth.sessions = [sessions[int(session) - 1] for session in truth.sessions]
    for session in sessions:
        rows = [row for row, own in enumerate(truth.sessions) if own == session]
        name = f"sub-{label}_ses-{session}_task-images"
        func = place / f"ses-{session}/func"
        save_image(func / f"{name}_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz",
                   on_grid(truth.values[rows], mask))
        write_table(func / f"{name}_desc-SingletrialBetas_trials.tsv", pd.DataFrame({
            "session": f"ses-{session}", "run": [f"run-{truth.runs[row]}" for row in rows],
            "beta_index": range(len(rows)), "label": [truth.stimuli[row] for row in rows],
        }))
    (folder / "stimuli/images").mkdir(parents=True, exist_ok=True)
    return truth, mask


def miyawaki(folder, n_random=2, n_figure=2):
    """Time series, pixels and mask of nilearn's copy; returns the mask and responses by run.

    A picture is shown for 3 or 6 volumes between rests of 3; runs begin with rest. The time series
    is a trend, and two volumes after the pictures the response.
    """
    rng = np.random.default_rng(7)
    mask = mask_of(24)
    figures = rng.integers(0, 2, (2, 100))
    save_image(folder / "mask/mask.nii.gz", mask.astype(np.uint8))
    (folder / "label").mkdir()
    found = {}
    for kind, n_runs, length in (("figure", n_figure, 6), ("random", n_random, 3)):
        for run in range(1, n_runs + 1):
            pictures = figures[::-1] if kind == "figure" else rng.integers(0, 2, (4, 100))
            rest = np.full((3, 100), -1)
            rows = np.concatenate([rest] + [
                part for picture in pictures for part in (np.tile(picture, (length, 1)), rest)
            ])
            responses = rng.standard_normal((len(pictures), 24))
            series = np.zeros((len(rows), 24))
            for number, response in enumerate(responses):
                start = 3 + number * (length + 3) + 2
                series[start:start + length] = response
            # The response itself has no trend.
            found[kind, run] = detrend(series, axis=0), responses, pictures
            trend = 100 + np.outer(np.arange(len(rows)), rng.standard_normal(24))
            name = f"data_{kind}_run{run:02d}"
            save_image(folder / f"func/{name}.nii.gz",
                       on_grid((series + trend).astype(np.float32), mask))
            np.savetxt(folder / f"label/{name}_label.csv", rows, "%d", ",")
    return mask, found
