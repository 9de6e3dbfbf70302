"""How well and how fast copies of pictures are found.

    python benchmarks/overlap.py                   false positives and sensitivity, small sets
    python benchmarks/overlap.py speed             73,000 JPEGs, made in a temporary folder

Different pictures are painted scenes, photographs that scikit-image and scikit-learn ship and
crops of these that do not overlap, faces, digits, letters, gratings and noise. Copies are rescaled,
re-encoded, or changed a little.
"""

from __future__ import annotations

import argparse
import io
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import skimage
import sklearn.datasets
from PIL import Image, ImageDraw, ImageFont

from bids_decoder.simulate.images import make_scene
from bids_decoder.stimuli.duplicates import equal_pictures, near_pictures
from bids_decoder.stimuli.signatures import PictureSignatures

N_PICTURES = 73_000
N_COPIES = 500
CROP = 128


def photographs() -> Iterator[tuple[str, Image.Image]]:
    """Photographs of installed packages, and crops of them that are not empty."""
    folders = (Path(skimage.__file__).parent / "data",
               Path(sklearn.datasets.__file__).parent / "images")
    for path in sorted(p for folder in folders for p in folder.glob("*.[pj][np]g")):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        # Two pairs of these files are the same picture, or views of the same place.
        if min(picture.size) < CROP or "chessboard_GRAY" in path.name:
            continue
        if path.stem != "motorcycle_right":
            yield path.stem, picture
        corners = itertools.product(
            range(0, picture.width - CROP + 1, CROP), range(0, picture.height - CROP + 1, CROP)
        )
        for x, y in corners:
            crop = picture.crop((x, y, x + CROP, y + CROP))
            if np.asarray(crop).std() > 2 and picture.size != crop.size:
                yield f"{path.stem}-{x}-{y}", crop


def drawn() -> Iterator[tuple[str, Image.Image]]:
    """Faces, digits, letters, gratings and noise: small differences, plain backgrounds."""
    faces = np.load(Path(skimage.__file__).parent / "data" / "lfw_subset.npy")[:100]
    for number, face in enumerate(faces):
        yield f"face-{number}", Image.fromarray(np.uint8(255 * face)).resize((100, 100))
    for number, digit in enumerate(sklearn.datasets.load_digits().images[:500]):
        yield f"digit-{number}", Image.fromarray(np.uint8(15 * digit)).resize((96, 96), 0)
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghijklmnqrtuy0123456789":
        picture = Image.new("L", (256, 256), 128)
        font = ImageFont.load_default(120)
        ImageDraw.Draw(picture).text((80, 60), letter, fill=0, font=font)
        yield f"letter-{letter}{letter.isupper()}", picture
    y, x = (np.mgrid[:128, :128] - 64) / 128
    for contrast, angle, frequency, phase in itertools.product(
        (0.1, 0.3, 1.0), range(0, 180, 30), (2, 4, 8, 16), (0, np.pi / 2)
    ):
        along = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle))
        wave = np.cos(2 * np.pi * frequency * along + phase) * np.exp(-(x**2 + y**2) / 0.045)
        name = f"grating-{contrast}-{angle}-{frequency}-{phase:.0f}"
        yield name, Image.fromarray(np.uint8(np.clip(128 + 127 * contrast * wave, 0, 255)))
    rng = np.random.default_rng(0)
    for number in range(60):
        yield f"noise-{number}", Image.fromarray(rng.integers(0, 256, (128, 128), np.uint8))


