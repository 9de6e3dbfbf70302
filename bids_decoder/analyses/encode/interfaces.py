"""Nodes of encoding models: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

from dataclasses import replace
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

from bids_decoder.analyses.encode.outputs import EncodingOutputs
from bids_decoder.bids.writer import save_table
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.voxelwise import (
    Encoded,
    Measured,
    best_voxels,
    common_selection,
    compare_encoders,
    identify,
    score_encoding,
    voxel_maps,
)
from bids_decoder.glm.reliability import enough_repeats, noise_ceiling
from bids_decoder.interfaces.fitting import DeviceInputSpec
from bids_decoder.interfaces.person_outputs import (
    PersonOutputs,
    WriteInputSpec,
    WriteInterface,
    save_nulls,
)
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.responses import TABLE, ResponsesInputSpec, load_person, read_trials
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.models.store import load_model, save_model
from bids_decoder.stimuli.grey import load_grey
from bids_decoder.training.encoding_settings import Encoding
from bids_decoder.trials import Person, Targets

Runtime = Any


class _PicturesInputSpec(BaseInterfaceInputSpec):
    images = traits.Dict(traits.Str(), traits.Str(), mandatory=True, desc="stimulus id -> file")
    size = traits.Int(mandatory=True, desc="edge in pixels")


class _PicturesOutputSpec(TraitedSpec):
    pictures_file = File(exists=True)


class GreyPictures(SimpleInterface):
    """Read all images in grey and at small size."""

    input_spec = _PicturesInputSpec
    output_spec = _PicturesOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        paths = {name: Path(path) for name, path in sorted(self.inputs.images.items())}
        path = Path(runtime.cwd) / "pictures.npz"
        np.savez(path, ids=np.array(list(paths), dtype=np.str_),
                 pictures=load_grey(paths, self.inputs.size))
        self._results["pictures_file"] = str(path)
        return runtime


class _TaskInputSpec(ResponsesInputSpec):
    pictures_file = File(exists=True, desc="of GreyPictures")
    encoding = traits.Dict(mandatory=True, desc="fields of config.Encoding")
    seed = traits.Int(mandatory=True)
    fold = traits.Int(0, usedefault=True, desc="fold that is test; 0 for a fixed split")


class _TaskOutputSpec(TraitedSpec):
    task_file = File(exists=True, desc="training trials, stimuli, inner split")
    measured_file = File(exists=True, desc="test trials; no fit reads it")


class MakeEncodingTask(SimpleInterface):
    """Write the training data of all encoders, and the test trials to a separate file."""

    input_spec = _TaskInputSpec
    output_spec = _TaskOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        from bids_decoder.training.encoders import make_task

        inputs, folder = self.inputs, Path(runtime.cwd)
        targets = _shown_to(Path(inputs.folder), read_targets(inputs.targets_file))
        pictures = _pictures_of(targets, inputs.pictures_file or None)
        train, test = load_person(
            Path(inputs.folder), inputs.participant, targets, fold=inputs.fold or None,
            normalise=inputs.normalise,
        )
        task = make_task(train, targets, pictures, Encoding(**inputs.encoding), inputs.seed)
        self._results["task_file"] = str(save_task(folder / "task.npz", task))
        measured, source = measured_responses(train, test, task.voxels)
        path = save_measured(folder / "measured.npz", measured, source)
        self._results["measured_file"] = str(path)
        return runtime


def _shown_to(folder: Path, targets: Targets) -> Targets:
    """Keep the stimuli that this participant saw."""
    shown = set(read_trials(folder / TABLE)["stimulus"])
    rows = [row for row, name in enumerate(targets.ids) if name in shown]
    ids = tuple(targets.ids[row] for row in rows)
    return replace(targets, ids=ids, vectors=targets.vectors[rows])


def _pictures_of(targets: Targets, path: str | None) -> np.ndarray | None:
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as content:
        position = {name: row for row, name in enumerate(content["ids"].tolist())}
        return content["pictures"][[position[name] for name in targets.ids]]


def measured_responses(
    train: Person, test: Person, voxels: np.ndarray
) -> tuple[Measured, str | None]:
    """Return the test responses and their noise ceiling.

    Parameters
    ----------
    train, test : Person
    voxels : ndarray of int, shape (n_voxels,)

    Returns
    -------
    Measured
        With the ceiling from repeats of the test stimuli, else from repeats of training stimuli,
        else without.
    source : {"test", "train"} or None
        Repeats from which the ceiling is estimated. It normalises results and selects nothing.
    """
    stimuli = test.trials["stimulus"].to_numpy(dtype=str)
    betas = np.ascontiguousarray(test.betas[:, voxels])
    n_averaged = int(np.median(np.unique(stimuli, return_counts=True)[1]))
    for source, person in (("test", test), ("train", train)):
        names = person.trials["stimulus"].to_numpy(dtype=str)
        if enough_repeats(names):
            percent = noise_ceiling(person.betas[:, voxels], names, n_averaged)[1]
            ceiling = np.sqrt(percent / 100)
            return Measured(betas, stimuli, test.run_groups, ceiling), source
    return Measured(betas, stimuli, test.run_groups, None), None


def save_task(path: Path, task: Any) -> Path:
    """Write a task as npz without pickles."""
    arrays = {
        "betas": task.betas, "rows": task.rows, "runs": task.runs, "voxels": task.voxels,
        "fitted": task.inner[0], "chosen_by": task.inner[1],
        "ids": np.array(task.stimuli.ids, dtype=np.str_), "features": task.stimuli.features,
    }
    if task.stimuli.pictures is not None:
        arrays["pictures"] = task.stimuli.pictures
    np.savez(path, **arrays)
    return path


def read_task(path: Path | str) -> Any:
    """Read a task that :func:`save_task` wrote."""
    from bids_decoder.training.encoders import EncodingTask, Stimuli

    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    stimuli = Stimuli(tuple(arrays["ids"].tolist()), arrays["features"], arrays.get("pictures"))
    return EncodingTask(
        arrays["betas"], arrays["rows"], arrays["runs"], stimuli,
        (arrays["fitted"], arrays["chosen_by"]), arrays["voxels"],
    )


def save_measured(path: Path, measured: Measured, source: str | None) -> Path:
    """Write test responses as npz without pickles."""
    arrays = {"betas": measured.betas, "stimuli": measured.stimuli, "runs": measured.runs,
              "source": np.array(source or "")}
    if measured.ceiling is not None:
        arrays["ceiling"] = measured.ceiling
    np.savez(path, **arrays)
    return path


def read_measured(path: Path | str) -> tuple[Measured, str | None]:
    """Read what :func:`save_measured` wrote."""
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    measured = Measured(
        arrays["betas"], arrays["stimuli"], arrays["runs"], arrays.get("ceiling")
    )
    return measured, str(arrays["source"]) or None


class _FitInputSpec(DeviceInputSpec):
    encoder = traits.Str(mandatory=True, desc="name of the encoder")
    task_file = File(exists=True, mandatory=True)
    encoding = traits.Dict(mandatory=True, desc="fields of config.Encoding")


class _FitOutputSpec(TraitedSpec):
    model_file = File(exists=True)
    encoded_file = File(exists=True, desc="predictions for all stimuli of the participant")


class FitEncoder(SimpleInterface):
    """Fit one encoder on training trials and predict all stimuli of the participant."""

    input_spec = _FitInputSpec
    output_spec = _FitOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        import torch

        from bids_decoder.training.encoders import (
            EncodeContext,
            calibrated,
            fit_encoder,
            load_encoder,
        )

        inputs, folder = self.inputs, Path(runtime.cwd)
        torch.set_num_threads(inputs.n_threads)
        task, encoder = read_task(inputs.task_file), load_encoder(inputs.encoder)
        context = EncodeContext(
            Encoding(**inputs.encoding), inputs.seed, inputs.device,
            log_progress(f"encoder {inputs.encoder}"),
        )
        model = fit_encoder(encoder, task, context)
        self._results["model_file"] = str(save_model(folder / "model.safetensors", model))
        raw = encoder.predict(model, task.stimuli)
        path = folder / "encoded.npz"
        np.savez(
            path, ids=np.array(task.stimuli.ids, dtype=np.str_), raw=raw,
            calibrated=calibrated(model, raw), scores=model.tensors["calibration.score"],
        )
        self._results["encoded_file"] = str(path)
        return runtime


class _ScoreInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    names = traits.List(traits.Str(), mandatory=True, desc="encoders; the chosen one first")
    encoded_files = traits.List(File(exists=True), mandatory=True, desc="in the same order")
    measured_file = File(exists=True, mandatory=True)
    n_selected = traits.Int(mandatory=True)
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    seed = traits.Int(mandatory=True)


class _ScoreOutputSpec(TraitedSpec):
    metrics_file = File(exists=True)
    comparisons_file = File(exists=True)
    predictions_file = File(exists=True)
    nulls_file = File(exists=True, desc="null distributions, with a sidecar")
    maps_file = File(exists=True)


class ScoreEncoders(SimpleInterface):
    """Score all encoders on the held-out stimuli."""

    input_spec = _ScoreInputSpec
    output_spec = _ScoreOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        from bids_decoder.training.encoders import COMPARISONS

        inputs, folder = self.inputs, Path(runtime.cwd)
        settings, seed = Evaluation(**inputs.evaluation), inputs.seed
        measured, _ = read_measured(inputs.measured_file)
        models = {
            name: read_encoded(path, measured, inputs.n_selected)
            for name, path in zip(inputs.names, inputs.encoded_files, strict=True)
        }
        common = common_selection(models, inputs.n_selected)
        chosen = models[inputs.names[0]]
        metrics, nulls = score_encoding(measured, models, common, settings=settings, seed=seed)
        tables = {
            "metrics": metrics, "comparisons": compare_encoders(
                measured, models, common, COMPARISONS, settings=settings, seed=seed
            ),
            "predictions": identify(measured, chosen, settings, seed).predictions,
        }
        self._results["nulls_file"] = str(save_nulls(folder / "nulls.tsv", nulls, seed))
        for name, table in tables.items():
            self._results[f"{name}_file"] = str(save_table(folder / f"{name}.tsv", table))
        maps = voxel_maps(measured, chosen, settings, seed)
        others = {
            f"correlation/{name}": voxel_maps(measured, model, settings, seed)["correlation"]
            for name, model in models.items() if model is not chosen
        }
        path = folder / "maps.npz"
        np.savez(path, selected=chosen.selected, common=common, **maps, **others)
        self._results["maps_file"] = str(path)
        return runtime


def read_encoded(path: Path | str, measured: Measured, n_selected: int) -> Encoded:
    """Read the predictions of one encoder for the held-out stimuli."""
    with np.load(path, allow_pickle=False) as content:
        position = {name: row for row, name in enumerate(content["ids"].tolist())}
        rows = [position[name] for name in measured.images]
        scores = content["scores"]
        return Encoded(
            content["raw"][rows], content["calibrated"][rows], scores,
            best_voxels(scores, n_selected),
        )


class _WriteInputSpec(WriteInputSpec):
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    names = traits.List(traits.Str(), mandatory=True, desc="encoders; the chosen one first")
    model_files = traits.List(File(exists=True), mandatory=True, desc="in the same order")
    measured_file = File(exists=True, mandatory=True)
    metrics_file = File(exists=True, mandatory=True)
    comparisons_file = File(exists=True, mandatory=True)
    predictions_file = File(exists=True, mandatory=True)
    nulls_file = File(exists=True, mandatory=True)
    maps_file = File(exists=True, mandatory=True)


class WriteEncoding(WriteInterface):
    """Write model, maps, predictions and metrics of one participant into the derivatives."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        models = {
            name: load_model(Path(path))
            for name, path in zip(inputs.names, inputs.model_files, strict=True)
        }
        with np.load(inputs.maps_file, allow_pickle=False) as content:
            maps = dict(content)
        outputs.card["ceiling_from"] = read_measured(inputs.measured_file)[1]
        encoding = EncodingOutputs(outputs, Path(inputs.folder), models, maps)
        encoding.write_model()
        encoding.write_maps()
        encoding.write_learning()
        encoding.write_tables(
            Path(inputs.metrics_file), Path(inputs.comparisons_file),
            Path(inputs.predictions_file), Path(inputs.nulls_file),
        )
