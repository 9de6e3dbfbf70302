"""T1w to template with known truth: Dice of grey matter, processor time, repeatability.

Run ``python benchmarks/registration.py``. The packaged template at 1 mm is scaled, rotated, warped
by up to 16 mm, shaded and given noise: the T1w image of a participant with known grey matter.
Prints one table: Dice of grey matter on the grids of template and participant, and processor
seconds, for the default settings of antspyx and for this program. Each method runs in its own
process, and that of the program in two, whose transforms must agree bit for bit.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_gm_template
from scipy import ndimage

from bids_decoder.preprocessing.geometry import grid_points, rigid_matrix
from bids_decoder.preprocessing.itk import start_ants, to_ants
from bids_decoder.preprocessing.registration import Picture, register_template, warped_points
from bids_decoder.preprocessing.resampling import Grid, resample_volume
from bids_decoder.preprocessing.templates import PACKAGED, OutputSpace, load_template

SEED = 3
BEND_MM, BEND_WIDTH_MM = 16.0, 12.0
NOISE = 0.02


@dataclass(frozen=True, eq=False)
class Scene:
    """A participant, the template, grey matter of both, and the affine part of the truth."""

    t1w: Picture
    template: Picture
    grey: np.ndarray
    template_grey: np.ndarray
    affine: np.ndarray

    @property
    def grid(self) -> Grid:
        """Voxels of both images."""
        return Grid(self.template.mask.shape, self.template.affine)

    def dice(self, forward: np.ndarray, back: np.ndarray) -> tuple[float, float]:
        """Compare grey matter, drawn through points (n_voxels, 3), on both grids."""
        return (_dice(self._drawn(self.grey, forward), self.template_grey),
                _dice(self._drawn(self.template_grey, back), self.grey))

    def _drawn(self, labels: np.ndarray, points: np.ndarray) -> np.ndarray:
        image = labels.astype(np.uint8)
        return resample_volume(image, self.grid.affine, self.grid, points=points, order=0) > 0


def _dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def make_scene() -> Scene:
    """Bend the template into a participant."""
    template = load_template(OutputSpace(PACKAGED, 1))
    volume = template.volume * template.mask
    grey = load_mni152_gm_template(resolution=1).get_fdata(dtype=np.float32)
    grid = Grid(volume.shape, template.affine)
    rng = np.random.default_rng(0)
    bend = np.stack([
        ndimage.gaussian_filter(rng.standard_normal(grid.shape).astype(np.float32), BEND_WIDTH_MM)
        for _ in range(3)
    ], axis=-1)
    bend *= BEND_MM / np.sqrt((bend**2).sum(axis=-1)).max()
    points = grid_points(grid.shape, grid.affine)
    centre = points[template.mask.ravel()].mean(axis=0)
    scale = np.diag([1.08, 0.94, 1.05, 1.0])
    scale[:3, 3] = centre - scale[:3, :3] @ centre
    affine = rigid_matrix(np.r_[4, -3, 5, np.radians([5, -4, 6])], centre) @ scale
    true = apply_affine(affine, points) + bend.reshape(-1, 3)
    pull = partial(resample_volume, affine=grid.affine, grid=grid, points=true)
    brain = pull(template.mask.astype(np.float32), order=1) > 0.5
    shading = 1 + 0.2 * np.sin(points @ np.array([0.02, 0.015, -0.01])).reshape(grid.shape)
    image = pull(volume) * shading + NOISE * rng.standard_normal(grid.shape)
    t1w = Picture((np.clip(image, 0, None) * brain).astype(np.float32), grid.affine, brain)
    return Scene(t1w, template, pull(grey, order=1) > 0.5, grey > 0.5, affine)


def program(scene: Scene, folder: Path) -> None:
    """Register as the program does."""
    register_template(scene.t1w, scene.template, folder / "forward.h5", folder / "back.h5", SEED)


def antspyx(scene: Scene, folder: Path, size_mm: float, **options: Any) -> None:
    """Register by one call of antspyx."""
    ants = start_ants(SEED)
    images = [picture.at(size_mm) for picture in (scene.template, scene.t1w)]
    fixed, moving = (to_ants(image.volume, image.affine, ants) for image in images)
    ants.registration(
        fixed=fixed, moving=moving, outprefix=f"{folder}/", write_composite_transform=True,
        random_seed=SEED, **options,
    )
    shutil.copyfile(folder / "Composite.h5", folder / "forward.h5")
    shutil.copyfile(folder / "InverseComposite.h5", folder / "back.h5")


METHODS: dict[str, Callable[[Scene, Path], None]] = {
    "antspyx affine, 2 mm": partial(antspyx, size_mm=2.0, type_of_transform="Affine"),
    "antspyx SyN, 2 mm": partial(
        antspyx, size_mm=2.0, type_of_transform="SyN", reg_iterations=(40, 20, 10)),
    "antspyx SyN, CC radius 2, 2 mm": partial(
        antspyx, size_mm=2.0, type_of_transform="SyN", reg_iterations=(40, 20, 10),
        syn_metric="CC", syn_sampling=2),
    "program": program,
}


def measure(name: str) -> dict[str, Any]:
    """Run one method in this process."""
    scene = make_scene()
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        METHODS[name](scene, Path(folder))
        seconds = time.process_time() - start
        forward, back = (
            warped_points(Path(folder) / f"{way}.h5", scene.grid) for way in ("forward", "back")
        )
    digest = hashlib.sha256(forward.tobytes() + back.tobytes()).hexdigest()
    return {"dice": scene.dice(forward, back), "seconds": seconds, "digest": digest}


def in_own_process(name: str) -> dict[str, Any]:
    """Run one method in a new process."""
    command = [sys.executable, __file__, name]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    scene = make_scene()
    points = grid_points(scene.grid.shape, scene.grid.affine)
    known = {
        "none": (points, points),
        "true affine": (apply_affine(np.linalg.inv(scene.affine), points),
                        apply_affine(scene.affine, points)),
    }
    print(f"{'method':32} {'Dice':>6} {'back':>6} {'CPU s':>6}  same bits twice")
    for name, ways in known.items():
        print("{:32} {:6.3f} {:6.3f} {:>6}".format(name, *scene.dice(*ways), "-"), flush=True)
    for name in METHODS:
        found = in_own_process(name)
        line = "{:32} {:6.3f} {:6.3f} {:6.0f}".format(name, *found["dice"], found["seconds"])
        if name == "program":
            same = in_own_process(name)["digest"] == found["digest"]
            line += "  yes" if same else "  NO"
        print(line, flush=True)


if __name__ == "__main__":
    main()
