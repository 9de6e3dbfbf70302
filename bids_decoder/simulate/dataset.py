"""Small BIDS datasets with known truth: for the demo, for tests, for trying things out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import save_table
from bids_decoder.files import write_text
from bids_decoder.preprocessing.geometry import grid_points
from bids_decoder.simulate.bold import Scanner, Scene, draw_motion, simulate_run
from bids_decoder.simulate.cortex import draw_cortex
from bids_decoder.simulate.heads import (
    draw_head,
    make_phantom,
    rigid_matrix,
    smooth_bias,
)
from bids_decoder.simulate.images import write_scene
from bids_decoder.simulate.layout import SEED, PictureDesign, describe, make_folder
from bids_decoder.simulate.writing import (
    Study,
    write_region,
    write_run,
    write_run_truth,
    write_t1w,
    write_t2star,
)
from bids_decoder.stimuli.pyramid import GaborPyramid
from bids_decoder.stimuli.targets import fit_target_space

DEMO = PictureDesign(n_participants=4, n_train=108, n_test=24)
"""Design of the demo dataset."""

FINE = Scanner()
"""Acquisition of the demo dataset."""

_REGION_MM3 = 500 * FINE.voxel_size**3
_LEAD_IN = 4.0
_LEAD_OUT = 12.0


def write_demo_dataset(
    folder: Path, design: PictureDesign = DEMO, *, spacing: float = 4.0, signal_sd: float = 3.5,
    scanner: Scanner = FINE,
) -> Path:
    """Write a raw dataset of participants who look at pictures.

    Voxels of a region in the occipital cortex respond to the Gabor and colour features of the
    pictures. The truth is in ``derivatives/truth``.

    Parameters
    ----------
    folder : Path
        Missing or empty.
    design : PictureDesign
    spacing : float
        Seconds from one picture to the next, without the jitter of up to half a second.
    signal_sd : float
        Standard deviation of the responses over pictures, median over voxels, in percent on the
        scale of nilearn's regressors; it is 1 over trials of one picture.
    scanner : Scanner
        The number of voxels that respond follows from their size.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        If *folder* is not empty.
    """
    study = Study(
        make_folder(folder), "pictures", design.seed, scanner, make_phantom(2),
        n_voxels=round(_REGION_MM3 / scanner.voxel_size**3), signal_sd=signal_sd,
        anatomical=True, permute_labels=design.permute_labels,
    )
    labels = _labels(design.n_participants)
    shared = [f"shared-{number:03d}.png" for number in range(1, design.n_test + 1)]
    own = {
        label: [f"unique-{label}-{number:03d}.png" for number in range(1, design.n_train + 1)]
        for label in labels
    }
    names = [*shared, *(name for label in labels for name in own[label])]
    paths = [write_scene(study.folder / "stimuli" / n, n, seed=design.seed) for n in names]
    vectors = GaborPyramid().encode(paths)
    latents = fit_target_space(vectors, min(16, len(names) - 1)).transform(vectors)
    # Partial whitening: otherwise the first components would dominate the responses.
    latents /= np.sqrt(latents.std(axis=0))
    _write_top(study, labels, "people who look at pictures")
    for label in labels:
        tests = np.concatenate([
            study.rng(label, "order", repeat).permutation(shared)
            for repeat in range(design.n_repeats)
        ])
        rng = study.rng(label, "design")
        runs = _picture_runs(tests, own[label], design.n_runs, rng, spacing)
        _write_participant(study, label, runs, dict(zip(names, latents, strict=True)))
    return study.folder


def _labels(n_participants: int) -> list[str]:
    return [f"{number:02d}" for number in range(1, n_participants + 1)]


COARSE = Scanner(shape=(27, 32, 10), voxel_size=6.3, thermal_sd=2.0, t1w_voxel_size=5.0)
"""Acquisition of the dataset with categories."""

ECHOES = replace(COARSE, echo_times=(0.012, 0.028, 0.044))
"""The same with three echoes."""


def write_echo_dataset(
    folder: Path, *, seed: int = SEED, n_runs: int = 4, scanner: Scanner = ECHOES,
    anatomical: bool = False,
) -> Path:
    """Write a raw multi-echo dataset of one participant with blocks of three categories.

    Besides the responses, T2* on the grid of the first volume is in ``derivatives/truth``.

    Parameters
    ----------
    folder : Path
        Missing or empty.
    seed : int
    n_runs : int
    scanner : Scanner
    anatomical : bool
        Write a T1w image.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        If *folder* is not empty.
    """
    return _write_categories(
        folder, ("face", "house", "tool"), (1, n_runs, 2), seed=seed, scanner=scanner,
        anatomical=anatomical,
    )


def write_category_dataset(
    folder: Path, *, n_participants: int = 2, seed: int = SEED,
    categories: Sequence[str] = ("face", "house", "tool"), n_runs: int = 6, n_blocks: int = 2,
    anatomical: bool = False, permute_labels: bool = False,
) -> Path:
    """Write a small raw dataset with blocks of categories.

    Blocks of eight events of 2 s each are 8 s apart; ``trial_type`` is the category and there
    are no picture files. The grid is coarse.

    Parameters
    ----------
    folder : Path
        Absent or empty.
    n_participants : int
    seed : int
    categories : sequence of str
    n_runs : int
    n_blocks : int
        Of each category in each run.
    anatomical : bool
        Write T1w images.
    permute_labels : bool
        See :func:`write_demo_dataset`.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        When *folder* holds something already.
    """
    return _write_categories(
        folder, categories, (n_participants, n_runs, n_blocks), seed=seed,
        anatomical=anatomical, permute_labels=permute_labels,
    )


def _write_categories(
    folder: Path, categories: Sequence[str], numbers: tuple[int, int, int], *, seed: int,
    scanner: Scanner = COARSE, anatomical: bool = False, permute_labels: bool = False,
) -> Path:
    study = Study(
        make_folder(folder), "categories", seed, scanner, make_phantom(4), n_voxels=120,
        signal_sd=0.6, anatomical=anatomical, permute_labels=permute_labels,
    )
    n_participants, n_runs, n_blocks = numbers
    labels = _labels(n_participants)
    latents = dict(zip(categories, np.eye(len(categories)), strict=True))
    _write_top(study, labels, "people who look at blocks of pictures of one category")
    for label in labels:
        rng = study.rng(label, "design")
        runs = [_block_run(list(categories) * n_blocks, rng) for _ in range(n_runs)]
        _write_participant(study, label, runs, latents)
    return study.folder


def _write_top(study: Study, labels: list[str], who: str) -> None:
    name = f"Simulated fMRI of {who}"
    describe(study.folder, name, "raw")
    describe(study.truth, f"{name}: the truth", "derivative")
    write_text(study.folder / "README.md", (
        f"# {name}\n\nNobody was scanned. Anatomy, movement, noise and responses are computed from "
        f"the seed {study.seed}.\nThe anatomy follows the ICBM 152 template. What a decoder "
        "should find is in `derivatives/truth`.\n"
    ))
    rng = study.rng("participants")
    save_table(
        study.folder / "participants.tsv",
        pd.DataFrame({
            "participant_id": [f"sub-{label}" for label in labels],
            "age": rng.integers(20, 40, len(labels)),
            "sex": rng.choice(["F", "M"], len(labels)),
        }),
        {
            "age": {"Description": "Age, invented", "Units": "year"},
            "sex": {"Description": "Sex, invented", "Levels": {"F": "female", "M": "male"}},
        },
    )


def _picture_runs(
    tests: np.ndarray, own: list[str], n_runs: int, rng: np.random.Generator, spacing: float
) -> list[pd.DataFrame]:
    """Spread the trials over runs, repeats far apart, with two blank trials in each run."""
    runs = []
    shuffled = rng.permutation(own)
    for some, others in zip(
        np.array_split(tests, n_runs), np.array_split(shuffled, n_runs), strict=True
    ):
        names = rng.permutation(np.concatenate([some, others]))
        slots = np.sort(rng.choice(len(names) + 2, len(names), replace=False))
        onsets = np.round(_LEAD_IN + spacing * slots + rng.uniform(0, 0.5, len(names)), 3)
        runs.append(pd.DataFrame({
            "onset": onsets, "duration": 2.0, "trial_type": "picture",
            "stim_file": names, "shown": names,
        }))
    return runs


def _block_run(categories: list[str], rng: np.random.Generator) -> pd.DataFrame:
    order = np.repeat(rng.permutation(categories), 8)
    slots = np.arange(len(order))
    return pd.DataFrame({
        "onset": _LEAD_IN + 2.0 * slots + 8.0 * (slots // 8), "duration": 2.0,
        "trial_type": order, "shown": order,
    })


def _write_participant(
    study: Study, label: str, runs: list[pd.DataFrame], latents: dict[str, np.ndarray]
) -> None:
    scene = _draw_scene(study, label)
    if study.anatomical:
        write_t1w(study, scene, label)
    cortex = draw_cortex(
        scene, n_features=len(next(iter(latents.values()))), n_voxels=study.n_voxels,
        signal_sd=study.signal_sd, seed=study.seed, person=label,
    )
    write_region(study, cortex, label)
    if len(study.scanner.echo_times) > 1:
        write_t2star(study, scene, label)
    rng = study.rng(label, "scan")
    position = {name: row for row, name in enumerate(latents)}
    trials = [_trials_of(run) for run in runs]
    shown = np.concatenate([table["shown"].to_numpy(dtype=str) for table in trials])
    if study.permute_labels:
        shown = rng.permutation(shown)
    rows = np.array([position[name] for name in shown])
    betas = cortex.respond(np.stack(list(latents.values())), rows, rng)
    stops = np.cumsum([len(table) for table in trials])
    start = np.zeros(6)
    for number, (events, table, part) in enumerate(
        zip(runs, trials, np.split(betas, stops[:-1]), strict=True), start=1
    ):
        last = events["onset"].iloc[-1] + events["duration"].iloc[-1]
        n_volumes = int(np.ceil((last + _LEAD_OUT) / study.scanner.t_r))
        motion = draw_motion(n_volumes, start, rng)
        timing = list(zip(table["onset"], table["duration"], strict=True))
        echoes = simulate_run(scene, timing, part, cortex.mask, motion, rng)
        write_run(study, label, number, echoes, events)
        write_run_truth(study, label, number, motion, table.assign(betas=list(part)))
        start = motion[-1] + rng.normal(0, 1, 6) * [0.1, 0.1, 0.2, 0.002, 0.001, 0.001]


def _trials_of(events: pd.DataFrame) -> pd.DataFrame:
    """Merge events of one block, which follow one another without gap, into one trial."""
    end = (events["onset"] + events["duration"]).shift()
    same = (events["shown"] == events["shown"].shift()) & np.isclose(events["onset"], end)
    groups = events.groupby((~same).cumsum(), sort=False)
    return groups.agg(
        onset=("onset", "first"), duration=("duration", "sum"), shown=("shown", "first")
    )


def _draw_scene(study: Study, label: str) -> Scene:
    rng = study.rng(label, "anatomy")
    head = draw_head(study.phantom, rng)
    lying = rng.normal(0, 1, 6) * [2, 2, 2, 0.06, 0.03, 0.05]
    points = grid_points(study.scanner.shape, study.scanner.affine)
    coil = smooth_bias(points, 0.25, rng).reshape(study.scanner.shape)
    return Scene(head, study.scanner, rigid_matrix(lying, np.zeros(3)), coil.astype(np.float32))
