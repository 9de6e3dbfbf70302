"""Node of the single-trial GLM of one participant, and inputs that all GLM nodes share."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_decoder.agreement import check_mask, check_same_grid, check_series
from bids_decoder.bids.confounds_files import read_regressors
from bids_decoder.bids.images import read_header
from bids_decoder.bids.series import load_series
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.config import Glm
from bids_decoder.errors import InputError
from bids_decoder.files import write_json
from bids_decoder.glm.base import (
    Estimates,
    EstimatorOptions,
    TrialRun,
    chunks,
    percent_signal_change,
)
from bids_decoder.glm.design import Timing
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.normalise import zscore_betas
from bids_decoder.glm.reliability import (
    REPEATED,
    enough_repeats,
    noise_ceiling,
    rsquare,
    split_half_reliability,
)
from bids_decoder.glm.run_tables import RunTables, is_true, run_tables
from bids_decoder.interfaces.arrays import new_array
from bids_decoder.trials import VoxelGrid

MAX_LOST_VOXELS = 0.5


class GlmInputSpec(BaseInterfaceInputSpec):
    """Inputs of all GLM nodes."""

    bold_files = InputMultiObject(File(exists=True), mandatory=True, desc="BOLD, one per run")
    mask_file = File(exists=True, mandatory=True, desc="brain mask on the grid of the BOLD")
    confounds_files = InputMultiObject(File(exists=True), desc="confounds tables, one per run")
    regressors_files = InputMultiObject(File(exists=True), desc="own tables, one per run")
    trials_files = InputMultiObject(File(exists=True), mandatory=True, desc="trial tables")
    t_r = traits.List(traits.Float, mandatory=True, desc="repetition times in seconds")
    start_time = traits.List(
        traits.Float, mandatory=True, desc="seconds from the first volume to its reference slice"
    )
    settings = traits.Dict(mandatory=True, desc="fields of config.Glm")


class _SingleTrialInputSpec(GlmInputSpec):
    chunk_voxels = traits.Range(low=1, value=5000, usedefault=True, desc="voxels at once")
    map_entities = traits.Dict(desc="entities that the names of all maps share")


class _SingleTrialOutputSpec(TraitedSpec):
    betaseries = OutputMultiObject(File(exists=True), desc="responses, one volume per trial")
    betaseries_metadata = traits.List(traits.Dict, desc="sidecars of the beta series")
    trials = OutputMultiObject(File(exists=True), desc="trial tables with exclusions")
    glm_mask = File(exists=True, desc="voxels that vary in all runs")
    statmaps = OutputMultiObject(File(exists=True), desc="maps of the participant")
    statmaps_entities = traits.List(traits.Dict, desc="names of the maps")
    statmaps_metadata = traits.List(traits.Dict, desc="sidecars of the maps")
    notes = File(exists=True, desc="what was chosen, dropped or turned off (JSON)")


def read_run_tables(inputs: Any, glm: Glm) -> list[RunTables]:
    """Read the trial and confounds tables of all runs."""
    none = [None] * len(inputs.bold_files)
    given, own = (
        (files if isdefined(files) else []) or none
        for files in (inputs.confounds_files, inputs.regressors_files)
    )
    return [
        run_tables(
            read_table(Path(trials)),
            Timing(check_series(Path(bold), read_header(Path(bold)).shape), t_r, start),
            read_regressors(glm.confounds, path, extra), glm,
        )
        for bold, trials, t_r, start, path, extra in zip(
            inputs.bold_files, inputs.trials_files, inputs.t_r, inputs.start_time, given, own,
            strict=True,
        )
    ]


def load_mask(path: Path) -> VoxelGrid:
    """Read a 3-D mask; voxels above zero are in it.

    Raises
    ------
    InputError
        When the image is not 3-D or holds no voxel.
    """
    image = nib.load(path)
    mask = np.asanyarray(image.dataobj) > 0
    check_mask(path, mask)
    return VoxelGrid(mask, image.affine)


def read_masked(path: Path, grid: VoxelGrid, target: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one run within the mask into a memory map, in percent signal change.

    Parameters
    ----------
    path : Path
        4-D image.
    grid : VoxelGrid
    target : Path
        Scratch file (``.npy``).

    Returns
    -------
    bold : memory map of float32, shape (n_scans, n_voxels)
    good : ndarray of bool, shape (n_voxels,)
        Voxels that are finite, vary and have a positive mean.

    Raises
    ------
    InputError
        When image and mask are on different grids.
    """
    image = load_series(path)
    check_same_grid(path, (image.shape[:3], image.affine), (grid.mask.shape, grid.affine))
    data = image.get_fdata(dtype=np.float32, caching="unchanged")
    shape = (image.shape[3], grid.n_voxels)
    bold = new_array(target, shape)
    for scan in range(shape[0]):
        bold[scan] = data[..., scan][grid.mask]
    del data
    good = np.empty(grid.n_voxels, dtype=bool)
    for voxels in chunks(grid.n_voxels, 20000):
        block = np.ascontiguousarray(bold[:, voxels])
        good[voxels] = percent_signal_change(block)
        bold[:, voxels] = block
    return bold, good


