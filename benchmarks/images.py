"""Retrieval and reconstruction of photographs by simulated participants.

    python benchmarks/images.py                       all tables, seeds 1 to 3
    python benchmarks/images.py --sheet sheet.png     and the pictures of the first seed
    python benchmarks/images.py --prior               and the diffusion prior beside regression
    python benchmarks/images.py throughput            images per second of the built-in encoder
    python benchmarks/images.py --encoder efficientnet-lite0 --voxels both
                                                      another encoder, and what voxels respond to

Photographs that scikit-image, scikit-learn and matplotlib ship are cut into crops, and painted
scenes are added. Photographs whose crops are tested are in no training set. Voxels respond to the
principal components of features of the pictures: Gabor and colour (``gabor``), those of a network
(``efficientnet-lite0``), or both in equal parts (``both``). The model is pretrained on two
participants, and a third one is decoded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from printing import table

from bids_decoder.config import Evaluation, Network, Troi
from bids_decoder.evaluation.gallery import nearest
from bids_decoder.evaluation.reconstruction import (
    FeatureSpace,
    resize,
    score_reconstructions,
)
from bids_decoder.evaluation.retrieval import Embedded, average_repeats, score_retrieval
from bids_decoder.evaluation.similarity import cosine_similarity
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.models.store import Model
from bids_decoder.seeds import derive_seed
from bids_decoder.simulate.images import make_scene
from bids_decoder.simulate.responses import (
    Pictures,
    SimulatedTrials,
    make_world,
    simulate_viewer,
)
from bids_decoder.simulate.world import ResponseSettings
from bids_decoder.stimuli.encoders import choose_encoder, load_encoder
from bids_decoder.stimuli.perceptual import find_networks, load_features
from bids_decoder.stimuli.pyramid import GaborPyramid
from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture, to_picture
from bids_decoder.stimuli.targets import fit_target_space
from bids_decoder.stimuli.weights import PACKAGED
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.identification import row_cosines
from bids_decoder.training.painter import fit_painter
from bids_decoder.training.pretrain import LatentScale
from bids_decoder.training.prior import restore_prior, sample_prior
from bids_decoder.training.selectors import reselect
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Person, Targets, VoxelGrid

SCORES = Evaluation(n_permutations=499)
EDGE = 128
RESPONSES = ResponseSettings(
    shape=(24, 24, 20), n_roi=800, median_ncsnr=0.5, n_features=48, n_embedding=48, own=0.0
)
FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}
PHOTOGRAPHS = (
    "astronaut.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "brick.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "retina.jpg", "rocket.jpg", "china.jpg", "flower.jpg",
    "grace_hopper.jpg",
)
N_TEST_PHOTOGRAPHS = 6
ENCODERS = ("gabor", PACKAGED)


def photographs() -> dict[str, Image.Image]:
    """Find the photographs that the installed packages ship."""
    roots = [
        Path(find_spec(name).origin).parent / folder for name, folder in FOLDERS.items()
        if find_spec(name) is not None
    ]
    paths = [root / name for name in PHOTOGRAPHS for root in roots if (root / name).is_file()]
    return {path.name: Image.open(path).convert("RGB") for path in paths}


def crops(photograph: Image.Image, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Cut squares of 30 to 60 % of the shorter edge at random places."""
    for _ in range(n):
        edge = int(min(photograph.size) * rng.uniform(0.3, 0.6))
        left, top = (int(rng.integers(size - edge + 1)) for size in photograph.size)
        part = photograph.crop((left, top, left + edge, top + edge))
        yield np.asarray(part.resize((EDGE, EDGE), Image.Resampling.BICUBIC))


@dataclass(frozen=True, eq=False)
class Album:
    """All pictures of one seed.

    Parameters
    ----------
    pixels : dict of str to ndarray of uint8, shape (128, 128, 3)
    train : list of list of str
        Names by participant.
    test : list of str
    """

    pixels: dict[str, np.ndarray]
    train: list[list[str]]
    test: list[str]


