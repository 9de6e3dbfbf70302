"""Peak memory and time by people, trials, voxels and length of targets, with exponents.

    python benchmarks/growth.py                        small sizes, a few seconds for each part
    python benchmarks/growth.py trials targets         these alone
    python benchmarks/growth.py --one 1 27000 15724 425984 --stimuli 9000    one size, part by part
    python benchmarks/growth.py --one 1 3000 4000 512 --parts collect prepare baseline
    python benchmarks/growth.py --one 8 3000 15724 1024 --stimuli 3000 --apart --folder data \
        --parts collect pretrain
    python benchmarks/growth.py --one 8 3000 15724 1024 --apart --folder data --parts decode

Beta series (int16, one image for each run) and a feature table (npz, half precision) of the shape
of NSD are written to a temporary folder, at a fraction of its size. Then, each in a process of its
own as nodes of the program are: ``features`` reads the table; ``collect`` joins the beta series of
all people, one after the other; ``prepare`` z-scores and divides the responses of one; ``pretrain``
trains the shared model on all people, read from disk one at a time; ``decode`` selects voxels, fits
the decoder of the first one with it, and computes its maps; ``baseline`` fits ridge regression to
the same trials (``ridge-all``); ``file`` puts the file of the decoder together; ``reconstruct``
fits the painter of images (64 pixels) to all voxels, and paints and scores the test images, by the
node of the program; images are rows of one HDF5 file, as those of NSD. With ``--apart`` the shared
model is trained on all people but the first. With ``--folder`` data and models are kept there, for
parts that are run later.

Memory is the largest of a process less that of one that does nothing; pages of mapped files are in
it, although the system may drop them. The C library keeps freed memory, as in the processes of the
program; with ``--system-malloc`` it does not. The exponent is the slope of the logarithms: 0 is
flat, 1 grows in proportion.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.analyses.reconstruct.interfaces import ReconstructImages
from bids_decoder.bids.writer import save_table
from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.baselines import WHOLE, run_baselines
from bids_decoder.interfaces.fitted import collect_fitted
from bids_decoder.interfaces.fitting import save_selection
from bids_decoder.interfaces.pictures import ReconstructionPlan
from bids_decoder.interfaces.responses import collect_responses, load_person
from bids_decoder.interfaces.targets import read_targets, save_targets
from bids_decoder.models.store import load_model, save_model
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.fitted_parts import Fit
from bids_decoder.training.selectors import Selection
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets
from bids_decoder.workflows.worker import keep_memory

PARTS = (
    "features", "collect", "prepare", "pretrain", "decode", "baseline", "file", "reconstruct"
)
RUN_LENGTH, HOUR, N_LATENT = 62, 750, 16
BASE = {"people": 1, "trials": 744, "voxels": 800, "targets": 512}
SIZES = {
    "people": (1, 2, 4), "trials": (372, 744, 1488), "voxels": (400, 800, 1600),
    "targets": (10_000, 20_000, 40_000),
}
"""Sizes of one kind, with those of the others as in :data:`BASE`."""

N_EPOCHS = 2
"""Of the trunk: the program chooses up to about 1,500 steps, whatever the size of the data."""

MODEL, FITTED, IMAGES = "model.safetensors", "fitted.safetensors", "images.hdf5"
IMAGE_EDGE, IMAGE_CELLS = 64, 4

EMPTY = "empty"
"""The process that only imports."""


def make_data(folder: Path, sizes: dict[str, int], n_stimuli: int) -> None:
    """Write feature table and beta series; the responses carry some of the features."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((n_stimuli, N_LATENT)).astype(np.float32)
    mixing = rng.standard_normal((N_LATENT, sizes["targets"])).astype(np.float32)
    vectors = np.empty((n_stimuli, sizes["targets"]), dtype=np.float16)
    for start in range(0, n_stimuli, 64):
        rows = slice(start, start + 64)
        noise = rng.standard_normal(vectors[rows].shape, dtype=np.float32)
        vectors[rows] = latents[rows] @ mixing + noise
    np.savez(folder / "features.npz", ids=[f"s{n}" for n in range(n_stimuli)], vectors=vectors)
    _make_images(folder / IMAGES, latents)
    for number in range(sizes["people"]):
        _make_person(folder / f"{number:02d}", sizes, latents, rng)