class SingleTrialGLM(SimpleInterface):
    """Estimate one response per trial and voxel over all runs of one participant.

    One run at a time is read, masked and put into a memory map in the node's folder; the
    estimator works on blocks of voxels. Excluded trials are modelled, too.
    """

    input_spec = _SingleTrialInputSpec
    output_spec = _SingleTrialOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        glm = Glm(**self.inputs.settings)
        options = EstimatorOptions(glm.hrf, glm.noise_model, self.inputs.chunk_voxels)
        estimator = get_estimator(glm.estimator, options)
        tables = read_run_tables(self.inputs, glm)
        grid = load_mask(Path(self.inputs.mask_file))
        folder = Path(runtime.cwd)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            runs, good = self._load(tables, grid, Path(scratch))
            betas = [
                new_array(
                    Path(scratch) / f"betas-{number}.npy", (run.n_trials, grid.n_voxels)
                )
                for number, run in enumerate(runs)
            ]
            estimates = estimator.estimate(runs, betas)
            maps, notes = _describe(runs, tables, betas, glm, self.inputs.chunk_voxels)
            maps.update(estimates.maps)
            notes = [
                *(note for table in tables for note in table.notes),
                f"{int((~good).sum())} of {good.size} voxels of the mask are constant or not "
                "finite in some run and are left out",
                *estimates.notes, *notes,
            ]
            self._write_runs(folder, tables, grid, betas, estimates, glm, notes)
            self._write_maps(folder, grid, good, maps, notes)
            del runs, betas
        return runtime

    def _load(
        self, tables: Sequence[RunTables], grid: VoxelGrid, scratch: Path
    ) -> tuple[list[TrialRun], np.ndarray]:
        runs, good = [], np.ones(grid.n_voxels, dtype=bool)
        for number, table in enumerate(tables):
            target = scratch / f"bold-{number}.npy"
            bold, usable = read_masked(Path(self.inputs.bold_files[number]), grid, target)
            good &= usable
            runs.append(table.trial_run(bold))
        if good.mean() < 1 - MAX_LOST_VOXELS:
            raise InputError(
                "single-trial GLM",
                f"{int((~good).sum())} of {good.size} voxels of the mask are constant, not "
                "finite or not positive on average in some run",
                "check that mask and BOLD belong together and that the BOLD was not demeaned",
            )
        for run in runs:
            run.bold[:, ~good] = 0.0
        return runs, good

    def _write_runs(
        self, folder: Path, tables: Sequence[RunTables], grid: VoxelGrid,
        betas: Sequence[np.ndarray], estimates: Estimates, glm: Glm, notes: list[str],
    ) -> None:
        self._results.update(betaseries=[], betaseries_metadata=[], trials=[])
        for number, (table, values) in enumerate(zip(tables, betas, strict=True)):
            stem = folder / f"run-{number + 1:03d}"
            image = save_nifti(
                stem.with_name(f"{stem.name}_betaseries.nii.gz"),
                grid.to_volume(values), grid.affine,
            )
            trials = save_table(
                stem.with_name(f"{stem.name}_trials.tsv"),
                mark_lost(table, estimates.estimable[number]),
            )
            self._results["betaseries"].append(str(image))
            self._results["trials"].append(str(trials))
            self._results["betaseries_metadata"].append(_run_metadata(table, glm, notes))

    def _write_maps(
        self, folder: Path, grid: VoxelGrid, good: np.ndarray, maps: dict[str, np.ndarray],
        notes: list[str],
    ) -> None:
        shared = self.inputs.map_entities if isdefined(self.inputs.map_entities) else {}
        mask = save_nifti(folder / "glm_mask.nii.gz", grid.to_volume(good, fill=False), grid.affine)
        files, entities, metadata = [], [], []
        for name, values in maps.items():
            volume = grid.to_volume(np.where(good, values, 0).astype(np.float32))
            path = folder / f"{name}_statmap.nii.gz"
            files.append(str(save_nifti(path, volume, grid.affine)))
            entities.append({**shared, "stat": name})
            metadata.append(
                {"Description": MAP_DESCRIPTIONS[name], "SkullStripped": True, "Notes": notes}
            )
        self._results.update(
            glm_mask=str(mask), statmaps=files, statmaps_entities=entities,
            statmaps_metadata=metadata,
            notes=str(write_json(folder / "notes.json", {"Notes": notes})),
        )


