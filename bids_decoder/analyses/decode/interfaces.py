"""Nodes of decoding: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

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

from bids_decoder.analyses.decode.matches import MatchedFold, read_matches, save_matches
from bids_decoder.analyses.decode.outputs import DecodingOutputs
from bids_decoder.analyses.decode.scoring import Scored, score_heldout
from bids_decoder.analyses.decode.scoring_folds import score_stimulus_folds
from bids_decoder.bids.writer import save_table
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.folds import is_crossed
from bids_decoder.interfaces.fitted import collect_fitted, fit_of
from bids_decoder.interfaces.fitting import (
    ModelOutputSpec,
    PersonalInterface,
    PersonInputSpec,
    read_selection,
    save_selection,
)
from bids_decoder.interfaces.heldout import Predicted, read_heldout, save_heldout
from bids_decoder.interfaces.null_predictions import read_nulls
from bids_decoder.interfaces.person_outputs import (
    PersonOutputs,
    WriteInputSpec,
    WriteInterface,
    save_nulls,
)
from bids_decoder.interfaces.predicting import predict_baselines, predict_test
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.models.store import load_model, save_model
from bids_decoder.training.fitted import FittedDecoder
from bids_decoder.trials import Person, Targets

Runtime = Any


class _SelectOutputSpec(TraitedSpec):
    selection_file = File(exists=True, desc="npz and json beside it")


class SelectVoxels(PersonalInterface):
    """Select voxels on training trials (TROI stage 1)."""

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


class _SelectedInputSpec(PersonInputSpec):
    selection_file = File(exists=True, mandatory=True)


class _AdaptInputSpec(_SelectedInputSpec):
    explains = traits.Bool(False, usedefault=True, desc="also compute the maps of the decoder")


class _AdaptOutputSpec(ModelOutputSpec):
    maps_file = File(exists=True, desc="maps by the value of stat-")


class AdaptDecoder(PersonalInterface):
    """Fit the decoder of one participant on the selected voxels (TROI stage 2)."""

    input_spec = _AdaptInputSpec
    output_spec = _AdaptOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        targets, folder = read_targets(self.inputs.targets_file), Path(runtime.cwd)
        train, _ = self._people(targets)
        decoder = self._decoder()
        model = decoder.adapt(
            train, targets, read_selection(self.inputs.selection_file),
            self._pretrained(targets), self._context(),
        )
        self._results["model_file"] = str(save_model(folder / "model.safetensors", model))
        if self.inputs.explains:
            np.savez(folder / "maps.npz", **decoder.explain(model, train, targets))
            self._results["maps_file"] = str(folder / "maps.npz")
        return runtime


class _PredictInputSpec(_SelectedInputSpec):
    model_file = File(exists=True, mandatory=True)
    baselines = traits.Bool(True, usedefault=True)
    ablations = traits.Bool(False, usedefault=True, desc="also decode without each part")


class _PredictOutputSpec(TraitedSpec):
    heldout_file = File(exists=True, desc="predictions of decoder and baselines")
    matches_file = File(exists=True, desc="compared with the stimuli of the fold; folds of stimuli")


class PredictHeldOut(PersonalInterface):
    """Predict the test trials of one fold with the decoder and with all baselines."""

    input_spec = _PredictInputSpec
    output_spec = _PredictOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        train, test = self._people(targets)
        decoder, model = self._decoder(), load_model(Path(inputs.model_file))
        results = {"decoder": predict_test(decoder, model, train, test, targets)}
        if inputs.baselines:
            mask = read_selection(inputs.selection_file).mask
            results |= predict_baselines(train, test, targets, mask, inputs.seed)
        if inputs.ablations:
            results |= self._ablations(train, test, targets)
        path = save_heldout(Path(runtime.cwd) / "heldout.npz", test.trials, results)
        self._results["heldout_file"] = str(path)
        if not targets.over_runs and is_crossed(train.trials):
            self._save_matches(Path(runtime.cwd), results, (train, test), targets)
        return runtime

    def _save_matches(
        self, folder: Path, results: dict[str, Predicted], people: tuple[Person, Person],
        targets: Targets,
    ) -> None:
        from bids_decoder.training.refit_stimuli import match_predictions

        matches = {
            name: match_predictions(
                found.values, found.gallery,
                found.values if found.features is None else found.features, *people, targets,
            )
            for name, found in results.items()
        }
        path = save_matches(folder / "matches.npz", MatchedFold(self.inputs.fold, matches))
        self._results["matches_file"] = str(path)

    def _ablations(self, train: Person, test: Person, targets: Targets) -> dict[str, Predicted]:
        from bids_decoder.training.ablations import fit_ablation, list_ablations

        decoder, results = self._decoder(), {}
        pretrained, context = self._pretrained(targets), self._context()
        for ablation in list_ablations(train, targets, pretrained, context):
            model = fit_ablation(decoder, ablation, train, targets)
            results[ablation.name] = predict_test(decoder, model, train, test, targets)
        return results


class _ScoreInputSpec(BaseInterfaceInputSpec):
    heldout_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    matches_files = traits.List(File(exists=True), desc="of folds of stimuli, one per fold")
    nulls_files = traits.List(File(exists=True), desc="of refits, fold by fold")
    targets_file = File(exists=True, mandatory=True)
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    seed = traits.Int(mandatory=True)


class _ScoreOutputSpec(TraitedSpec):
    metrics_file = File(exists=True)
    predictions_file = File(exists=True)
    nulls_file = File(exists=True, desc="null distributions, with a sidecar")
    comparisons_file = File(exists=True, desc="decoder against each baseline")


class ScoreDecoding(SimpleInterface):
    """Score the held-out predictions of all folds together."""

    input_spec = _ScoreInputSpec
    output_spec = _ScoreOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        metrics, predictions, chance, gaps = self._score()
        folder = Path(runtime.cwd)
        self._results["nulls_file"] = str(save_nulls(
            folder / "nulls.tsv", chance, self.inputs.seed
        ))
        self._results["comparisons_file"] = str(save_table(folder / "comparisons.tsv", gaps))
        self._results["metrics_file"] = str(save_table(folder / "metrics.tsv", metrics))
        self._results["predictions_file"] = str(
            save_table(folder / "predictions.tsv", predictions)
        )
        return runtime

    def _score(self) -> Scored:
        inputs = self.inputs
        targets, nulls_files = read_targets(inputs.targets_file), inputs.nulls_files or []
        heldout = [read_heldout(f) for f in inputs.heldout_files]
        if inputs.matches_files:
            return score_stimulus_folds(
                heldout, [read_matches(f) for f in inputs.matches_files],
                [read_matches(f) for f in nulls_files], targets,
            )
        return score_heldout(
            heldout, targets, Evaluation(**inputs.evaluation), inputs.seed,
            [read_nulls(f) for f in nulls_files],
        )


class _WriteInputSpec(WriteInputSpec):
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    selection_file = File(exists=True, mandatory=True, desc="fitted on all training trials")
    model_file = File(exists=True, mandatory=True, desc="fitted on all training trials")
    maps_file = File(exists=True, mandatory=True, desc="of the same model")
    fold_selections = traits.List(File(exists=True), desc="of the folds of cross-validation")
    fold_models = traits.List(File(exists=True), desc="of the folds of cross-validation")
    metrics_file = File(exists=True, mandatory=True)
    predictions_file = File(exists=True, mandatory=True)
    nulls_file = File(exists=True, mandatory=True)
    comparisons_file = File(exists=True, mandatory=True)
    units = traits.Dict(traits.Str(), traits.Str(), desc="of the values that are decoded")
    targets_file = File(exists=True, mandatory=True)
    heldout_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    normalise = traits.Enum("session", "run", usedefault=True, desc="unit of the z-score")
    # Path as text: the file may be made by the same call, before this node runs.
    boldref_file = traits.Str(desc="reference image on the grid of the responses")
    facts = traits.Dict(desc="what the file of the decoder says of its data")


class WriteDecoding(WriteInterface):
    """Write model, mask, maps, predictions and metrics of one participant."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        with np.load(inputs.maps_file, allow_pickle=False) as content:
            maps = dict(content)
        decoding = DecodingOutputs(
            outputs, Path(inputs.folder), read_selection(inputs.selection_file),
            self._fitted(), maps, dict(inputs.units or {}),
        )
        folds = [read_selection(f) for f in inputs.fold_selections or []]
        histories = [load_model(Path(f)).card["history"] for f in inputs.fold_models or []]
        decoding.write_model()
        decoding.write_maps(folds)
        decoding.write_learning(folds, histories)
        decoding.write_tables(Path(inputs.metrics_file), Path(inputs.predictions_file))
        decoding.write_tests(Path(inputs.nulls_file), Path(inputs.comparisons_file))

    def _fitted(self) -> FittedDecoder:
        inputs = self.inputs
        fit = fit_of(
            load_model(Path(inputs.model_file)), read_targets(inputs.targets_file),
            [read_heldout(path) for path in inputs.heldout_files],
        )
        return collect_fitted(
            fit, Path(inputs.folder), inputs.normalise, facts=dict(inputs.facts),
            boldref=Path(inputs.boldref_file) if inputs.boldref_file else None,
        )
