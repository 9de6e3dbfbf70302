"""Nodes of decoding over time: read files, call ``glm``, ``training`` and ``evaluation``, write."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.analyses.timecourse.outputs import write_times
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.config import Glm
from bids_decoder.evaluation.time_scores import TimeFold, score_times
from bids_decoder.files import read_json, write_json
from bids_decoder.glm.fir import (
    OUTSIDE,
    FirRun,
    expected_peak,
    lag_steps,
    onset_errors,
    window_volumes,
)
from bids_decoder.glm.hrf import get_hrf
from bids_decoder.glm.run_tables import RunTables
from bids_decoder.interfaces.arrays import new_array
from bids_decoder.interfaces.glm import read_masked, read_run_tables
from bids_decoder.interfaces.label_folds import LabelFoldInputSpec, exchange_labels
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.response_grids import MASK, read_grid
from bids_decoder.interfaces.responses import (
    ARRAY,
    CONFOUNDS,
    REMOVED,
    SPACE,
    TABLE,
    load_person,
    read_trials,
)
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.training.timecourse import decode_times
from bids_decoder.trials import Person

Runtime = Any


class _EstimateInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    responses = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    # Paths as text: the files may be made by the same call, before this node runs.
    bold_files = traits.List(traits.Str(), mandatory=True, desc="one per run")
    confounds_files = traits.List(traits.Str(), mandatory=True, desc="one per run, or none")
    regressors_files = traits.List(traits.Str(), mandatory=True, desc="own, one per run, or none")
    trials_files = traits.List(traits.Str(), mandatory=True, desc="planned tables, one per run")
    t_r = traits.List(traits.Float, mandatory=True, desc="repetition times in seconds")
    start_time = traits.List(traits.Float, mandatory=True, desc="reference times of volumes")
    settings = traits.Dict(mandatory=True, desc="fields of config.Glm")
    window = traits.List(traits.Float, mandatory=True, desc="first and last time in seconds")
    chunk_voxels = traits.Range(low=1, value=5000, usedefault=True, desc="voxels at once")


class _EstimateOutputSpec(TraitedSpec):
    folder = Directory(exists=True, desc="one folder per time, as of CollectResponses")
    facts_file = File(exists=True, desc="times and trials, as JSON")


class _Windowed(NamedTuple):
    """One run: tables, volumes of all its trials, and the used trials in it and in the folder."""

    table: RunTables
    volumes: np.ndarray
    rows: np.ndarray
    places: np.ndarray


class EstimateTimes(SimpleInterface):
    """Estimate the responses at each time for the trials that have all of them."""

    input_spec = _EstimateInputSpec
    output_spec = _EstimateOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        given, glm = Path(inputs.responses), Glm(**inputs.settings)
        steps = lag_steps((inputs.window[0], inputs.window[1]), inputs.t_r[0])
        trials = read_trials(given / TABLE)
        runs = [_find_rows(trials, table, steps) for table in read_run_tables(inputs, glm)]
        places = np.concatenate([run.places for run in runs])
        arrays = _new_folders(given, folder, np.isin(np.arange(len(trials)), places), len(steps))
        progress, done = log_progress("responses over time", unit="run"), 0
        for number, (run, path) in enumerate(zip(runs, inputs.bold_files, strict=True)):
            own = slice(done, done + len(run.rows))
            self._estimate(Path(path), run, [array[own] for array in arrays])
            done = own.stop
            progress(number + 1, len(runs))
        facts = _describe(runs, steps * inputs.t_r[0], len(trials), glm)
        self._results["folder"] = str(folder)
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime

    def _estimate(self, path: Path, run: _Windowed, out: list[np.ndarray]) -> None:
        grid = read_grid(Path(self.inputs.responses))
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as scratch:
            bold, _ = read_masked(path, grid, Path(scratch) / "bold.npy")
            one = FirRun(bold, run.table.nuisance.to_numpy(), run.volumes)
            one.responses(run.rows, out, self.inputs.chunk_voxels)
            del bold, one


def time_folder(folder: Path, time: int) -> Path:
    """Return the folder with the responses at the time of a number."""
    return folder / f"time-{time:03d}"


def _find_rows(trials: pd.DataFrame, table: RunTables, steps: np.ndarray) -> _Windowed:
    volumes = window_volumes(table.onsets, table.timing, steps)
    places = np.flatnonzero(trials["run_group"].to_numpy(dtype=str) == table.name)
    rows = trials["trial"].to_numpy()[places] - 1
    whole = (volumes[rows] != OUTSIDE).all(axis=1)
    return _Windowed(table, volumes, rows[whole], places[whole])


def _new_folders(given: Path, folder: Path, kept: np.ndarray, n_times: int) -> list[np.memmap]:
    """Make one folder per time as of ``CollectResponses``, and return their arrays, in order."""
    n_voxels, arrays = read_grid(given).n_voxels, []
    for time in range(n_times):
        own = time_folder(folder, time)
        own.mkdir(exist_ok=True)
        for name in (TABLE, CONFOUNDS):
            save_table(own / name, read_table(given / name)[kept])
        for name in (MASK, SPACE, REMOVED):
            shutil.copyfile(given / name, own / name)
        arrays.append(new_array(own / ARRAY, (int(kept.sum()), n_voxels)))
    return arrays


def _describe(
    runs: Sequence[_Windowed], times: np.ndarray, n_trials: int, glm: Glm
) -> dict[str, Any]:
    errors = np.concatenate([
        onset_errors(run.table.onsets[run.rows], run.table.timing) for run in runs
    ])
    durations = np.concatenate([run.table.durations[run.rows] for run in runs])
    known = durations[np.isfinite(durations)]
    duration = float(np.median(known)) if len(known) else 0.0
    return {
        "times": times.tolist(), "t_r": runs[0].table.timing.t_r, "n_trials": len(errors),
        "n_left_out": n_trials - len(errors), "duration": duration,
        "expected_peak": expected_peak(get_hrf(glm.hrf), duration), "hrf": glm.hrf,
        "mean_shift": float(errors.mean()), "largest_shift": float(np.abs(errors).max()),
        "n_nuisance": [run.table.nuisance.shape[1] for run in runs],
    }


class _DecodeOutputSpec(TraitedSpec):
    scores_file = File(exists=True, desc="TimeFold, as npz")
    facts_file = File(exists=True, desc="what was fitted, as JSON")


class DecodeTimes(SimpleInterface):
    """Decode the test trials of one fold from every time to every time, also by chance."""

    input_spec = LabelFoldInputSpec
    output_spec = _DecodeOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        n_classes = len(read_targets(inputs.targets_file).ids)
        n_times = len(list(Path(inputs.folder).glob("time-*")))
        labels = exchange_labels(inputs, *self._sides(0), n_classes)
        found = decode_times(
            self._sides, n_times, labels, n_classes,
            log_progress(f"decoding over time, fold {inputs.fold}", unit="time"),
        )
        np.savez(folder / "scores.npz", **vars(found))
        facts = {
            "p_min": labels.exchange.smallest_p(inputs.n_permutations), "n_classes": n_classes,
            "n_labels": labels.n_tested, "exchange": labels.exchange.describe(),
        }
        self._results["scores_file"] = str(folder / "scores.npz")
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime

    def _sides(self, time: int) -> tuple[Person, Person]:
        inputs = self.inputs
        return load_person(
            time_folder(Path(inputs.folder), time), inputs.participant,
            read_targets(inputs.targets_file), fold=inputs.fold or None,
            normalise=inputs.normalise,
        )


class _WriteInputSpec(WriteInputSpec):
    times_file = File(exists=True, mandatory=True, desc="of EstimateTimes")
    scores_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    facts_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    seed = traits.Int(mandatory=True, desc="of the resamples of runs")


class WriteTimes(WriteInterface):
    """Join the folds, test all times together, and write tables."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        facts = [read_json(Path(path)) for path in inputs.facts_files]
        folds = []
        for path in inputs.scores_files:
            with np.load(path, allow_pickle=False) as content:
                folds.append(TimeFold(**content))
        outputs.card |= {
            "Folds": len(facts), "Null": "refitted" if len(facts) > 1 else "fixed",
            **facts[0]["exchange"], "Labels": facts[0]["n_labels"],
        }
        about = read_json(Path(inputs.times_file))
        scores = score_times(
            folds, np.array(about["times"]), facts[0]["n_classes"], facts[0]["p_min"]
        )
        about["shrinkage"] = float(np.median([fold.shrinkage for fold in folds]))
        write_times(outputs, scores, about, np.random.default_rng(inputs.seed))
