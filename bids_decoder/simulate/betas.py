"""Simulated derivative datasets of single-trial responses, for tests and trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.encoding import Tuning, make_encoded_world
from bids_decoder.simulate.images import write_scene
from bids_decoder.simulate.layout import PictureDesign, describe, make_folder
from bids_decoder.simulate.responses import (
    Pictures,
    SimulatedPerson,
    SimulatedTrials,
    make_world,
    simulate_person,
    simulate_viewer,
)
from bids_decoder.simulate.world import ResponseSettings
from bids_decoder.stimuli.grey import load_grey
from bids_decoder.stimuli.pyramid import GaborPyramid
from bids_decoder.stimuli.targets import fit_target_space
from bids_decoder.trials import TRIAL_COLUMNS, VoxelGrid

BETAS = PictureDesign()
"""Default design of :func:`write_betas_dataset`."""

ENCODING = PictureDesign(n_participants=1, n_runs=8, n_train=240, n_test=24, n_repeats=3)
"""Default design of :func:`write_encoding_dataset`."""

RELIABLE = ResponseSettings(
    shape=(16, 20, 12), voxel_size=3.0, n_roi=250, median_ncsnr=1.0, n_features=16,
    n_embedding=24, own=0.1, roi_fwhm=5.0,
)
"""A small box of reliable voxels."""


def write_betas_dataset(
    folder: Path, design: PictureDesign = BETAS, *, settings: ResponseSettings = RELIABLE,
    pictures: bool = False,
) -> Path:
    """Write a derivative dataset of single-trial responses with its feature table.

    Parameters
    ----------
    folder : Path
        Missing or empty. ``features.tsv`` in it contains the vector of each stimulus.
    design : PictureDesign
    settings : ResponseSettings
    pictures : bool
        Write scenes to ``stimuli/`` and let responses follow their Gabor and colour features.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        If *folder* is not empty.
    """
    folder = _prepare(folder, "Simulated single-trial responses")
    world = make_world(settings, design.seed)
    features: dict[str, np.ndarray] = {}
    seen = _draw_scenes(folder, design, settings.n_features) if pictures else {}
    for number in range(1, design.n_participants + 1):
        if pictures:
            person = simulate_viewer(
                world, number, seen[number], seen[0], n_repeats=design.n_repeats
            )
        else:
            person = simulate_person(
                world, number, n_train=design.n_train, n_test_images=design.n_test,
                n_repeats=design.n_repeats,
            )
        rng = np.random.default_rng(derive_seed(design.seed, number, "order"))
        features.update(_write_participant(folder, person, design, rng))
    table = pd.DataFrame.from_dict(features, orient="index").add_prefix("feature_")
    save_table(folder / "features.tsv", table.rename_axis("stimulus").reset_index())
    return folder


def write_encoding_dataset(
    folder: Path, design: PictureDesign = ENCODING, *, shape: tuple[int, int, int] = (8, 8, 4),
    region: tuple[int, int, int] = (5, 4, 3), tuning: Tuning = "energy",
    signal_to_noise: float = 1.5,
) -> Path:
    """Write a derivative dataset of responses to the pictures in ``stimuli``.

    Parameters
    ----------
    folder : Path
        Missing or empty.
    design : PictureDesign
    shape, region : tuple of int
        Box of voxels, and its corner with responsive voxels.
    tuning : {"energy", "conjunction"}
        See :mod:`bids_decoder.simulate.encoding`.
    signal_to_noise : float
        Of single trials in responsive voxels.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        If *folder* is not empty.
    """
    folder = _prepare(folder, "Simulated responses to pictures")
    grid = VoxelGrid(np.ones(shape, dtype=bool), np.diag([3.0, 3.0, 3.0, 1.0]))
    box = np.zeros(shape, dtype=bool)
    box[:region[0], :region[1], :region[2]] = True
    responsive, nobody = box.ravel(), np.zeros(grid.n_voxels, dtype=bool)
    shared = [f"shared-{number:03d}.png" for number in range(1, design.n_test + 1)]
    for number in range(1, design.n_participants + 1):
        names = [f"unique-{number:02d}-{k:03d}.png" for k in range(1, design.n_train + 1)] + shared
        paths = {name: folder / "stimuli" / name for name in names}
        for name, path in paths.items():
            if not path.is_file():
                write_scene(path, name, seed=design.seed, size=64)
        world = make_encoded_world(load_grey(paths, 32), responsive, tuning, design.seed)
        rng = np.random.default_rng(derive_seed(design.seed, number, "encoding"))
        test_rows = np.repeat(np.arange(design.n_train, len(names)), design.n_repeats)
        parts = [
            _single_session(world.respond(rows, signal_to_noise, rng), np.array(names)[rows])
            for rows in (np.arange(design.n_train), test_rows)
        ]
        person = SimulatedPerson(
            number, grid, *parts, responsive, nobody, nobody,
            np.where(responsive, signal_to_noise, 0.0).astype(np.float32),
        )
        _write_participant(folder, person, design, rng)
    return folder


def _prepare(folder: Path, name: str) -> Path:
    folder = make_folder(folder)
    describe(folder, name, "derivative")
    describe(folder / "derivatives" / "truth", "Where the responses are", "derivative")
    return folder


def _single_session(betas: np.ndarray, images: np.ndarray) -> SimulatedTrials:
    """Return trials of one session and run, without target vectors."""
    ones = np.ones(len(images), dtype=int)
    return SimulatedTrials(betas, ones, ones, images, np.zeros((len(images), 1), np.float32))


def _draw_scenes(
    folder: Path, design: PictureDesign, n_features: int
) -> dict[int, Pictures]:
    """Write the scenes; key 0 holds the test pictures, the others those of a participant."""
    names = {0: [f"shared-{i:05d}.png" for i in range(design.n_test)]}
    names |= {
        person: [f"person{person}-{i:05d}.png" for i in range(design.n_train)]
        for person in range(1, design.n_participants + 1)
    }
    everything = [name for listed in names.values() for name in listed]
    paths = [write_scene(folder / "stimuli" / name, name, seed=design.seed) for name in everything]
    vectors = GaborPyramid().encode(paths)
    latents = fit_target_space(vectors, min(n_features, len(vectors) - 1)).transform(vectors)
    latents = np.pad(latents, ((0, 0), (0, n_features - latents.shape[1])))
    latents /= np.maximum(latents.std(axis=0), 1e-6)
    ends = np.cumsum([len(listed) for listed in names.values()])[:-1]
    parts = zip(np.split(latents, ends), np.split(vectors, ends), strict=True)
    return {
        person: Pictures(np.array(listed), *part)
        for (person, listed), part in zip(names.items(), parts, strict=True)
    }


def _write_participant(
    folder: Path, person: SimulatedPerson, design: PictureDesign, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Write the runs and the region of one participant; return the vector of each picture."""
    parts = (person.train, person.test)
    betas, images, vectors = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("betas", "images", "embeddings")
    )
    order = rng.permutation(len(images))
    shown = rng.permutation(images[order]) if design.permute_labels else images[order]
    repeats = pd.Series(shown).groupby(shown).cumcount().to_numpy()
    label, affine = f"{person.seed:02d}", person.grid.affine
    for run, rows in enumerate(np.array_split(np.arange(len(order)), design.n_runs), start=1):
        entities = {"sub": label, "task": "pictures", "run": str(run)}
        save_nifti(
            derivative_path(folder, "betaseries", **entities),
            person.grid.to_volume(betas[order[rows]]), affine, metadata={"TaskName": "pictures"},
        )
        save_nifti(
            derivative_path(folder, "glm_mask", **entities), person.grid.mask, affine,
            metadata={"Type": "Brain"},
        )
        save_table(
            derivative_path(folder, "trials", **entities),
            _trial_table(shown[rows], repeats[rows], str(run)),
            {name: {"Description": text} for name, text in TRIAL_COLUMNS.items()},
        )
    save_nifti(
        folder / "derivatives" / "truth" / f"sub-{label}_label-responsive_mask.nii.gz",
        person.grid.to_volume(person.roi), affine,
    )
    return dict(zip(images, vectors, strict=True))


def _trial_table(shown: np.ndarray, repeats: np.ndarray, run: str) -> pd.DataFrame:
    table = pd.DataFrame(index=range(len(shown)), columns=list(TRIAL_COLUMNS), dtype=object)
    return table.assign(
        trial=np.arange(1, len(shown) + 1), onset=4.0 + 4.0 * np.arange(len(shown)),
        duration=2.0, task="pictures", run=run, run_group=f"task-pictures_run-{run}",
        stimulus=shown, repeat=repeats, n_events=1, excluded=False,
    )
