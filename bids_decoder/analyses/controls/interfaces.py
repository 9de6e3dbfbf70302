"""Nodes that decode from confounds: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from nipype.interfaces.base import File, SimpleInterface, TraitedSpec, traits

from bids_decoder.analyses.controls.outputs import COLUMNS, CONTROLS
from bids_decoder.analyses.controls.scoring import Tested, correct_controls, score_control
from bids_decoder.bids.writer import read_table, save_table
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.tables import METRIC_COLUMNS
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.responses import (
    TABLE,
    ResponsesInputSpec,
    confound_as_responses,
    read_confound_values,
    read_trials,
)
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.training.controls import control_fold
from bids_decoder.trials import Targets


class _DecodeInputSpec(ResponsesInputSpec):
    folds = traits.List(traits.Int, desc="folds that are test; empty for a fixed split")
    names = traits.List(traits.Str, mandatory=True, desc="confounds")
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    seed = traits.Int(mandatory=True, desc="of the scores of the decoder")
    n_refits = traits.Int(mandatory=True, desc="permutations, under cross-validation")
    permutation_seed = traits.Int(mandatory=True, desc="of the decoder")
    together = traits.List(traits.List(traits.Str()), desc="stimuli that folds do not separate")


class _DecodeOutputSpec(TraitedSpec):
    metrics_file = File(exists=True)


class DecodeConfounds(SimpleInterface):
    """Decode the held-out trials of all folds from each confound alone."""

    input_spec = _DecodeInputSpec
    output_spec = _DecodeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        targets = read_targets(inputs.targets_file)
        trials = read_trials(Path(inputs.folder) / TABLE)
        values = read_confound_values(Path(inputs.folder))
        # Motion is known only now; without it there is nothing to decode from.
        names = [name for name in inputs.names if name in values and values[name].nunique() > 1]
        tables = [pd.DataFrame(columns=list(METRIC_COLUMNS))]
        tables += [self._score(values[name], trials, targets) for name in names]
        metrics = correct_controls(pd.concat(tables[1:] or tables, ignore_index=True))
        path = Path(runtime.cwd) / "metrics.tsv"
        self._results["metrics_file"] = str(save_table(path, metrics))
        return runtime

    def _score(self, values: pd.Series, trials: pd.DataFrame, targets: Targets) -> pd.DataFrame:
        inputs = self.inputs
        settings = Evaluation(**inputs.evaluation)
        folds = []
        for fold in inputs.folds or [0]:
            train, test = confound_as_responses(
                values, trials, inputs.participant, targets, fold=fold or None,
                normalise=inputs.normalise,
            )
            found = control_fold(train, test, targets, inputs.n_refits, inputs.permutation_seed,
                                 inputs.together or [])
            folds.append(Tested(train, test, found))
        return score_control(str(values.name), folds, targets, settings, inputs.seed)


class _WriteInputSpec(WriteInputSpec):
    metrics_file = File(exists=True, mandatory=True)


class WriteControls(WriteInterface):
    """Write the scores of confounds."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        table = read_table(Path(self.inputs.metrics_file))
        columns = {name: COLUMNS[name] for name in table}
        outputs.table(CONTROLS, table, columns, dict(outputs.card))
