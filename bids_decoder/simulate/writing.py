"""Files of the simulated raw datasets: images, events, and the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import atomic_path, write_json
from bids_decoder.preprocessing.geometry import grid_points
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.bold import Scanner, Scene
from bids_decoder.simulate.cortex import Cortex
from bids_decoder.simulate.decay import decay_rate
from bids_decoder.simulate.heads import (
    Phantom,
    centred_affine,
    magnitude,
    moved,
    rigid_matrix,
    smooth_bias,
)

_T1W_BOX = np.array([180.0, 230.0, 200.0])  # mm
_MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


@dataclass(frozen=True, eq=False)
class Study:
    """What the participants of one dataset have in common.

    Parameters
    ----------
    folder : Path
    task : str
    seed : int
    scanner : Scanner
    phantom : Phantom
    n_voxels : int
        Number of voxels that respond.
    signal_sd : float
        Standard deviation of the responses over stimuli, in percent.
    anatomical : bool
        Whether there are T1w images.
    permute_labels : bool
        Whether stimuli are shuffled over the trials.
    """

    folder: Path
    task: str
    seed: int
    scanner: Scanner
    phantom: Phantom
    n_voxels: int
    signal_sd: float
    anatomical: bool
    permute_labels: bool

    @property
    def truth(self) -> Path:
        """Folder of the truth."""
        return self.folder / "derivatives" / "truth"

    def rng(self, *keys: object) -> np.random.Generator:
        """Return the random numbers of one step."""
        return np.random.default_rng(derive_seed(self.seed, *keys))


def write_t1w(study: Study, scene: Scene, label: str) -> None:
    """Write the T1w image, the head a little elsewhere than during the first BOLD volume."""
    rng = study.rng(label, "T1w")
    shift = rigid_matrix(rng.normal(0, 1, 6) * [1, 1, 2, 0.02, 0.01, 0.01], np.zeros(3))
    voxel_size = study.scanner.t1w_voxel_size
    shape = tuple(int(np.ceil(width / voxel_size)) for width in _T1W_BOX)
    affine = centred_affine(shape, voxel_size, np.array([0.0, -16.0, 2.0]))
    points = grid_points(shape, affine)
    in_head = moved(points, np.linalg.inv(shift @ scene.pose))
    phantom = study.phantom
    signal = phantom.sample(phantom.t1w, scene.head.to_template(in_head))
    signal *= smooth_bias(points, 0.2, rng)
    values = np.rint(magnitude(signal.astype(np.float32), 12.0, rng)).astype(np.int16)
    save_nifti(
        study.folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz",
        values.reshape(shape), affine,
        metadata={"MagneticFieldStrength": 3, "EchoTime": 0.003, "FlipAngle": 9},
    )
    write_json(study.truth / f"sub-{label}" / f"sub-{label}_from-T1w_to-boldref_xfm.json", {
        "Description": "Maps scanner millimetres of the T1w image to those of the same tissue "
        "in the first volume of the first run.",
        "Matrix": np.linalg.inv(shift).tolist(),
    })


def write_region(study: Study, cortex: Cortex, label: str) -> None:
    """Write which voxels respond, and how well."""
    stem = study.truth / f"sub-{label}" / "func" / f"sub-{label}_task-{study.task}"
    affine = study.scanner.affine
    save_nifti(
        stem.with_name(f"{stem.name}_label-responsive_mask.nii.gz"), cortex.mask, affine,
        metadata={"Description": "Voxels that respond, on the first volume of the first run"},
    )
    ncsnr = np.zeros(cortex.mask.shape, dtype=np.float32)
    ncsnr[cortex.mask] = cortex.ncsnr
    save_nifti(
        stem.with_name(f"{stem.name}_stat-ncsnr_statmap.nii.gz"), ncsnr, affine,
        metadata={"Description": (
            "Standard deviation of the responses over stimuli, divided by that over trials of "
            "one stimulus, without noise of the measurement"
        )},
    )


def write_t2star(study: Study, scene: Scene, label: str) -> None:
    """Write T2* on the grid of the first volume."""
    rate = scene.tissue(decay_rate(study.phantom))
    save_nifti(
        study.truth / f"sub-{label}" / "func" / f"sub-{label}_task-{study.task}_T2starmap.nii.gz",
        1 / rate, study.scanner.affine,
        metadata={"Description": "On the first volume of the first run", "Units": "s"},
    )


def write_run(
    study: Study, label: str, number: int, echoes: list[np.ndarray], events: pd.DataFrame
) -> None:
    """Write the images of a run, one for each echo, and its events.

    Parameters
    ----------
    study : Study
    label : str
        Of the participant.
    number : int
        Of the run, from 1.
    echoes : list of ndarray, each of shape (i, j, k, n_volumes)
    events : DataFrame
    """
    scanner = study.scanner
    func = study.folder / f"sub-{label}" / "func"
    stem = f"sub-{label}_task-{study.task}_run-{number}"
    for index, (bold, time) in enumerate(zip(echoes, scanner.echo_times, strict=True), start=1):
        echo = f"_echo-{index}" if len(echoes) > 1 else ""
        save_nifti(
            func / f"{stem}{echo}_bold.nii.gz", bold, scanner.affine, t_r=scanner.t_r,
            metadata={
                "TaskName": study.task,
                "RepetitionTime": scanner.t_r,
                "SliceTiming": [round(float(time), 6) for time in scanner.slice_times],
                "EchoTime": time,
                "FlipAngle": 77,
                "MagneticFieldStrength": 3,
                "PulseSequenceType": "Simulated gradient echo EPI",
            },
        )
    description = {"trial_type": {"Description": "What is seen"}}
    if "stim_file" in events:
        description["stim_file"] = {"Description": "Picture, relative to stimuli/"}
    save_table(func / f"{stem}_events.tsv", events.drop(columns="shown"), description)


def write_run_truth(
    study: Study, label: str, number: int, motion: np.ndarray, trials: pd.DataFrame
) -> None:
    """Write movement and responses of a run.

    Parameters
    ----------
    study, label, number
        As for :func:`write_run`.
    motion : ndarray, shape (n_volumes, 6)
        Translations in millimetres, then rotations in radians.
    trials : DataFrame
    """
    func = study.truth / f"sub-{label}" / "func"
    stem = f"sub-{label}_task-{study.task}_run-{number}"
    save_table(
        func / f"{stem}_desc-motion_timeseries.tsv",
        pd.DataFrame(motion, columns=list(_MOTION_COLUMNS)),
        {"Description": (
            "Where the head is in each volume, relative to the first volume of the first run: "
            "rotation about x, then y, then z around Centre, then translation"
        ), "Centre": list(study.scanner.centre), "Units": ["mm"] * 3 + ["rad"] * 3},
    )
    with atomic_path(func / f"{stem}_desc-truth_betas.npz") as temporary:
        np.savez_compressed(
            temporary, betas=np.stack(trials["betas"].to_list()),
            onset=trials["onset"].to_numpy(), stimulus=trials["shown"].to_numpy(dtype=str),
        )
