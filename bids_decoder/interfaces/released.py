"""The node that writes released responses as beta series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.released.base import ReleasedRun
from bids_decoder.released.blocks import read_runs
from bids_decoder.released.grids import read_map
from bids_decoder.trials import VoxelGrid


def write_beta_series(runs: list[ReleasedRun], targets: list[Path], sources: list[str]) -> None:
    """Write released responses as beta series: one image per run, volume *i* of row *i*.

    Parameters
    ----------
    runs : list of ReleasedRun
        Successive runs of the same file are read together.
    targets : list of Path
        One per run.
    sources : list of str
        Names of the files of each run, for its sidecar.

    Raises
    ------
    MissingInputError, InputError
        When a file is absent or damaged.
    """
    for (run, values), target, source in zip(read_runs(runs), targets, sources, strict=True):
        grid = run.responses.grid
        save_nifti(target, grid.to_volume(values), grid.affine, metadata={
            "Description": "Released single-trial responses; volume i belongs to row i of the "
            "table of trials.",
            "Layout": run.layout, "Sources": source.split("\n"),
        })


def write_noise_ceiling(ncsnr_file: Path, grid: VoxelGrid, target: Path) -> None:
    """Write the noise ceiling of single trials that follows from a released map.

    Parameters
    ----------
    ncsnr_file : Path
        Ratio of the standard deviations of signal and noise, on the grid of the responses.
    grid : VoxelGrid
        Other voxels are 0, also those in which the ratio is not finite.
    target : Path

    Notes
    -----
    100 r² / (r² + 1) per cent for a ratio r: Allen et al. 2022, Nature Neuroscience 25:116.
    """
    ratio = read_map(ncsnr_file)[grid.mask].astype(np.float32)
    squared = np.nan_to_num(ratio, posinf=0.0, neginf=0.0) ** 2
    values = 100 * squared / (squared + 1)
    save_nifti(target, grid.to_volume(values), grid.affine, metadata={
        "Description": "Percent of the variance of single trials that the best model can explain, "
        "from the released map of the noise ceiling signal-to-noise ratio. The release estimates "
        "it from all trials, those of test stimuli included: no voxels are chosen by it.",
        "Sources": [ncsnr_file.name],
    })


class _WriteInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(mandatory=True, desc="key of the betas stage: what the files hold")
    runs = traits.Any(mandatory=True, nohash=True, desc="released runs")
    targets = traits.List(traits.Str(), mandatory=True, desc="beta series, one per run")
    sources = traits.List(traits.Str(), mandatory=True, desc="names of files, one text per run")
    ncsnr_file = File(exists=True, desc="released map; without it, none is written")
    ceiling_file = traits.Str(desc="map of the noise ceiling to be written")


class _WriteOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True), desc="images and their sidecars")


class WriteBetaSeries(SimpleInterface):
    """Write released responses into the derivatives, as beta series."""

    input_spec = _WriteInputSpec
    output_spec = _WriteOutputSpec
    # The outputs are outside the work folder, where anybody may remove them.
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        targets = [Path(target) for target in self.inputs.targets]
        runs = list(self.inputs.runs)
        write_beta_series(runs, targets, list(self.inputs.sources))
        if isdefined(self.inputs.ncsnr_file):
            targets.append(Path(self.inputs.ceiling_file))
            write_noise_ceiling(
                Path(self.inputs.ncsnr_file), runs[0].responses.grid, targets[-1]
            )
        self._results["out_files"] = [
            str(path) for target in targets for path in (target, sidecar_path(target))
        ]
        return runtime
