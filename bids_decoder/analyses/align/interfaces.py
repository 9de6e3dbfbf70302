"""Nodes of functional alignment: read files, call ``training`` and ``evaluation``, write."""

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

from bids_decoder.analyses.align.outputs import (
    COMPARISON_TEXTS,
    COMPARISONS,
    METRIC_TEXTS,
    METRICS,
    NULLS,
)
from bids_decoder.analyses.align.scoring import join_models, score_aligned
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.config import Evaluation
from bids_decoder.interfaces.heldout import Predicted, read_heldout, save_heldout
from bids_decoder.interfaces.null_predictions import FoldNulls, read_nulls, save_nulls
from bids_decoder.interfaces.person_outputs import (
    PersonOutputs,
    WriteInputSpec,
    WriteInterface,
)
from bids_decoder.interfaces.person_outputs import save_nulls as save_null_table
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.responses import ResponsesInputSpec, load_person
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.training.alignment import (
    Decoded,
    Group,
    Newcomer,
    decode_aligned,
    reduce_newcomer,
    reduce_source,
)
from bids_decoder.training.refit import PermutedFold, permute_fold
from bids_decoder.trials import Person, Targets


class _FoldInputSpec(ResponsesInputSpec):
    fold = traits.Int(0, usedefault=True, desc="fold that is test; 0 for a fixed split")
    sources = traits.List(traits.Str(), mandatory=True, desc="labels of source participants")
    source_folders = traits.List(
        Directory(exists=True), mandatory=True, desc="their responses, in the same order"
    )
    methods = traits.List(traits.Str(), mandatory=True)
    n_refits = traits.Int(mandatory=True, desc="permutations, under cross-validation")
    permutation_seed = traits.Int(mandatory=True, desc="of the decoder, the same in all folds")


class _FoldOutputSpec(TraitedSpec):
    heldout_file = File(exists=True, desc="predictions of all aligned decoders")
    nulls_file = File(exists=True, desc="the same under permuted labels")


class AlignFold(SimpleInterface):
    """Align the source participants in one fold, and decode its test trials."""

    input_spec = _FoldInputSpec
    output_spec = _FoldOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        targets = read_targets(inputs.targets_file)
        train, test = self._load(inputs.folder, inputs.participant, targets, inputs.fold or None)
        newcomer = reduce_newcomer(train, test, targets, inputs.methods)
        group = Group([
            reduce_source(self._load(path, label, targets, None)[0], targets, inputs.methods)
            for path, label in zip(inputs.source_folders, inputs.sources, strict=True)
        ])
        found = decode_aligned(inputs.methods, group, newcomer, targets)
        models = {name: predicted_of(one, targets) for name, one in found.items()}
        path = save_heldout(folder / "heldout.npz", test.trials, models)
        self._results["heldout_file"] = str(path)
        if inputs.n_refits:
            rng = np.random.default_rng(inputs.permutation_seed)
            drawn = permute_fold(train, test, inputs.n_refits, rng, targets.numbers)
            nulls = self._refit(drawn, group, newcomer, targets)
            self._results["nulls_file"] = str(save_nulls(folder / "nulls.npz", nulls))
        return runtime

    def _load(
        self, folder: str, label: str, targets: Targets, fold: int | None
    ) -> tuple[Person, Person]:
        return load_person(
            Path(folder), label, targets, fold=fold, normalise=self.inputs.normalise
        )

    def _refit(
        self, drawn: PermutedFold, group: Group, newcomer: Newcomer, targets: Targets
    ) -> FoldNulls:
        inputs = self.inputs
        progress = log_progress(
            f"chance after alignment, fold {inputs.fold}", unit="permutation"
        )
        found = []
        for number, rows in enumerate(drawn.train_rows, start=1):
            found.append(decode_aligned(inputs.methods, group, newcomer, targets, rows))
            progress(number, inputs.n_refits)
        scores = {
            name: np.stack([one[name].values for one in found]).astype(np.float32)
            for name in found[0]
        }
        return FoldNulls(inputs.fold, drawn.test_rows, scores, drawn.exchange.describe())


def predicted_of(found: Decoded, targets: Targets) -> Predicted:
    """Return predictions in the shape of baselines; stimuli relative to their mean.

    Parameters
    ----------
    found : Decoded
    targets : Targets
    """
    if targets.over_runs:
        return Predicted(found.values, targets.vectors, None)
    mean = targets.vectors[np.unique(found.train_rows)].mean(axis=0)
    return Predicted(found.values - mean, targets.vectors - mean, None)


class _ScoreInputSpec(BaseInterfaceInputSpec):
    aligned_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    heldout_files = traits.List(
        File(exists=True), mandatory=True, desc="of the decoder and its baselines, one per fold"
    )
    nulls_files = traits.List(File(exists=True), desc="one per fold")
    targets_file = File(exists=True, mandatory=True)
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    seed = traits.Int(mandatory=True, desc="of the scores of the decoder")


class _ScoreOutputSpec(TraitedSpec):
    metrics_file = File(exists=True)
    comparisons_file = File(exists=True)
    nulls_file = File(exists=True, desc="null distributions, with a sidecar")


class ScoreAlignment(SimpleInterface):
    """Score aligned decoders, and compare them with the decoder and with own data alone."""

    input_spec = _ScoreInputSpec
    output_spec = _ScoreOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        targets = read_targets(inputs.targets_file)
        folds = [
            join_models(read_heldout(aligned), read_heldout(decoded), targets.kind)
            for aligned, decoded in zip(inputs.aligned_files, inputs.heldout_files, strict=True)
        ]
        scored = score_aligned(
            folds, targets, Evaluation(**inputs.evaluation), inputs.seed,
            [read_nulls(path) for path in inputs.nulls_files or []],
        )
        for name in ("metrics", "comparisons"):
            path = save_table(folder / f"{name}.tsv", getattr(scored, name))
            self._results[f"{name}_file"] = str(path)
        path = save_null_table(folder / "nulls.tsv", scored.nulls, inputs.seed)
        self._results["nulls_file"] = str(path)
        return runtime


class _WriteInputSpec(WriteInputSpec):
    metrics_file = File(exists=True, mandatory=True)
    comparisons_file = File(exists=True, mandatory=True)
    nulls_file = File(exists=True, mandatory=True)
    facts = traits.Dict(mandatory=True, desc="for the sidecars")


class WriteAlignment(WriteInterface):
    """Write the tables of aligned decoders."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        for name, path, texts in (
            (METRICS, inputs.metrics_file, METRIC_TEXTS),
            (COMPARISONS, inputs.comparisons_file, COMPARISON_TEXTS),
        ):
            outputs.table(name, read_table(Path(path)), texts, dict(inputs.facts))
        outputs.nulls(NULLS, Path(inputs.nulls_file))