def make_album(seed: int, n_people: int, n_train: int, n_test: int) -> Album:
    """Draw pictures: half of the training and two thirds of the test pictures are crops."""
    rng = np.random.default_rng(derive_seed(seed, "album"))
    found = photographs()
    names = rng.permutation(sorted(found))
    held, rest = names[:N_TEST_PHOTOGRAPHS], names[N_TEST_PHOTOGRAPHS:]
    pixels: dict[str, np.ndarray] = {}

    def add(prefix: str, sources: np.ndarray, n_crops: int, n_scenes: int) -> list[str]:
        added = []
        for number in range(n_crops):
            name = f"{prefix}-{number:04d}-{sources[number % len(sources)]}"
            pixels[name] = next(crops(found[sources[number % len(sources)]], 1, rng))
            added.append(name)
        for number in range(n_scenes):
            name = f"{prefix}-{number:04d}-scene"
            pixels[name] = make_scene(derive_seed(seed, name), EDGE)
            added.append(name)
        return added

    n_crops = 2 * n_test // 3
    test = add("test", held, n_crops, n_test - n_crops)
    half = n_train // 2
    train = [add(f"p{person}", rest, half, n_train - half) for person in range(1, n_people + 1)]
    return Album(pixels, [list(rng.permutation(part)) for part in train], test)


@dataclass(frozen=True, eq=False)
class Case:
    """A decoded person: what a benchmark needs of them."""

    album: Album
    train: Person
    test: Person
    targets: Targets
    pretrained: Model
    model: Model
    voxel_weights: np.ndarray


def encode(album: Album, encoder: str) -> dict[str, np.ndarray]:
    """Describe every picture by an encoder, or by both with the same variance."""
    if encoder == "both":
        parts = [encode(album, name) for name in ENCODERS]
        spreads = [np.stack(list(part.values())).std(axis=0) for part in parts]
        scales = [1 / np.sqrt((spread**2).sum()) for spread in spreads]
        return {
            name: np.concatenate([p[name] * s for p, s in zip(parts, scales, strict=True)])
            for name in album.pixels
        }
    names = list(album.pixels)
    if encoder == PACKAGED:
        network = load_encoder(choose_encoder(PACKAGED))
        pictures = [Image.fromarray(album.pixels[name]) for name in names]
        vectors = np.concatenate([
            network.encode_pictures(pictures[start : start + 32])
            for start in range(0, len(pictures), 32)
        ])
        return dict(zip(names, vectors, strict=True))
    pyramid = GaborPyramid()
    return {
        name: pyramid.encode_array(album.pixels[name].astype(np.float32) / 255) for name in names
    }


def make_case(seed: int, options: argparse.Namespace) -> Case:
    """Simulate three participants, pretrain on two, fit the decoder of the third."""
    album = make_album(seed, 3, options.trials, options.tests)
    vectors, tuning = encode(album, options.encoder), encode(album, options.voxels)
    shown = [name for names in album.train for name in names]
    space = fit_target_space(np.stack([tuning[n] for n in shown]), RESPONSES.n_features)
    spread = space.transform(np.stack([tuning[n] for n in shown])).std(axis=0)
    world = make_world(RESPONSES, seed)

    def pictures(names: list[str]) -> Pictures:
        latents = space.transform(np.stack([tuning[n] for n in names])) / spread
        return Pictures(np.array(names), latents, latents)

    ids = tuple(sorted(vectors))
    targets = Targets(ids, np.stack([vectors[n] for n in ids]).astype(np.float32), "image")
    people = []
    for number, names in enumerate(album.train, start=1):
        truth = simulate_viewer(
            world, number, pictures(names), pictures(album.test), n_repeats=2
        )
        people.append(split_person(str(number), truth.grid, truth.train, truth.test, targets))
    context = FitContext(Network(prior=options.prior), Troi(), seed, "cpu")
    decoder, (train, test) = TroiDecoder(), people[-1]
    pretrained = decoder.pretrain([person for person, _ in people[:-1]], targets, context)
    selection = decoder.select(train, targets, pretrained, context)
    model = decoder.adapt(train, targets, selection, pretrained, context)
    return Case(album, train, test, targets, pretrained, model, selection.weights)