MAP_DESCRIPTIONS = {
    "rsquare": "Share of variance that one common response to all trials explains.",
    "reliability": "Correlation of condition means over odd and even repeats.",
    "noiseceiling": "Percent of the variance of single trials that the best model can explain.",
    "hrf": "HRF: 0 the assumed one, else its number in the library.",
    "responseratio": "Variance of responses to trials over that of the noise of a volume.",
    "fraction": "Share of the length of the weights that ridge keeps.",
}


def mark_lost(table: RunTables, estimable: np.ndarray) -> pd.DataFrame:
    """Exclude the trials that have no response, with the reason.

    Parameters
    ----------
    table : RunTables
        Excluded trials keep their reason.
    estimable : ndarray of bool, shape (n_trials,)

    Returns
    -------
    DataFrame, n_trials rows
    """
    trials = table.trials
    marked = trials.copy()
    lost = ~estimable & ~is_true(trials["excluded"])
    unknown = trials["onset"].isna().to_numpy()
    marked.loc[lost, "excluded"] = "True"
    marked.loc[lost & unknown, "reason"] = "no onset"
    marked.loc[lost & ~unknown, "reason"] = "no response within the run"
    # The response is within the run, but nothing of it is left beside the confounds.
    marked.loc[lost & table.within, "reason"] = "volumes of the response are censored"
    return marked


def _run_metadata(table: RunTables, glm: Glm, notes: list[str]) -> dict[str, Any]:
    return {
        "Description": "Response to each trial; volume i belongs to row i of the trial table.",
        "SkullStripped": True,
        "Units": "percent signal change at the peak of the response",
        "Estimator": glm.estimator,
        "HRF": glm.hrf,
        "NoiseModel": glm.noise_model,
        "HighPassCutoffHz": glm.high_pass,
        "Confounds": list(table.nuisance.columns),
        "Censored": table.censored,
        "RepetitionTime": table.timing.t_r,
        "StartTime": table.timing.start_time,
        "Notes": notes,
    }


def _describe(
    runs: Sequence[TrialRun], tables: Sequence[RunTables], betas: Sequence[np.ndarray],
    glm: Glm, chunk_voxels: int,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Make the maps of explained variance, reliability and noise ceiling."""
    training = any(table.train.any() for table in tables)
    rows = [table.train if training else table.untested for table in tables]
    notes = [] if training else [
        "maps describe all trials that are not excluded, since each run is test once: "
        "not to be used for choosing voxels"
    ]
    described = [replace(run, train=row) for run, row in zip(runs, rows, strict=True)]
    maps = {"rsquare": rsquare(described, get_hrf(glm.hrf), chunk_voxels)}
    conditions, kind = _repeating(runs, rows)
    if conditions is None:
        notes.append("reliability and noise ceiling n/a: fewer than three conditions repeat")
        return maps, notes
    notes.append(REPEATED.format(kind))
    column = "session" if glm.normalise == "session" else "run_group"
    groups = np.concatenate(
        [t.trials[column].astype(str).to_numpy()[r] for t, r in zip(tables, rows, strict=True)]
    ).astype(str)
    everything = np.ones(len(groups), dtype=bool)
    n_voxels = runs[0].bold.shape[1]
    maps["reliability"] = np.zeros(n_voxels, dtype=np.float32)
    maps["noiseceiling"] = np.zeros(n_voxels, dtype=np.float32)
    for voxels in chunks(n_voxels, chunk_voxels):
        block = np.concatenate([b[r, voxels] for b, r in zip(betas, rows, strict=True)])
        scores, _ = zscore_betas(block, groups, everything)
        maps["reliability"][voxels] = split_half_reliability(scores, conditions)
        maps["noiseceiling"][voxels] = noise_ceiling(scores, conditions)[1]
    return maps, notes


def _repeating(
    runs: Sequence[TrialRun], rows: Sequence[np.ndarray]
) -> tuple[np.ndarray | None, str]:
    pairs = list(zip(runs, rows, strict=True))
    stimuli = np.concatenate([run.conditions[row] for run, row in pairs])
    if enough_repeats(stimuli):
        return stimuli, "stimuli"
    if all(run.labels is not None for run in runs):
        labels = np.concatenate([run.labels[row] for run, row in pairs])
        if enough_repeats(labels):
            return labels, "labels"
    return None, ""