def encoded(picture: Image.Image, kind: str, **options: int) -> Image.Image:
    """Write a picture in another format and read it back."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    """Rescale a picture."""
    size = tuple(max(1, round(factor * edge)) for edge in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)


def cropped(picture: Image.Image, share: float) -> Image.Image:
    """Cut off a margin."""
    x, y = (round(share * edge) for edge in picture.size)
    return picture.crop((x, y, picture.width - x, picture.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 90": lambda p: encoded(p, "JPEG", quality=90),
    "JPEG 50": lambda p: encoded(p, "JPEG", quality=50),
    "WebP 80": lambda p: encoded(p, "WEBP", quality=80),
    "GIF": lambda p: encoded(p, "GIF"),
    "x 0.5": lambda p: scaled(p, 0.5),
    "x 2": lambda p: scaled(p, 2.0),
    "x 0.7, JPEG 75": lambda p: encoded(scaled(p, 0.7), "JPEG", quality=75),
    "brighter by 10 %": lambda p: p.point(lambda level: min(255, 1.1 * level)),
    "margin of 1 % cut": lambda p: cropped(p, 0.01),
    "margin of 3 % cut": lambda p: cropped(p, 0.03),
}


def quality(folder: Path) -> None:
    """Print false positives among different pictures, and the share of copies that is found."""
    scenes = ((f"scene-{s}", Image.fromarray(make_scene(s, 96))) for s in range(600))
    natural = dict(itertools.chain(scenes, photographs()))
    pictures = {**natural, **dict(drawn())}
    paths = {name: write(picture, folder / f"{name}.png") for name, picture in pictures.items()}
    signatures = PictureSignatures().of(paths)
    equal = equal_pictures(signatures)
    twins = {name for group in equal for name in group[1:]}
    distinct = {name: s for name, s in signatures.items() if name not in twins}
    found = near_pictures(distinct, paths)
    n_natural = len(distinct.keys() & natural.keys())
    print(f"{len(distinct)} different pictures ({n_natural} natural or painted; {len(equal)} equal "
          f"groups left out): {len(found)} pairs reported of {len(distinct) ** 2 // 2}")
    for pair in found[:20]:
        print(f"  {pair.first} {pair.second} {pair.cosine}")
    chosen = [name for name in sorted(distinct) if name in natural][::3]
    for title, change in CHANGES.items():
        copies = {f"{name}~": write(change(pictures[name].convert("RGB")), folder / f"{name}~.png")
                  for name in chosen}
        both = {**{name: paths[name] for name in chosen}, **copies}
        signed = PictureSignatures().of(both)
        alike = {tuple(sorted((p.first, p.second))) for p in near_pictures(signed, both)}
        alike |= {group[:2] for group in equal_pictures(signed)}
        share = np.mean([(name, f"{name}~") in alike for name in chosen])
        print(f"{title:20} {share:6.1%} of {len(chosen)} copies found")


def write(picture: Image.Image, path: Path) -> Path:
    """Write a picture without loss."""
    picture.save(path, compress_level=1)
    return path


def write_some(task: tuple[Path, int, int]) -> None:
    """Write smooth random pictures as small JPEGs."""
    folder, start, stop = task
    for number in range(start, stop):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        coarse.resize((192, 192), Image.Resampling.BICUBIC).save(folder / f"{number:06d}.jpg")


def speed(folder: Path) -> None:
    """Time the audit of many pictures, with some copies among them."""
    step = 1000
    tasks = [(folder, s, min(s + step, N_PICTURES)) for s in range(0, N_PICTURES, step)]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(write_some, tasks))
    paths = {path.name: path for path in sorted(folder.glob("*.jpg"))}
    for number in range(N_COPIES):
        with Image.open(folder / f"{100 * number:06d}.jpg") as picture:
            scaled(picture, 0.7).save(folder / f"{100 * number:06d}-copy.jpg", quality=75)
            picture.save(folder / f"{100 * number:06d}-same.png", compress_level=1)
    paths = {path.name: path for path in sorted(folder.iterdir())}
    size = sum(path.stat().st_size for path in paths.values())
    print(f"{len(paths)} files, {size / 1e9:.2f} GB")
    for call in ("first call", "second call"):
        started, busy = time.monotonic(), time.process_time()
        pictures = PictureSignatures(folder / "signatures.npz")
        signatures = pictures.of(paths)
        signed = time.monotonic()
        equal = equal_pictures(signatures)
        twins = {name for group in equal for name in group[1:]}
        distinct = {name: s for name, s in signatures.items() if name not in twins}
        near = near_pictures(distinct, paths)
        ended, busy = time.monotonic(), time.process_time() - busy
        pictures.save()
        known = {name for pair in near for name in (pair.first, pair.second) if "copy" in name}
        print(f"{call}: looked in {signed - started:.0f} s, compared in {ended - signed:.0f} s, "
              f"{busy:.0f} s of work; "
              f"{len(equal)} equal groups of {N_COPIES}, {len(known)} of {N_COPIES} rescaled "
              f"copies, {len(near)} pairs in all")


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="?", default="quality", choices=("quality", "speed"))
    part = parser.parse_args().part
    with tempfile.TemporaryDirectory() as folder:
        {"quality": quality, "speed": speed}[part](Path(folder))


if __name__ == "__main__":
    main()
