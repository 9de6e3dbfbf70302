"""Nodes of pretraining and decoding: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

from bids_decoder.bids.writer import save_table
from bids_decoder.config import Evaluation, Network, Troi, Volumes
from bids_decoder.errors import InputError
from bids_decoder.evaluation.baselines import baseline_names, run_baselines
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.decoding_outputs import DecodingOutputs
from bids_decoder.interfaces.nulls import read_nulls
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.relevance import read_relevance, save_relevance
from bids_decoder.interfaces.responses import collect_responses, load_person
from bids_decoder.interfaces.scoring import (
    Gallery,
    Predicted,
    read_heldout,
    save_heldout,
    score_among_gallery,
    score_heldout,
)
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.stimuli.cache import CachedEncoder
from bids_decoder.stimuli.encoders import EncoderChoice, ImageEncoder, load_encoder
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.stimuli.weights import Weights
from bids_decoder.trials import Person, Targets

Runtime = Any


def save_targets(path: Path, targets: Targets) -> Path:
    """Write targets as npz without pickles."""
    np.savez(path, ids=np.array(targets.ids, dtype=np.str_), vectors=targets.vectors,
             kind=np.array(targets.kind), source=np.array(targets.source))
    return path


def read_targets(path: Path | str) -> Targets:
    """Read targets that :func:`save_targets` wrote."""
    with np.load(path, allow_pickle=False) as content:
        return Targets(
            tuple(content["ids"].tolist()), content["vectors"], str(content["kind"]),
            str(content["source"]),
        )


class _CollectInputSpec(BaseInterfaceInputSpec):
    # Paths as text: the files may be made by the same call, before this node runs.
    betas_files = traits.List(traits.Str(), mandatory=True, desc="one per run")
    trials_files = traits.List(traits.Str(), mandatory=True, desc="one per run")
    mask_files = traits.List(File(exists=True), desc="voxels must be in all of them")
    key = traits.Str(desc="key of the betas stage: what the files hold")
    after = traits.Any(desc="marker of the stage before; only for the order of nodes")


class _CollectOutputSpec(TraitedSpec):
    folder = Directory(exists=True, desc="betas.npy, trials.tsv, mask.nii.gz")


class CollectResponses(SimpleInterface):
    """Join the beta series of one person into one memory-mapped array."""

    input_spec = _CollectInputSpec
    output_spec = _CollectOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        collect_responses(
            [Path(f) for f in self.inputs.betas_files], [Path(f) for f in self.inputs.trials_files],
            [Path(f) for f in self.inputs.mask_files or []], Path(runtime.cwd),
        )
        self._results["folder"] = runtime.cwd
        return runtime


class _TargetsInputSpec(BaseInterfaceInputSpec):
    kind = traits.Enum("category", "features", "image", mandatory=True)
    ids = traits.List(traits.Str(), mandatory=True, desc="labels or stimulus ids")
    features = File(exists=True, desc="feature table")
    images = traits.Dict(traits.Str(), traits.Str(), desc="stimulus id -> image file")
    encoder = traits.Str("gabor", usedefault=True, desc="name of the image encoder")
    weights = traits.Str(desc="file or folder of its weights")
    weights_sha256 = traits.Str(desc="what the weights are")
    device = traits.Str("cpu", usedefault=True)
    cache_dir = traits.Str(desc="where vectors of images are kept")
    use_gpu = traits.Bool(False, usedefault=True, desc="read by the scheduler")
    n_threads = traits.Int(1, usedefault=True, desc="threads of the numerical libraries")


class _TargetsOutputSpec(TraitedSpec):
    targets_file = File(exists=True)


class MakeTargets(SimpleInterface):
    """Make the table of target vectors from labels, features or images."""

    input_spec = _TargetsInputSpec
    output_spec = _TargetsOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        targets = make_targets(
            inputs.kind, inputs.ids, features=Path(inputs.features) if inputs.features else None,
            images={k: Path(v) for k, v in inputs.images.items()} if inputs.images else None,
            encoder=self._encoder() if inputs.kind == "image" else "gabor",
        )
        path = save_targets(Path(runtime.cwd) / "targets.npz", targets)
        self._results["targets_file"] = str(path)
        return runtime

    def _encoder(self) -> ImageEncoder:
        inputs = self.inputs
        weights = None
        if inputs.weights:
            import torch

            torch.set_num_threads(inputs.n_threads)
            weights = Weights(Path(inputs.weights), inputs.weights_sha256, verified=True)
        encoder = load_encoder(EncoderChoice(inputs.encoder, weights), inputs.device)
        return CachedEncoder(encoder, Path(inputs.cache_dir)) if inputs.cache_dir else encoder


class _FitInputSpec(BaseInterfaceInputSpec):
    # Nipype recognises a folder by its path alone; the key tells when other things lie in it.
    key = traits.Str(desc="key of the stage")
    decoder = traits.Str("troi", usedefault=True, desc="name of the decoder")
    targets_file = File(exists=True, mandatory=True)
    network = traits.Dict(mandatory=True, desc="fields of config.Network")
    troi = traits.Dict(mandatory=True, desc="fields of config.Troi")
    volumes = traits.Dict(mandatory=True, desc="fields of config.Volumes")
    normalise = traits.Enum("session", "run", usedefault=True, desc="unit of the z-score")
    seed = traits.Int(mandatory=True)
    device = traits.Str("cpu", usedefault=True)
    use_gpu = traits.Bool(False, usedefault=True, desc="read by the scheduler")
    n_threads = traits.Int(1, usedefault=True, desc="threads of the numerical libraries")


class _Fit(SimpleInterface):
    """What pretraining and decoding nodes share."""

    def _context(self, **extra: Any) -> Any:
        import torch

        from bids_decoder.training.decoders import FitContext

        torch.set_num_threads(self.inputs.n_threads)
        return FitContext(
            Network(**self.inputs.network), Troi(**self.inputs.troi), self.inputs.seed,
            self.inputs.device, Volumes(**self.inputs.volumes), **extra,
        )

    def _decoder(self) -> Any:
        from bids_decoder.training.ensemble import load_decoder

        return load_decoder(self.inputs.decoder)


class _PretrainInputSpec(_FitInputSpec):
    folders = traits.List(Directory(exists=True), mandatory=True, desc="source people")
    participants = traits.List(traits.Str(), mandatory=True)
    card = traits.Dict(desc="what the card says beside what the decoder knows")
    checkpoint_dir = traits.Str(desc="folder for the state of an unfinished training")


class _ModelOutputSpec(TraitedSpec):
    model_file = File(exists=True)


@dataclass(frozen=True)
class SourcePeople:
    """The training trials of the source people, loaded one after the other at each iteration."""

    folders: Sequence[str]
    labels: Sequence[str]
    targets: Targets
    normalise: str

    def __iter__(self) -> Iterator[Person]:
        """Load the people in order."""
        for folder, label in zip(self.folders, self.labels, strict=True):
            yield load_person(
                Path(folder), label, self.targets, fold=None, normalise=self.normalise
            )[0]


class Pretrain(_Fit):
    """Pretrain a decoder across the source people."""

    input_spec = _PretrainInputSpec
    output_spec = _ModelOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        people = SourcePeople(inputs.folders, inputs.participants, targets, inputs.normalise)
        checkpoint = None
        if inputs.checkpoint_dir:
            Path(inputs.checkpoint_dir).mkdir(parents=True, exist_ok=True)
            checkpoint = Path(inputs.checkpoint_dir) / f"{inputs.card['stage_key']}.safetensors"
        context = self._context(checkpoint=checkpoint, progress=log_progress("pretraining"))
        model = self._decoder().pretrain(people, targets, context)
        card = {**model.card, **inputs.card, "targets": describe_targets(targets)}
        path = save_model(Path(runtime.cwd) / "model.safetensors", Model(model.tensors, card))
        self._results["model_file"] = str(path)
        return runtime


def describe_targets(targets: Targets) -> dict[str, Any]:
    """Say what the vectors are, so that a model meets only targets of its own kind."""
    ids = list(targets.ids) if targets.kind == "category" else []
    return {
        "kind": targets.kind, "n_dims": int(targets.vectors.shape[1]), "labels": ids,
        "encoder": targets.source,
    }


def check_same_targets(model: Model, targets: Targets) -> None:
    """Refuse a pretrained model whose targets are of another kind.

    Raises
    ------
    InputError
    """
    here, there = describe_targets(targets), model.card["targets"]
    if here != there:
        changed = [key for key in here if here[key] != there.get(key)]
        raise InputError(
            "pretrained model", f"its targets differ from those of this dataset in {changed}: "
            f"{[there.get(k) for k in changed]} against {[here[k] for k in changed]}",
            "pretrain with the same labels, feature table or image encoder, or use --from-scratch",
        )


class PersonInputSpec(_FitInputSpec):
    """Inputs of all nodes that read the responses of one person."""

    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    participant = traits.Str(mandatory=True)
    fold = traits.Int(0, usedefault=True, desc="fold that is test; 0 for a fixed split or all")
    pretrained_file = File(exists=True)


class PersonalInterface(_Fit):
    """What the decoding nodes of one person share."""

    def _people(self, targets: Targets) -> tuple[Person, Person]:
        inputs = self.inputs
        return load_person(
            Path(inputs.folder), inputs.participant, targets, fold=inputs.fold or None,
            normalise=inputs.normalise,
        )

    def _pretrained(self, targets: Targets) -> Model | None:
        if not self.inputs.pretrained_file:
            return None
        from bids_decoder.training.decoders import DECODERS

        model = load_model(Path(self.inputs.pretrained_file))
        if not DECODERS[self.inputs.decoder].transfers:
            check_same_targets(model, targets)
        return model


class _SelectOutputSpec(TraitedSpec):
    selection_file = File(exists=True, desc="npz and json beside it")


class SelectVoxels(PersonalInterface):
    """Choose voxels from training trials (TROI stage 1)."""

    input_spec = PersonInputSpec
    output_spec = _SelectOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        targets = read_targets(self.inputs.targets_file)
        train, _ = self._people(targets)
        selection = self._decoder().select(
            train, targets, self._pretrained(targets), self._context()
        )
        path = save_selection(Path(runtime.cwd) / "selection.npz", selection)
        self._results["selection_file"] = str(path)
        return runtime


def save_selection(path: Path, selection: Any) -> Path:
    """Write a selection: arrays as npz, notes and history as JSON beside it."""
    arrays = {"mask": selection.mask, "weights": selection.weights, "score": selection.score}
    for name in ("start_weight", "seed_agreement"):
        if (values := getattr(selection, name)) is not None:
            arrays[name] = values
    np.savez(path, **arrays)
    write_json(path.with_suffix(".json"),
               {"notes": selection.notes, "history": selection.history})
    return path


def read_selection(path: Path | str) -> Any:
    """Read a selection that :func:`save_selection` wrote."""
    from bids_decoder.training.selectors import Selection

    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    return Selection(**arrays, **read_json(Path(path).with_suffix(".json")))


class _AdaptInputSpec(PersonInputSpec):
    selection_file = File(exists=True, mandatory=True)


class AdaptDecoder(PersonalInterface):
    """Fit the decoder of one person on the chosen voxels (TROI stage 2)."""

    input_spec = _AdaptInputSpec
    output_spec = _ModelOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        targets = read_targets(self.inputs.targets_file)
        train, _ = self._people(targets)
        model = self._decoder().adapt(
            train, targets, read_selection(self.inputs.selection_file),
            self._pretrained(targets), self._context(),
        )
        path = save_model(Path(runtime.cwd) / "model.safetensors", model)
        self._results["model_file"] = str(path)
        return runtime


class _PredictInputSpec(_AdaptInputSpec):
    model_file = File(exists=True, mandatory=True)
    baselines = traits.Bool(True, usedefault=True)
    ablations = traits.Bool(False, usedefault=True, desc="also decode without each part")
    gallery_file = File(exists=True, desc="vectors of images that were not shown")


class _PredictOutputSpec(TraitedSpec):
    heldout_file = File(exists=True, desc="predictions of decoder and baselines")
    relevance_file = File(exists=True, desc="maps of held-out trials; empty without such maps")


class PredictHeldOut(PersonalInterface):
    """Predict the test trials of one fold with the decoder and with all baselines."""

    input_spec = _PredictInputSpec
    output_spec = _PredictOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        train, test = self._people(targets)
        decoder, model = self._decoder(), load_model(Path(inputs.model_file))
        results = {"decoder": _predicted(decoder, model, train, test, targets)}
        if inputs.baselines:
            mask = read_selection(inputs.selection_file).mask
            results |= _baselines(train, test, targets, mask, inputs.seed)
        if inputs.ablations:
            results |= self._ablations(train, test, targets)
        gallery = None
        if inputs.gallery_file:
            others = read_targets(inputs.gallery_file)
            gallery = Gallery(
                np.array(others.ids), decoder.gallery(model, others),
                others.vectors - _training_mean(train, targets),
            )
        path = save_heldout(Path(runtime.cwd) / "heldout.npz", test.trials, results, gallery)
        self._results["heldout_file"] = str(path)
        relevance = decoder.relevance(model, test, self._context())
        self._results["relevance_file"] = str(
            save_relevance(Path(runtime.cwd) / "relevance.npz", relevance)
        )
        return runtime

    def _ablations(self, train: Person, test: Person, targets: Targets) -> dict[str, Predicted]:
        from bids_decoder.training.ablations import fit_ablation, list_ablations

        decoder, results = self._decoder(), {}
        for ablation in list_ablations(train, self._pretrained(targets), self._context()):
            model = fit_ablation(decoder, ablation, train, targets)
            results[ablation.name] = _predicted(decoder, model, train, test, targets)
        return results


def _predicted(
    decoder: Any, model: Model, train: Person, test: Person, targets: Targets
) -> Predicted:
    return Predicted(
        decoder.predict(model, test.betas), decoder.gallery(model, targets),
        decoder.predict(model, train.betas).mean(axis=0),
    )


def _baselines(
    train: Person, test: Person, targets: Targets, mask: np.ndarray, seed: int
) -> dict[str, Predicted]:
    """Baselines in the shape of decoder predictions, relative to the mean training stimulus."""
    predicted = run_baselines(
        train, test, targets, mask, seed=seed, names=baseline_names(targets.kind)
    )
    if targets.kind == "category":
        classes = np.eye(len(targets.ids))
        return {name: Predicted(values, classes, None) for name, values in predicted.items()}
    mean = _training_mean(train, targets)
    gallery = targets.vectors - mean
    return {name: Predicted(values - mean, gallery, None) for name, values in predicted.items()}


def _training_mean(train: Person, targets: Targets) -> np.ndarray:
    return targets.vectors[np.unique(train.target_rows)].mean(axis=0)


class _ScoreInputSpec(BaseInterfaceInputSpec):
    heldout_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    nulls_files = traits.List(File(exists=True), desc="of RefitPermuted, in the same order")
    targets_file = File(exists=True, mandatory=True)
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    seed = traits.Int(mandatory=True)


class _ScoreOutputSpec(TraitedSpec):
    metrics_file = File(exists=True)
    predictions_file = File(exists=True)
    nulls_file = File(exists=True, desc="null distributions, with a sidecar")
    comparisons_file = File(exists=True, desc="decoder against each baseline")
    gallery_file = File(exists=True, desc="nearest images, where there is a gallery")


class ScoreDecoding(SimpleInterface):
    """Score the held-out predictions of all folds together."""

    input_spec = _ScoreInputSpec
    output_spec = _ScoreOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        folds, targets = [read_heldout(f) for f in inputs.heldout_files], read_targets(
            inputs.targets_file
        )
        settings = Evaluation(**inputs.evaluation)
        nulls = [read_nulls(f) for f in inputs.nulls_files or []]
        metrics, predictions, chance, gaps = score_heldout(
            folds, targets, settings, inputs.seed, nulls
        )
        folder = Path(runtime.cwd)
        scheme = nulls[0].exchange if nulls else {}
        self._results["nulls_file"] = str(save_table(folder / "nulls.tsv", chance, scheme))
        self._results["comparisons_file"] = str(save_table(folder / "comparisons.tsv", gaps))
        if folds[0].gallery is not None:
            found, lists = score_among_gallery(folds[0], targets, settings, inputs.seed)
            metrics = pd.concat([metrics, found], ignore_index=True)
            self._results["gallery_file"] = str(save_table(folder / "gallery.tsv", lists))
        self._results["metrics_file"] = str(save_table(folder / "metrics.tsv", metrics))
        self._results["predictions_file"] = str(
            save_table(folder / "predictions.tsv", predictions)
        )
        return runtime


class _WriteInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    output_dir = Directory(mandatory=True)
    entities = traits.Dict(mandatory=True, desc="sub, task, space of the outputs")
    decoder = traits.Str("troi", usedefault=True)
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    selection_file = File(exists=True, mandatory=True, desc="fitted on all training trials")
    model_file = File(exists=True, mandatory=True, desc="fitted on all training trials")
    fold_selections = traits.List(File(exists=True), desc="of the folds of cross-validation")
    fold_models = traits.List(File(exists=True), desc="of the folds of cross-validation")
    relevance_files = traits.List(File(exists=True), desc="of all folds that predicted")
    metrics_file = File(exists=True, mandatory=True)
    predictions_file = File(exists=True, mandatory=True)
    nulls_file = File(exists=True, mandatory=True)
    comparisons_file = File(exists=True, mandatory=True)
    gallery_file = File(exists=True, desc="nearest images in the gallery")
    reconstruction_dir = Directory(exists=True, desc="of ReconstructImages")
    images = traits.Dict(traits.Str(), traits.Str(), desc="image file of stimuli and gallery")
    card = traits.Dict(desc="what the model card says beside what the decoder knows")


class _WriteOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True))


class WriteDecoding(SimpleInterface):
    """Put model, mask, maps, predictions and metrics of one person into the derivatives."""

    input_spec = _WriteInputSpec
    output_spec = _WriteOutputSpec
    # Its outputs lie outside the work folder, where anybody may remove them.
    _always_run = True

    def _run_interface(self, runtime: Runtime) -> Runtime:
        from bids_decoder.training.decoders import join_relevance
        from bids_decoder.training.ensemble import load_decoder

        inputs = self.inputs
        model = load_model(Path(inputs.model_file))
        decoder = load_decoder(inputs.decoder)
        outputs = DecodingOutputs(
            Path(inputs.output_dir), dict(inputs.entities), Path(inputs.folder),
            read_selection(inputs.selection_file), model, decoder.explain(model),
            dict(inputs.card or {}),
        )
        folds = [read_selection(f) for f in inputs.fold_selections or []]
        histories = [load_model(Path(f)).card["history"] for f in inputs.fold_models or []]
        outputs.write_model()
        outputs.write_maps(folds)
        outputs.write_relevance(
            join_relevance([read_relevance(f) for f in inputs.relevance_files or []])
        )
        outputs.write_learning(folds, histories)
        outputs.write_tables(Path(inputs.metrics_file), Path(inputs.predictions_file))
        outputs.write_tests(Path(inputs.nulls_file), Path(inputs.comparisons_file))
        if inputs.gallery_file:
            images = {name: Path(path) for name, path in inputs.images.items()}
            outputs.write_gallery(Path(inputs.gallery_file), images)
        if inputs.reconstruction_dir:
            outputs.write_reconstruction(Path(inputs.reconstruction_dir))
        self._results["out_files"] = [str(path) for path in outputs.written]
        return runtime
