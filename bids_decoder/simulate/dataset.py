"""Small BIDS datasets with known truth: for the demo, for tests, for trying things out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder import __version__
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import ExitCode, UsageError
from bids_decoder.files import atomic_path, write_json, write_text
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.bold import Scanner, Scene, draw_motion, simulate_run
from bids_decoder.simulate.cortex import Cortex, draw_cortex
from bids_decoder.simulate.encoding import Tuning, make_encoded_world
from bids_decoder.simulate.heads import (
    Phantom,
    centred_affine,
    draw_head,
    grid_points,
    magnitude,
    make_phantom,
    moved,
    rigid_matrix,
    smooth_bias,
)
from bids_decoder.simulate.images import write_scene
from bids_decoder.simulate.responses import (
    Pictures,
    ResponseSettings,
    SimulatedPerson,
    SimulatedTrials,
    make_world,
    simulate_person,
    simulate_viewer,
)
from bids_decoder.stimuli.grey import load_grey
from bids_decoder.stimuli.pyramid import GaborPyramid
from bids_decoder.stimuli.targets import fit_target_space
from bids_decoder.trials import TRIAL_COLUMNS, VoxelGrid

_T1W_SHAPE = (72, 92, 80)
_T1W_VOXEL_SIZE = 2.5
_LEAD_IN = 4.0
_LEAD_OUT = 12.0
_MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


@dataclass(frozen=True, eq=False)
class _Study:
    """What the participants of one dataset have in common."""

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
        return self.folder / "derivatives" / "truth"

    def rng(self, *keys: object) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.seed, *keys))


def write_demo_dataset(
    folder: Path,
    *,
    n_participants: int = 4,
    seed: int = 20250201,
    n_runs: int = 4,
    n_train: int = 108,
    n_test: int = 24,
    n_repeats: int = 2,
    permute_labels: bool = False,
    spacing: float = 4.0,
    signal_sd: float = 3.5,
) -> Path:
    """Write a raw dataset of participants who look at pictures.

    Every participant sees training pictures of their own once, and test pictures, which all
    participants share, several times; pictures come about *spacing* seconds apart. Voxels of a
    region in the
    occipital cortex respond to the Gabor and colour features of the pictures. The truth lies
    in ``derivatives/truth``.

    Parameters
    ----------
    folder : Path
        Absent or empty.
    n_participants : int
    seed : int
    n_runs : int
    n_train : int
        Training pictures per participant.
    n_test, n_repeats : int
        Shared pictures, and how often each participant sees them.
    permute_labels : bool
        Let the signal follow the trials in another order than the events files tell, so that
        nothing can be decoded.
    spacing : float
        Seconds from one picture to the next, without the jitter of up to half a second.
    signal_sd : float
        Spread of the responses over pictures, median over voxels, in percent on the scale of
        nilearn's regressors; it is 1 over trials of one picture.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        When *folder* holds something already.
    """
    study = _Study(
        _fresh(folder), "pictures", seed, Scanner(), make_phantom(2), n_voxels=500,
        signal_sd=signal_sd, anatomical=True, permute_labels=permute_labels,
    )
    labels = [f"{number:02d}" for number in range(1, n_participants + 1)]
    shared = [f"shared-{number:03d}.png" for number in range(1, n_test + 1)]
    own = {
        label: [f"unique-{label}-{number:03d}.png" for number in range(1, n_train + 1)]
        for label in labels
    }
    names = [*shared, *(name for label in labels for name in own[label])]
    paths = [write_scene(study.folder / "stimuli" / name, name, seed=seed) for name in names]
    vectors = GaborPyramid().encode(paths)
    latents = fit_target_space(vectors, min(16, len(names) - 1)).transform(vectors)
    # Halfway to white: the first components would leave the others little to say.
    latents /= np.sqrt(latents.std(axis=0))
    _write_top(study, labels, "people who look at pictures")
    for label in labels:
        tests = np.concatenate([
            study.rng(label, "order", repeat).permutation(shared) for repeat in range(n_repeats)
        ])
        runs = _picture_runs(tests, own[label], n_runs, study.rng(label, "design"), spacing)
        _write_participant(study, label, runs, dict(zip(names, latents, strict=True)))
    return study.folder


def write_category_dataset(
    folder: Path,
    *,
    n_participants: int = 2,
    seed: int = 20250201,
    categories: Sequence[str] = ("face", "house", "tool"),
    n_runs: int = 6,
    n_blocks: int = 2,
    anatomical: bool = False,
    permute_labels: bool = False,
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
    coarse = Scanner(shape=(27, 32, 10), voxel_size=6.3, thermal_sd=2.0)
    study = _Study(
        _fresh(folder), "categories", seed, coarse, make_phantom(4), n_voxels=120,
        signal_sd=0.6, anatomical=anatomical, permute_labels=permute_labels,
    )
    labels = [f"{number:02d}" for number in range(1, n_participants + 1)]
    latents = dict(zip(categories, np.eye(len(categories)), strict=True))
    _write_top(study, labels, "people who look at blocks of pictures of one category")
    for label in labels:
        rng = study.rng(label, "design")
        runs = [_block_run(list(categories) * n_blocks, rng) for _ in range(n_runs)]
        _write_participant(study, label, runs, latents)
    return study.folder


def write_betas_dataset(
    folder: Path,
    *,
    n_participants: int = 3,
    seed: int = 20250201,
    n_runs: int = 4,
    n_train: int = 96,
    n_test: int = 12,
    n_repeats: int = 2,
    settings: ResponseSettings | None = None,
    permute_labels: bool = False,
    pictures: bool = False,
) -> Path:
    """Write a derivative dataset of single-trial responses with its feature table.

    Parameters
    ----------
    folder : Path
        Absent or empty. ``features.tsv`` at its top holds the vector of each stimulus.
    n_participants : int
    seed : int
    n_runs : int
    n_train : int
        Training pictures per participant.
    n_test, n_repeats : int
        Shared pictures, and how often each participant sees them.
    settings : ResponseSettings or None
        None takes a small box of reliable voxels.
    permute_labels : bool
        Shuffle the stimuli of each participant over the trials.
    pictures : bool
        Write scenes to ``stimuli/``, and let responses follow their Gabor and colour features.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        When *folder* holds something already.
    """
    folder = _fresh(folder)
    if settings is None:
        settings = ResponseSettings(
            shape=(16, 20, 12), voxel_size=3.0, n_roi=250, median_ncsnr=1.0, n_features=16,
            n_embedding=24, own=0.1, roi_fwhm=5.0,
        )
    world = make_world(settings, seed)
    _describe(folder, "Simulated single-trial responses", "derivative")
    _describe(folder / "derivatives" / "truth", "Where the responses are", "derivative")
    features: dict[str, np.ndarray] = {}
    seen: dict[int, Pictures] = {}
    if pictures:
        seen = _shown_scenes(folder, n_participants, n_train, n_test, settings.n_features, seed)
    for number in range(1, n_participants + 1):
        if pictures:
            person = simulate_viewer(world, number, seen[number], seen[0], n_repeats=n_repeats)
        else:
            person = simulate_person(
                world, number, n_train=n_train, n_test_images=n_test, n_repeats=n_repeats
            )
        rng = np.random.default_rng(derive_seed(seed, number, "order"))
        features.update(_write_betas(folder, person, n_runs, permute_labels, rng))
    table = pd.DataFrame.from_dict(features, orient="index").add_prefix("feature_")
    save_table(folder / "features.tsv", table.rename_axis("stimulus").reset_index())
    return folder


def write_encoding_dataset(
    folder: Path,
    *,
    n_participants: int = 1,
    seed: int = 20250201,
    n_runs: int = 8,
    n_train: int = 240,
    n_test: int = 24,
    n_repeats: int = 3,
    shape: tuple[int, int, int] = (8, 8, 4),
    region: tuple[int, int, int] = (5, 4, 3),
    tuning: Tuning = "energy",
    signal_to_noise: float = 1.5,
    permute_labels: bool = False,
) -> Path:
    """Write a derivative dataset of responses to pictures that lie in ``stimuli``.

    Parameters
    ----------
    folder : Path
        Absent or empty.
    n_participants : int
        They see the same test pictures and training pictures of their own.
    seed : int
    n_runs : int
    n_train : int
        Training pictures per participant.
    n_test, n_repeats : int
        Shared pictures, and how often each participant sees them.
    shape, region : tuple of int
        Box of voxels, and the corner of it that responds.
    tuning : {"energy", "conjunction"}
        See :mod:`bids_decoder.simulate.encoding`.
    signal_to_noise : float
        Of a single trial in responsive voxels.
    permute_labels : bool
        Shuffle the pictures of each participant over the trials.

    Returns
    -------
    Path
        *folder*.

    Raises
    ------
    UsageError
        When *folder* holds something already.
    """
    folder = _fresh(folder)
    _describe(folder, "Simulated responses to pictures", "derivative")
    _describe(folder / "derivatives" / "truth", "Where the responses are", "derivative")
    grid = VoxelGrid(np.ones(shape, dtype=bool), np.diag([3.0, 3.0, 3.0, 1.0]))
    responsive = np.zeros(shape, dtype=bool)
    responsive[:region[0], :region[1], :region[2]] = True
    shared = [f"shared-{number:03d}.png" for number in range(1, n_test + 1)]
    for number in range(1, n_participants + 1):
        own = [f"unique-{number:02d}-{k:03d}.png" for k in range(1, n_train + 1)]
        names = [*own, *shared]
        paths = {name: folder / "stimuli" / name for name in names}
        for name, path in paths.items():
            if not path.is_file():
                write_scene(path, name, seed=seed, size=64)
        world = make_encoded_world(load_grey(paths, 32), responsive.ravel(), tuning, seed)
        rng = np.random.default_rng(derive_seed(seed, number, "encoding"))
        parts = [
            _seen(world.respond(rows, signal_to_noise, rng), np.array(names)[rows])
            for rows in (np.arange(n_train), np.repeat(np.arange(n_train, len(names)), n_repeats))
        ]
        nobody = np.zeros(grid.n_voxels, dtype=bool)
        person = SimulatedPerson(
            number, grid, *parts, responsive.ravel(), nobody, nobody,
            np.where(responsive.ravel(), signal_to_noise, 0.0).astype(np.float32),
        )
        _write_betas(folder, person, n_runs, permute_labels, rng)
    return folder


def _seen(betas: np.ndarray, images: np.ndarray) -> SimulatedTrials:
    """Return trials of one session that have no vectors of their own."""
    ones = np.ones(len(images), dtype=int)
    return SimulatedTrials(betas, ones, ones, images, np.zeros((len(images), 1), np.float32))


def _shown_scenes(
    folder: Path, n_people: int, n_train: int, n_test: int, n_features: int, seed: int
) -> dict[int, Pictures]:
    """Paint what everybody sees: key 0 is the test, other keys are participants."""
    names = {0: [f"shared-{i:05d}.png" for i in range(n_test)]}
    names |= {
        person: [f"person{person}-{i:05d}.png" for i in range(n_train)]
        for person in range(1, n_people + 1)
    }
    everything = [name for listed in names.values() for name in listed]
    paths = [write_scene(folder / "stimuli" / name, name, seed=seed) for name in everything]
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


def _fresh(folder: Path) -> Path:
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder}", "exists and is not an empty folder",
            "name a folder that does not exist yet", ExitCode.CANNOT_CREATE,
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _describe(folder: Path, name: str, kind: str) -> None:
    write_json(folder / "dataset_description.json", {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": kind,
        "License": "CC0",
        "Authors": ["The bids_decoder developers"],
        "GeneratedBy": [{"Name": "bids_decoder", "Version": __version__}],
    })
    if kind == "derivative":
        # Names that the standard does not know yet.
        write_text(folder / ".bidsignore", "\n".join((
            "*_betas.npz", "*_betaseries.*", "*_statmap.*", "*_timeseries.*", "*_trials.*",
            "*_xfm.json", "features.tsv", "",
        )))


def _write_top(study: _Study, labels: list[str], who: str) -> None:
    name = f"Simulated fMRI of {who}"
    _describe(study.folder, name, "raw")
    _describe(study.truth, f"{name}: the truth", "derivative")
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
    study: _Study, label: str, runs: list[pd.DataFrame], latents: dict[str, np.ndarray]
) -> None:
    scene = _draw_scene(study, label)
    if study.anatomical:
        _write_t1w(study, scene, label)
    cortex = draw_cortex(
        scene, n_features=len(next(iter(latents.values()))), n_voxels=study.n_voxels,
        signal_sd=study.signal_sd, seed=study.seed, person=label,
    )
    _write_region(study, cortex, label)
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
        bold = simulate_run(scene, timing, part, cortex.mask, motion, rng)
        _write_run(study, label, number, bold, events)
        _write_run_truth(study, label, number, motion, table.assign(betas=list(part)))
        start = motion[-1] + rng.normal(0, 1, 6) * [0.1, 0.1, 0.2, 0.002, 0.001, 0.001]


def _trials_of(events: pd.DataFrame) -> pd.DataFrame:
    """Merge events of one block, which follow one another without gap, into one trial."""
    end = (events["onset"] + events["duration"]).shift()
    same = (events["shown"] == events["shown"].shift()) & np.isclose(events["onset"], end)
    groups = events.groupby((~same).cumsum(), sort=False)
    return groups.agg(
        onset=("onset", "first"), duration=("duration", "sum"), shown=("shown", "first")
    )


def _draw_scene(study: _Study, label: str) -> Scene:
    rng = study.rng(label, "anatomy")
    head = draw_head(study.phantom, rng)
    lying = rng.normal(0, 1, 6) * [2, 2, 2, 0.06, 0.03, 0.05]
    points = grid_points(study.scanner.shape, study.scanner.affine)
    coil = smooth_bias(points, 0.25, rng).reshape(study.scanner.shape)
    return Scene(head, study.scanner, rigid_matrix(lying, np.zeros(3)), coil.astype(np.float32))


def _write_t1w(study: _Study, scene: Scene, label: str) -> None:
    """Write the T1w image, the head a little elsewhere than during the first BOLD volume."""
    rng = study.rng(label, "T1w")
    shift = rigid_matrix(rng.normal(0, 1, 6) * [1, 1, 2, 0.02, 0.01, 0.01], np.zeros(3))
    affine = centred_affine(_T1W_SHAPE, _T1W_VOXEL_SIZE, np.array([0.0, -16.0, 2.0]))
    points = grid_points(_T1W_SHAPE, affine)
    in_head = moved(points, np.linalg.inv(shift @ scene.pose))
    phantom = study.phantom
    signal = phantom.sample(phantom.t1w, scene.head.to_template(in_head))
    signal *= smooth_bias(points, 0.2, rng)
    values = np.rint(magnitude(signal.astype(np.float32), 12.0, rng)).astype(np.int16)
    save_nifti(
        study.folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz",
        values.reshape(_T1W_SHAPE), affine,
        metadata={"MagneticFieldStrength": 3, "EchoTime": 0.003, "FlipAngle": 9},
    )
    write_json(study.truth / f"sub-{label}" / f"sub-{label}_from-T1w_to-boldref_xfm.json", {
        "Description": "Maps scanner millimetres of the T1w image to those of the same tissue "
        "in the first volume of the first run.",
        "Matrix": np.linalg.inv(shift).tolist(),
    })


def _write_region(study: _Study, cortex: Cortex, label: str) -> None:
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


def _write_run(
    study: _Study, label: str, number: int, bold: np.ndarray, events: pd.DataFrame
) -> None:
    scanner = study.scanner
    func = study.folder / f"sub-{label}" / "func"
    stem = f"sub-{label}_task-{study.task}_run-{number}"
    save_nifti(
        func / f"{stem}_bold.nii.gz", bold, scanner.affine, t_r=scanner.t_r,
        metadata={
            "TaskName": study.task,
            "RepetitionTime": scanner.t_r,
            "SliceTiming": [round(float(time), 6) for time in scanner.slice_times],
            "EchoTime": 0.03,
            "FlipAngle": 77,
            "MagneticFieldStrength": 3,
            "PulseSequenceType": "Simulated gradient echo EPI",
        },
    )
    description = {"trial_type": {"Description": "What is seen"}}
    if "stim_file" in events:
        description["stim_file"] = {"Description": "Picture, relative to stimuli/"}
    save_table(func / f"{stem}_events.tsv", events.drop(columns="shown"), description)


def _write_run_truth(
    study: _Study, label: str, number: int, motion: np.ndarray, trials: pd.DataFrame
) -> None:
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


def _write_betas(
    folder: Path,
    person: SimulatedPerson,
    n_runs: int,
    permute_labels: bool,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Write one participant's runs and region; give the vector of each picture seen."""
    parts = (person.train, person.test)
    betas, images, vectors = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("betas", "images", "embeddings")
    )
    order = rng.permutation(len(images))
    shown = rng.permutation(images[order]) if permute_labels else images[order]
    repeats = pd.Series(shown).groupby(shown).cumcount().to_numpy()
    label, affine = f"{person.seed:02d}", person.grid.affine
    for run, rows in enumerate(np.array_split(np.arange(len(order)), n_runs), start=1):
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