def split_person(
    label: str, grid: VoxelGrid, trained: SimulatedTrials, tested: SimulatedTrials,
    targets: Targets,
) -> tuple[Person, Person]:
    """Scale responses with statistics of training trials; give training and test trials."""
    tables = [
        pd.DataFrame({
            "trial": np.arange(1, len(part.images) + 1),
            "run_group": [f"{s}-{r}" for s, r in zip(part.sessions, part.runs, strict=True)],
            "session": part.sessions.astype(str), "stimulus": part.images, "split": split,
        })
        for part, split in ((trained, "train"), (tested, "test"))
    ]
    trials = pd.concat(tables, ignore_index=True)
    is_train = (trials["split"] == "train").to_numpy()
    betas, _ = zscore_betas(
        np.concatenate([trained.betas, tested.betas]), trials["session"].to_numpy(str), is_train
    )
    rows = targets.rows_of(trials["stimulus"].to_numpy(str))
    person = Person(label, grid, betas, trials, rows)
    return person.subset(is_train), person.subset(~is_train)


def retrieval_rows(seed: int, case: Case) -> list[tuple]:
    """Score retrieval among the test pictures."""
    decoder = TroiDecoder()
    trials = Embedded(
        decoder.predict(case.model, case.test.betas), case.test.trials["stimulus"].to_numpy(str),
        case.test.run_groups, decoder.gallery(case.model, case.targets),
        np.array(case.targets.ids),
    )
    metrics, *_ = score_retrieval(trials, SCORES, np.random.default_rng(seed))
    wanted = metrics[
        (metrics["metric"] == "top1") & (metrics["unit"] == "averaged")
        & (metrics["similarity"] != "centred")
    ]
    return [
        (seed, f"top1 {row.direction} {row.similarity}", f"{row.value:.3f}",
         f"{row.ci_low:.3f} to {row.ci_high:.3f}", f"chance {row.chance:.3f}")
        for row in wanted.itertuples()
    ]


def paint(case: Case) -> tuple[np.ndarray, dict[str, list[np.ndarray]], list[np.ndarray]]:
    """Reconstruct every test picture from the mean over its repeats."""
    names, seen = np.unique(case.test.trials["stimulus"].to_numpy(str), return_inverse=True)
    shown = case.train.trials["stimulus"].to_numpy(str)
    betas = [case.test.betas[seen == i].mean(axis=0) for i in range(len(names))]
    betas.append(np.asarray(case.train.betas).mean(axis=0))
    pixels = {name: case.album.pixels[name].astype(np.float32) / 255
              for name in (*names, *shown)}
    small = np.stack([resize(pixels[name], 64) for name in shown])
    decoder = TroiDecoder()
    known = decoder.gallery(case.model, case.targets)[case.train.target_rows]
    painter = fit_painter(
        case.train, case.voxel_weights, small, np.arange(len(shown)),
        lambda rows: reselect(
            case.train.subset(rows), known[rows], Troi(), np.count_nonzero(case.voxel_weights), 0
        ),
    )
    made = painter.paint(np.stack(betas))
    decoded = average_repeats(decoder.predict(case.model, case.test.betas), seen)
    nearest = shown[cosine_similarity(decoded, known).argmax(axis=1)]
    painted = {
        "reconstruction": list(made[:-1]), "mean-brain": [made[-1]] * len(names),
        "nearest-training-image": [pixels[name] for name in nearest],
    }
    return names, painted, [pixels[name] for name in names]


