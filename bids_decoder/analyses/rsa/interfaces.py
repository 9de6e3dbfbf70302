"""Nodes of representational similarity analysis: read files, call ``evaluation``, write."""

from __future__ import annotations

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

from bids_decoder.analyses.rsa.models import (
    condition_column,
    conditions_of,
    labels_of,
    make_model,
    model_of_labels,
    model_of_vectors,
)
from bids_decoder.analyses.rsa.options import FEATURES, LABEL
from bids_decoder.analyses.rsa.outputs import write_rsa
from bids_decoder.evaluation.dissimilarity import measure_geometry
from bids_decoder.evaluation.rdm_models import compare_models
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.responses import TABLE, read_trials, scale_responses
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.trials import Targets

Runtime = Any


class _CompareInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    targets_file = File(exists=True, mandatory=True)
    normalise = traits.Enum("session", "run", mandatory=True)
    kind = traits.Str(mandatory=True, desc="of the targets")
    models = traits.Dict(mandatory=True, desc="name -> label, features or path of a table")
    n_permutations = traits.Int(mandatory=True)
    seed = traits.Int(mandatory=True)


class _CompareOutputSpec(TraitedSpec):
    arrays_file = File(exists=True, desc="npz")
    facts_file = File(exists=True, desc="what was measured, as JSON")


class CompareModels(SimpleInterface):
    """Measure the distances of all conditions and compare models with them."""

    input_spec = _CompareInputSpec
    output_spec = _CompareOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        # Nothing is fitted to labels or targets: all trials give the statistics.
        trials = read_trials(Path(inputs.folder) / TABLE).assign(split="train")
        betas = scale_responses(
            Path(inputs.folder), trials, inputs.normalise, np.ones(len(trials), dtype=bool)
        )
        names = conditions_of(trials, inputs.kind)
        column = trials[condition_column(inputs.kind)].astype(str)
        used = column.isin(names).to_numpy()
        conditions = pd.Categorical(column[used], categories=names).codes.astype(int)
        runs = pd.factorize(trials["run_group"][used])[0]
        geometry = measure_geometry(betas[used], conditions, runs)
        models = self._models(trials, names, read_targets(inputs.targets_file))
        found = compare_models(
            geometry, np.stack(list(models.values())), inputs.n_permutations,
            np.random.default_rng(inputs.seed),
        )
        np.savez(folder / "rsa.npz", distances=geometry.distances(),
                 models=np.stack(list(models.values())), **vars(found))
        facts = {
            "conditions": names, "models": list(models), "n_runs": int(runs.max()) + 1,
            "n_trials": int(used.sum()), "n_voxels": int(betas.shape[1]),
            "shrinkage": geometry.shrinkage, "residuals": geometry.residuals,
        }
        self._results["arrays_file"] = str(folder / "rsa.npz")
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime

    def _models(
        self, trials: pd.DataFrame, names: list[str], targets: Targets
    ) -> dict[str, np.ndarray]:
        found = {}
        for name, word in self.inputs.models.items():
            if word == LABEL:
                known = labels_of(trials, names)
                found[name] = model_of_labels([known[one] for one in names])
            elif word == FEATURES:
                found[name] = model_of_vectors(targets.vectors[targets.rows_of(np.array(names))])
            else:
                found[name] = make_model(word, names)
        return found


class _WriteInputSpec(WriteInputSpec):
    arrays_file = File(exists=True, mandatory=True)
    facts_file = File(exists=True, mandatory=True)


class WriteRsa(WriteInterface):
    """Write distances, models and scores."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        with np.load(self.inputs.arrays_file, allow_pickle=False) as content:
            arrays = dict(content)
        write_rsa(outputs, arrays, read_json(Path(self.inputs.facts_file)))
