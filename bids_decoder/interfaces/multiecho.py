"""Nodes of multi-echo runs: resampling and combination of the echoes, their components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    File,
    InputMultiObject,
    OutputMultiObject,
    TraitedSpec,
    traits,
)

from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.files import read_json
from bids_decoder.interfaces.preprocessing_base import SeededSpec, Step, read_image
from bids_decoder.interfaces.progress import LOGGER
from bids_decoder.interfaces.resampling import (
    ResampleIn,
    ResampleOut,
    ResampleRun,
    Resampling,
)
from bids_decoder.preprocessing.echo_components import find_components
from bids_decoder.preprocessing.multiecho import combine_echoes, fit_echoes


class _EchoesIn(ResampleIn):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="raw or slice-time corrected BOLD of each echo"
    )
    echo_times = traits.List(traits.Float, mandatory=True, desc="seconds, one per echo")
    n_dummy = traits.Int(0, usedefault=True, desc="volumes before the steady state")
    keep_echoes = traits.Bool(False, usedefault=True, desc="write each echo, too")


class _EchoesOut(ResampleOut):
    t2star_file = File(exists=True, desc="T2* in seconds")
    s0_file = File(exists=True, desc="signal at an echo time of 0")
    weights_file = File(exists=True, desc="weight of each echo, one volume per echo")
    echo_files = OutputMultiObject(File(exists=True), desc="each echo, if they are kept")


class ResampleEchoes(ResampleRun):
    """Resample all echoes of a run with the same transforms, and combine them in the brain."""

    input_spec = _EchoesIn
    output_spec = _EchoesOut

    def _series(
        self, inputs: Any, place: Resampling, brain: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        echoes: np.ndarray | None = None
        seen, files = brain, []
        for number, path in enumerate(inputs.in_files):
            series, affine, _ = read_image(path)
            resampled, covered = place.series(series, affine)
            del series
            if echoes is None:
                n_volumes = resampled.shape[3]
                echoes = np.empty((brain.sum(), len(inputs.in_files), n_volumes), np.float32)
            echoes[:, number] = resampled[brain]
            seen = seen & covered
            if inputs.keep_echoes:
                files.append(self._save(f"echo{number + 1}", resampled, place, inputs.t_r))
        # Voxels that some volumes lack have zeros, which are no decay.
        echoes = echoes[seen[brain]]
        fit = fit_echoes(echoes, inputs.echo_times, n_dummy=inputs.n_dummy)
        combined = np.zeros((*brain.shape, echoes.shape[2]), dtype=np.float32)
        combined[seen] = combine_echoes(echoes, fit.weights)
        maps = {"t2star": fit.t2star, "s0": fit.s0, "weights": fit.weights}
        saved = {
            f"{name}_file": self._save(name, _unmasked(values, seen), place)
            for name, values in maps.items()
        }
        return combined, seen, saved | {"echo_files": files}

    def _save(
        self, name: str, data: np.ndarray, place: Resampling, t_r: float | None = None
    ) -> str:
        path: Path = self.folder / f"{name}.nii.gz"
        return str(save_nifti(path, data, place.grid.affine, t_r=t_r))


def _unmasked(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    volume = np.zeros((*mask.shape, *values.shape[1:]), dtype=np.float32)
    volume[mask] = values
    return volume


class _ComponentsIn(SeededSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="preprocessed BOLD of each echo"
    )
    mask_file = File(exists=True, mandatory=True, desc="brain on the same grid")
    echo_times = traits.List(traits.Float, mandatory=True, desc="seconds, one per echo")
    n_dummy = traits.Int(0, usedefault=True, desc="volumes before the steady state")


class _ComponentsOut(TraitedSpec):
    mixing_file = File(exists=True, desc="time series of the components")
    metrics_file = File(exists=True, desc="one row per component, with its classification")
    metadata = traits.Dict(desc="columns of the latter")


class FindEchoComponents(Step):
    """Decompose a run with tedana; see :mod:`bids_decoder.preprocessing.echo_components`."""

    input_spec = _ComponentsIn
    output_spec = _ComponentsOut

    def _compute(self, inputs: Any) -> dict[str, Any]:
        folder = self.folder / "tedana"
        found = find_components(
            [Path(path) for path in inputs.in_files], inputs.echo_times, Path(inputs.mask_file),
            folder, seed=inputs.seed, n_dummy=inputs.n_dummy,
        )
        name = Path(inputs.in_files[0]).parent.name
        for message in found.warnings:
            LOGGER.warning("%s: tedana: %s", name, message)
        if not found.has_bold:
            LOGGER.warning("%s: tedana accepted no component; none is used as a confound", name)
        return {
            "mixing_file": save_table(self.folder / "mixing.tsv", found.mixing),
            "metrics_file": save_table(self.folder / "metrics.tsv", found.metrics),
            "metadata": read_json(folder / "desc-tedana_metrics.json"),
        }