def _make_images(path: Path, latents: np.ndarray) -> None:
    """Write an image of each stimulus: a grey level in each of 4 x 4 cells for each latent."""
    scale = IMAGE_EDGE // IMAGE_CELLS
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (len(latents), IMAGE_EDGE, IMAGE_EDGE, 3), "u1")
        for row, own in enumerate(latents):
            cells = np.clip(128 + 40 * own, 0, 255).reshape(IMAGE_CELLS, IMAGE_CELLS)
            images[row] = np.kron(cells, np.ones((scale, scale)))[..., None]


def _make_person(
    folder: Path, sizes: dict[str, int], latents: np.ndarray, rng: np.random.Generator
) -> None:
    """Write runs of 62 trials, 12 of them in a session; a tenth of the stimuli are test."""
    folder.mkdir()
    n_trials, n_voxels = sizes["trials"], sizes["voxels"]
    edge = int(np.ceil(n_voxels ** (1 / 3)))
    shown = rng.permutation(n_trials) % len(latents)
    tuning = rng.standard_normal((N_LATENT, n_voxels)).astype(np.float32)
    tuning[:, n_voxels // 4:] = 0
    for run, start in enumerate(range(0, n_trials, RUN_LENGTH)):
        own = shown[start:start + RUN_LENGTH]
        values = rng.standard_normal((len(own), n_voxels), dtype=np.float32)
        values += 0.2 * latents[own] @ tuning
        name = f"sub-{folder.name}_ses-{run // 12:02d}_run-{run % 12:02d}_space-MNI152"
        # A cube, of which the last voxels are constant and thus outside of the mask.
        volumes = np.zeros((edge**3, len(own)), dtype=np.int16)
        volumes[:n_voxels] = np.rint(1000 * values.T)
        volumes = volumes.reshape(edge, edge, edge, -1)
        nib.save(nib.Nifti1Image(volumes, np.eye(4)), folder / f"{name}_betas.nii")
        save_table(folder / f"{name}_trials.tsv", pd.DataFrame({
            "run_group": f"ses-{run // 12:02d}_run-{run % 12:02d}", "session": f"{run // 12:02d}",
            "trial": np.arange(len(own)), "stimulus": [f"s{number}" for number in own],
            "label": "n/a", "excluded": "False", "fold": "n/a",
            "split": ["test" if number % 10 == 0 else "train" for number in own],
        }))


class SourcePeople:
    """Training trials of all people, read when they are needed."""

    def __init__(self, folder: Path, targets: Targets, labels: list[str]) -> None:
        self.folder, self.targets, self.labels = folder, targets, labels

    def __iter__(self):
        """Yield one participant at a time."""
        for label in self.labels:
            yield load(self.folder, label, self.targets)[0]


def load(folder: Path, label: str, targets: Targets) -> tuple[Person, Person]:
    """Return the training and the test trials of a participant."""
    return load_person(folder / label, label, targets, fold=None, normalise="session")


def run_part(part: str, folder: Path, apart: bool = False) -> None:
    """Run one part on the data in a folder; *apart*: no trial of the first is pretrained on."""
    if part == "features":
        ids = np.load(folder / "features.npz")["ids"].tolist()
        save_targets(folder / "targets.npz", make_targets(
            "features", ids, features=folder / "features.npz"
        ))
        return
    targets = read_targets(folder / "targets.npz")
    people = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if part == "collect":
        for own in (folder / label for label in people):
            collect_responses(
                sorted(own.glob("*_betas.nii")), sorted(own.glob("*_trials.tsv")), [], own
            )
        return
    context = FitContext(Network(pretrain_epochs=N_EPOCHS), Troi(), 0, "cpu")
    decoder = TroiDecoder()
    if part == "prepare":
        load(folder, people[0], targets)
    elif part == "pretrain":
        sources = SourcePeople(folder, targets, people[1:] if apart else people)
        model = decoder.pretrain(sources, targets, context)
        save_model(folder / MODEL, model)
    elif part == "decode":
        train, test = load(folder, people[0], targets)
        model = load_model(folder / MODEL)
        selection = decoder.select(train, targets, model, context)
        fitted = decoder.adapt(train, targets, selection, model, context)
        decoder.explain(fitted, train, targets)
        np.save(folder / "predicted.npy", decoder.predict(fitted, test.betas))
        save_model(folder / FITTED, fitted)
    elif part == "baseline":
        train, test = load(folder, people[0], targets)
        mask = np.ones(train.grid.n_voxels, dtype=bool)
        found = run_baselines(train, test, targets, mask, seed=0, names=[WHOLE])
        np.save(folder / "baseline.npy", found[WHOLE])
    elif part == "file":
        fit = Fit(load_model(folder / FITTED), targets, [])
        collect_fitted(fit, folder / people[0], "session")
    else:
        reconstruct(folder, people[0], targets, context)


def reconstruct(folder: Path, label: str, targets: Targets, context: FitContext) -> None:
    """Reconstruct the test images of a participant, from all voxels."""
    ones = np.ones(load(folder, label, targets)[0].grid.n_voxels, dtype=np.float32)
    selection = save_selection(folder / "all.npz", Selection(ones > 0, ones, ones, {}))
    ReconstructImages(
        network=asdict(context.network), troi=asdict(context.troi),
        volumes=asdict(context.volumes), seed=0, decoder_key="", folder=str(folder / label),
        participant=label, targets_file=str(folder / "targets.npz"), folds=[0],
        selection_files=[str(selection)], model_files=[str(folder / FITTED)],
        whole_selection_file=str(selection), whole_model_file=str(folder / FITTED),
        images={name: str(folder / IMAGES / "images" / name[1:]) for name in targets.ids},
        plan=asdict(ReconstructionPlan("ridge", IMAGE_EDGE, 0, 0.0)),
        evaluation=asdict(Evaluation()),
    ).run(cwd=str(folder / label))


def measure(
    part: str, folder: Path, apart: bool = False, keeps: bool = True
) -> tuple[float, float]:
    """Return CPU seconds and peak memory in MB of one part, in a process of its own."""
    # Forked, so that libraries are imported once for all parts and sizes.
    import_module("lightning_fabric")  # otherwise at the first training
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(part, folder, apart, keeps, sender))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def _report(part: str, folder: Path, apart: bool, keeps: bool, sender: Connection) -> None:
    if keeps:
        keep_memory()
    started = time.process_time()
    if part != EMPTY:
        run_part(part, folder, apart)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    sender.send((time.process_time() - started, peak))


