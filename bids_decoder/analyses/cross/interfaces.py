"""Nodes of cross-decoding: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
    isdefined,
    traits,
)

from bids_decoder.analyses.cross.outputs import write_tables
from bids_decoder.analyses.cross.scoring import score_row
from bids_decoder.analyses.refits import BASELINES
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.baselines import assert_sides
from bids_decoder.evaluation.kinds import Row, number_folds
from bids_decoder.interfaces.fitting import DecoderInputSpec, FitInterface
from bids_decoder.interfaces.heldout import Predicted, read_heldout, save_heldout
from bids_decoder.interfaces.null_predictions import FoldNulls, read_nulls, save_nulls
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.predicting import predict_baselines, predict_test
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.responses import TABLE, load_sides, read_trials
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.targets import make_targets
from bids_decoder.training.decoders import Decoder
from bids_decoder.training.refit import DECODER
from bids_decoder.trials import Person, Targets

Runtime = Any


class _RowInputSpec(DecoderInputSpec):
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    participant = traits.Str(mandatory=True)
    row = traits.Dict(mandatory=True, desc="fields of Row")
    targets_file = File(exists=True, desc="vectors of stimuli; labels are those of the row")


class _Fit(NamedTuple):
    """One fit of a row: its number, from 1, and its trials."""

    number: int
    n_fits: int
    train: Person
    test: Person


class _RowInterface(FitInterface):
    """Base class of the nodes that fit decoders to one kind of trials."""

    def _targets(self) -> Targets:
        return _targets_of(self.inputs)

    def _fits(self, tests: list[str]) -> Iterator[_Fit]:
        """Yield the fits that test trials of some kinds, with these test trials only."""
        inputs, row = self.inputs, Row(**self.inputs.row)
        trials = read_trials(Path(inputs.folder) / TABLE)
        kind_of, fits = row.kind_of(trials), row.fits(trials)
        wanted = np.isin(kind_of.astype(str), tests)
        trials = trials.assign(kind=kind_of, fold=number_folds(fits, len(trials)))
        for number, sides in enumerate(fits, start=1):
            test = sides.test & wanted
            if test.any():
                split = np.where(sides.train, "train", np.where(test, "test", "unused"))
                people = load_sides(
                    Path(inputs.folder), inputs.participant, trials.assign(split=split),
                    self._targets(), inputs.normalise,
                )
                yield _Fit(number, len(fits), *people)

    def _context_of(self, fit: _Fit) -> Any:
        return replace(self._context(), seed=derive_seed(self.inputs.seed, fit.number))


class _CrossOutputSpec(TraitedSpec):
    heldout_file = File(exists=True, desc="predictions of decoder and baselines")


class CrossDecode(_RowInterface):
    """Fit decoder and baselines to one kind of trials and predict trials of all tested kinds."""

    input_spec = _RowInputSpec
    output_spec = _CrossOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        row, decoder, targets = Row(**self.inputs.row), self._decoder(), self._targets()
        progress = log_progress(f"cross-decoding from {row.train}", unit="fit")
        tables, parts = [], []
        for fit in self._fits(list(row.tests)):
            parts.append(self._predict(decoder, fit, targets))
            learnt = set(fit.train.trials["stimulus"])
            tables.append(fit.test.trials.assign(
                n_train=len(fit.train.trials), seen=fit.test.trials["stimulus"].isin(learnt),
            ))
            progress(fit.number, fit.n_fits)
        models = {name: _joined([part[name] for part in parts]) for name in parts[0]}
        path = save_heldout(Path(runtime.cwd) / "heldout.npz", pd.concat(tables), models)
        self._results["heldout_file"] = str(path)
        return runtime

    def _predict(self, decoder: Decoder, fit: _Fit, targets: Targets) -> dict[str, Predicted]:
        """Fit the decoder and all baselines, and predict class scores or vectors of stimuli."""
        from bids_decoder.training.crossing import score_models

        context = self._context_of(fit)
        if targets.over_runs:
            scores = score_models(decoder, fit.train, fit.test, targets, context)
            classes = np.eye(len(targets.ids))
            return {name: Predicted(values, classes, None) for name, values in scores.items()}
        assert_sides(fit.train, fit.test, targets)
        selection, model = decoder.fit(fit.train, targets, None, context)
        return {
            DECODER: predict_test(decoder, model, fit.train, fit.test, targets),
            **predict_baselines(fit.train, fit.test, targets, selection.mask, context.seed),
        }


def _targets_of(inputs: Any) -> Targets:
    """Return the labels of a row, or the stimuli of a file."""
    if isdefined(inputs.targets_file):
        return read_targets(inputs.targets_file)
    return make_targets("category", inputs.row["classes"])


def _joined(parts: list[Predicted]) -> Predicted:
    """Join the predictions of all fits; where stimuli are decoded there is one."""
    first = parts[0]
    return replace(first, values=np.concatenate([part.values for part in parts]))


class _RefitInputSpec(_RowInputSpec):
    n_permutations = traits.Int(mandatory=True, desc="of all parts together")
    permutation_seed = traits.Int(mandatory=True)
    first = traits.Int(mandatory=True, desc="number of the first permutation of this part")
    count = traits.Int(mandatory=True, desc="permutations of this part")


class _RefitOutputSpec(TraitedSpec):
    nulls_files = traits.List(File(exists=True), desc="null predictions, one per fold")


class RefitWithin(_RowInterface):
    """Repeat the fits that test trials of the training kind for some permutations of its labels."""

    input_spec = _RefitInputSpec
    output_spec = _RefitOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        from bids_decoder.training.refit import permute_fold, refit_baselines, refit_fold

        inputs, files = self.inputs, []
        for fit in self._fits([inputs.row["train"]]):
            rng = np.random.default_rng(inputs.permutation_seed)
            fold = permute_fold(fit.train, fit.test, inputs.n_permutations, rng)
            fold = fold.part(inputs.first, inputs.count)
            given = self._decoder(), fold, self._targets(), None, self._context_of(fit)
            progress = log_progress(f"chance within {inputs.row['train']}, fold {fit.number}",
                                    unit="permutation")
            scores = {
                DECODER: refit_fold(*given, progress),
                **refit_baselines(*given, max(0, BASELINES - inputs.first)),
            }
            nulls = FoldNulls(fit.number, fold.test_rows, scores, fold.exchange.describe())
            path = Path(runtime.cwd) / f"nulls{fit.number}.npz"
            files.append(str(save_nulls(path, nulls)))
        self._results["nulls_files"] = files
        return runtime


class _ScoreInputSpec(BaseInterfaceInputSpec):
    row = traits.Dict(mandatory=True, desc="fields of Row")
    targets_file = File(exists=True, desc="vectors of stimuli; labels are those of the row")
    heldout_file = File(exists=True, mandatory=True)
    nulls_files = traits.List(File(exists=True), desc="of RefitWithin")
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    seed = traits.Int(mandatory=True)


class _ScoreOutputSpec(TraitedSpec):
    metrics_file = File(exists=True)
    predictions_file = File(exists=True)
    nulls_file = File(exists=True)


class ScoreCross(SimpleInterface):
    """Score the predictions of one row, kind by kind."""

    input_spec = _ScoreInputSpec
    output_spec = _ScoreOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs = self.inputs
        nulls = [read_nulls(path) for path in inputs.nulls_files or []]
        scored = score_row(
            Row(**inputs.row), _targets_of(inputs), read_heldout(inputs.heldout_file),
            sorted(nulls, key=lambda part: part.fold), Evaluation(**inputs.evaluation), inputs.seed,
        )
        folder = Path(runtime.cwd)
        for name in ("metrics", "predictions", "nulls"):
            path = save_table(folder / f"{name}.tsv", getattr(scored, name))
            self._results[f"{name}_file"] = str(path)
        return runtime


class _WriteInputSpec(WriteInputSpec):
    metrics_files = traits.List(File(exists=True), mandatory=True, desc="one per row")
    predictions_files = traits.List(File(exists=True), mandatory=True, desc="one per row")
    nulls_files = traits.List(File(exists=True), mandatory=True, desc="one per row")


class WriteCross(WriteInterface):
    """Write the tables of all rows."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        write_tables(outputs, *(
            pd.concat([read_table(Path(path)) for path in paths], ignore_index=True)
            for paths in (inputs.metrics_files, inputs.predictions_files, inputs.nulls_files)
        ))
