"""Regions of a participant: labels brought to the voxels of the responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.bids.label_files import LabelFile, label_names, label_values, read_labels
from bids_decoder.bids.row_labels import NO_LABEL, is_row_file, labels_on, read_row_labels
from bids_decoder.errors import InputError
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.preprocessing.labels import (
    MIN_VOXELS,
    Region,
    find_regions,
    name_regions,
    resample_labels,
    split_regions,
)
from bids_decoder.preprocessing.registration import Pull, chained_points
from bids_decoder.preprocessing.resampling import Grid
from bids_decoder.trials import VoxelGrid

ReadLabels = Callable[[Path], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class PlacedLabels:
    """A label file, and how to find its voxels for those of a participant.

    Parameters
    ----------
    file : LabelFile
    pulls : tuple of Pull
        Transforms of points from the space of the responses to that of the labels, the first one
        first; empty where both are the same.
    """

    file: LabelFile
    pulls: tuple[Pull, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the content as text, for the inputs of a node."""
        file = self.file
        return {
            "path": str(file.path), "space": file.space, "atlas": file.atlas,
            "table": _text(file.table), "right": _text(file.right),
            "pulls": [(str(pull.path), pull.is_inverted) for pull in self.pulls],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> PlacedLabels:
        """Return what :meth:`record` described."""
        table, right = (
            None if record[name] is None else Path(record[name]) for name in ("table", "right")
        )
        file = LabelFile(Path(record["path"]), record["space"], record["atlas"], table, right)
        return cls(file, tuple(Pull(Path(path), flag) for path, flag in record["pulls"]))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def collect_regions(
    placed: Sequence[PlacedLabels], grid: VoxelGrid, read: ReadLabels = read_labels
) -> list[Region]:
    """Collect the regions of all label files on the voxels of a participant.

    Parameters
    ----------
    placed : sequence of PlacedLabels
    grid : VoxelGrid
        Of the responses.
    read : callable
        Reads a label image; by default from its file each time.

    Returns
    -------
    list of Region
        With unique names, also those of few voxels.

    Raises
    ------
    InputError
        When a file or its table cannot be used, or labels are those of other vertices.
    """
    found: list[Region] = []
    target = Grid(grid.mask.shape, grid.affine)
    for one in placed:
        if is_row_file(one.file.path):
            for labels, names in labels_on(read_row_labels(one.file), grid):
                here = labels.reshape(grid.mask.shape)
                found += find_regions(here, names, one.file.atlas, grid, NO_LABEL)
            continue
        labels, affine = read(one.file.path)
        names = label_names(one.file, label_values(labels))
        points = chained_points(one.pulls, target) if one.pulls else None
        here = resample_labels(labels, affine, target, points)
        found += find_regions(here, names, one.file.atlas, grid)
    return name_regions(found)


def save_regions(path: Path, regions: Sequence[Region]) -> Path:
    """Write regions as npz without pickles."""
    np.savez_compressed(
        path, names=np.array([region.name for region in regions]),
        atlases=np.array([region.atlas for region in regions]),
        labels=np.array([region.label for region in regions], dtype=np.int64),
        sizes=np.array([len(region.voxels) for region in regions], dtype=np.int64),
        voxels=np.concatenate([region.voxels for region in regions]),
    )
    return path


def read_regions(path: Path | str) -> list[Region]:
    """Read what :func:`save_regions` wrote."""
    with np.load(path, allow_pickle=False) as content:
        parts = np.split(content["voxels"], np.cumsum(content["sizes"])[:-1])
        rows = zip(content["names"], content["atlases"], content["labels"], parts, strict=True)
        return [
            Region(str(name), str(atlas), int(label), voxels) for name, atlas, label, voxels in rows
        ]


class _FindInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage: what the files hold")
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    placed = traits.List(traits.Dict, mandatory=True, desc="records of PlacedLabels")


class _FindOutputSpec(TraitedSpec):
    regions_file = File(exists=True, desc="regions with enough voxels, for read_regions")
    left_out = traits.List(traits.Str, desc="names of those with few voxels")


class FindRegions(SimpleInterface):
    """Bring labels to the voxels of the joined responses; leave out regions of few voxels."""

    input_spec = _FindInputSpec
    output_spec = _FindOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        placed = [PlacedLabels.from_record(dict(one)) for one in self.inputs.placed]
        grid = read_grid(Path(self.inputs.folder))
        large, small = split_regions(collect_regions(placed, grid))
        if not large:
            raise InputError(
                "--regions", f"no region has {MIN_VOXELS} of the {grid.n_voxels:,} voxels with "
                f"responses; {len(small)} have fewer",
                "give an atlas with larger regions, or one that covers these voxels",
            )
        path = save_regions(Path(runtime.cwd) / "regions.npz", large)
        self._results["regions_file"] = str(path)
        self._results["left_out"] = [region.name for region in small]
        return runtime