def bench(
    sizes: dict[str, int], n_stimuli: int, parts: Sequence[str] = PARTS[1:], *,
    apart: bool = False, kept: Path | None = None, keeps: bool = True,
) -> Iterator[tuple[str, float, float]]:
    """Yield parts, their CPU seconds, and their peak memory above that of imports, in MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = kept or Path(name)
        folder.mkdir(exist_ok=True)
        is_new = not any(folder.iterdir())
        if is_new:
            make_data(folder, sizes, n_stimuli)
        empty = measure(EMPTY, folder)[1]
        for part in (*(["features"] if is_new else []), *parts):
            seconds, memory = measure(part, folder, apart, keeps)
            yield part, seconds, max(memory - empty, 1.0)


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    """Return the slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def grow(kind: str) -> None:
    """Print the parts at all sizes of one kind, and the exponents."""
    found = [list(bench({**BASE, kind: size}, 500)) for size in SIZES[kind]]
    for number, part in enumerate(PARTS):
        seconds, memory = ([one[number][place] for one in found] for place in (1, 2))
        cells = [kind, part, *(
            f"{s:.1f} s, {m:.0f} MB" for s, m in zip(seconds, memory, strict=True)
        )]
        powers = [f"{exponent(SIZES[kind], values):.2f}" for values in (seconds, memory)]
        print("| " + " | ".join([*cells, *powers]) + " |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", help=f"some of: {', '.join(SIZES)}")
    parser.add_argument("--one", nargs=4, type=int, metavar=tuple(map(str.upper, SIZES)))
    parser.add_argument("--stimuli", type=int, default=500)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[1:])
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--system-malloc", action="store_true")
    given = parser.parse_args()
    if given.one:
        sizes = dict(zip(SIZES, given.one, strict=True))
        for part, seconds, memory in bench(
            sizes, given.stimuli, given.parts, apart=given.apart, kept=given.folder,
            keeps=not given.system_malloc,
        ):
            print(f"| {part} | {seconds:.1f} s | {memory:.0f} MB |", flush=True)
    else:
        print("| what grows | part | small | middle | large | time | memory |")
        print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        for kind in given.kinds or SIZES:
            grow(kind)


if __name__ == "__main__":
    main()