def reconstruction_rows(seed: int, case: Case, sheet: Path | None) -> list[tuple]:
    """Score reconstructions beside the three controls; draw the first seed."""
    names, painted, seen = paint(case)
    spaces = [
        FeatureSpace("pixels", lambda p: np.stack([resize(x, 32).ravel() for x in p])),
        FeatureSpace("gabor", _gabor, distance=True),
        *(FeatureSpace(s.name, s.extract) for s in load_features(find_networks(None), "cpu")),
    ]
    metrics, _ = score_reconstructions(
        seen, painted, spaces, settings=SCORES, rng=np.random.default_rng(seed)
    )
    if sheet is not None:
        rows = [
            [Tile(to_picture(seen[i]), names[i][10:]),
             *(Tile(to_picture(part[i])) for part in painted.values())]
            for i in range(0, len(names), max(1, len(names) // 14))
        ]
        save_picture(sheet, draw_sheet(rows, ("seen", *painted), 140))
    return [
        (seed, f"{row.metric} {row.features}", row.model, f"{row.value:.3f}",
         f"{row.ci_low:.3f} to {row.ci_high:.3f}", f"{row.field_low:.3f} to {row.field_high:.3f}",
         "" if pd.isna(row.ahead)
         else f"{row.ahead:+.3f} ({row.ahead_low:+.3f} to {row.ahead_high:+.3f})")
        for row in metrics.itertuples()
    ]


def _gabor(pictures: list[np.ndarray]) -> np.ndarray:
    pyramid = GaborPyramid()
    return np.stack([pyramid.encode_array(resize(picture, EDGE)) for picture in pictures])


def prior_rows(seed: int, case: Case) -> list[tuple]:
    """Compare what comes out of the prior with what goes in, by cosine with the true vector."""
    decoder = TroiDecoder()
    decoded = decoder.predict(case.model, case.test.betas)
    true = decoder.gallery(case.model, case.targets)[case.test.target_rows]
    scale = LatentScale(**case.model.card["scale"])
    context = np.repeat(
        scale.context(np.log2([float(case.model.card["n_trials"])])), len(decoded), axis=0
    )
    across = restore_prior(case.pretrained)
    own = restore_prior(case.model)
    given = torch.from_numpy(decoded.astype(np.float32))
    notes = case.pretrained.card["prior"]
    vectors = {
        "decoder's output": decoded,
        "regression": (own.shrunk(given) * own.size).numpy(),
        "one draw, pretrained": sample_prior(across, decoded, context, seed),
        "one draw, stage 2": sample_prior(own, decoded, context, seed),
        "mean of 8 draws, stage 2": sample_prior(own, decoded, context, seed, 8),
    }
    loss = f"{notes['first_loss']:.3f} to {notes['last_loss']:.3f}"
    return [
        (seed, name, f"{row_cosines(values, true).mean():.3f}", loss)
        for name, values in vectors.items()
    ]


def bench_throughput() -> None:
    """Measure the built-in encoder, and search among 10,000 pictures."""
    pictures = [make_scene(seed, EDGE).astype(np.float32) / 255 for seed in range(40)]
    pyramid, started = GaborPyramid(), time.process_time()
    for picture in pictures:
        pyramid.encode_array(picture)
    seconds = time.process_time() - started
    rng = np.random.default_rng(0)
    gallery, queries = rng.standard_normal((10_000, 448)), rng.standard_normal((1000, 448))
    started = time.process_time()
    nearest(queries, gallery, 10)
    table([
        ("what", "CPU s"),
        (f"gabor encoder, {len(pictures)} pictures ({len(pictures) / seconds:.0f} a second)",
         f"{seconds:.2f}"),
        ("10 nearest of 10,000 for 1,000 queries", f"{time.process_time() - started:.2f}"),
    ])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("people", "throughput"), default="people")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=400, help="training trials of each person")
    parser.add_argument("--tests", type=int, default=60, help="test pictures")
    parser.add_argument("--encoder", choices=ENCODERS, default="gabor")
    parser.add_argument("--voxels", choices=(*ENCODERS, "both"), default="gabor")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--prior", action="store_const", const="diffusion", default="none")
    options = parser.parse_args()
    if options.what == "throughput":
        bench_throughput()
        return
    found, painted, priors = [], [], []
    for seed in range(1, options.seeds + 1):
        case = make_case(seed, options)
        found += retrieval_rows(seed, case)
        painted += reconstruction_rows(seed, case, options.sheet if seed == 1 else None)
        priors += prior_rows(seed, case) if options.prior == "diffusion" else []
    table([("seed", "retrieval", "value", "95 % interval", ""), *found])
    table([("seed", "measure", "model", "value", "95 % interval", "as in the field",
            "reconstruction ahead"), *painted])
    if priors:
        table([("seed", "vector", "cosine with the true one", "loss"), *priors])


if __name__ == "__main__":
    main()
