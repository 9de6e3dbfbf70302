"""Nodes of decoding in regions: read files, call ``training`` and ``evaluation``, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import Directory, File, SimpleInterface, TraitedSpec, traits

from bids_decoder.analyses.regions.outputs import write_scores
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.regions import (
    LabelFold,
    RegionScores,
    join_retrieval,
    score_label_folds,
)
from bids_decoder.evaluation.retrieval import Embedded, score_headline
from bids_decoder.evaluation.search_maps import Accuracy
from bids_decoder.files import read_json, write_json
from bids_decoder.glm.reliability import enough_repeats, noise_ceiling
from bids_decoder.interfaces.heldout import training_mean
from bids_decoder.interfaces.label_folds import LabelFoldInputSpec, exchange_labels
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.interfaces.progress import log_progress
from bids_decoder.interfaces.regions import read_regions
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.interfaces.responses import load_person
from bids_decoder.interfaces.targets import read_targets
from bids_decoder.preprocessing.labels import Region
from bids_decoder.training.regions import decode_labels, predict_vectors
from bids_decoder.training.searchlight import Fold
from bids_decoder.trials import Person, Targets

Runtime = Any


class _DecodeInputSpec(LabelFoldInputSpec):
    regions_file = File(exists=True, mandatory=True, desc="of FindRegions")
    estimator = traits.Enum("lda", "ridge", usedefault=True, desc="of labels")
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    score_seed = traits.Int(mandatory=True, desc="of the scores of the decoder")


class _DecodeOutputSpec(TraitedSpec):
    scores_file = File(exists=True, desc="LabelFold, or RegionScores of images, as npz")
    facts_file = File(exists=True, desc="what was fitted, as JSON")


class DecodeRegions(SimpleInterface):
    """Decode the test trials of one fold in every region, with true and permuted labels."""

    input_spec = _DecodeInputSpec
    output_spec = _DecodeOutputSpec

    def _run_interface(self, runtime: Runtime) -> Runtime:
        inputs, folder = self.inputs, Path(runtime.cwd)
        targets = read_targets(inputs.targets_file)
        regions = read_regions(inputs.regions_file)
        train, test = load_person(
            Path(inputs.folder), inputs.participant, targets, fold=inputs.fold or None,
            normalise=inputs.normalise,
        )
        decode = self._labels if targets.kind == "category" else self._vectors
        found, facts = decode(train, test, targets, regions)
        np.savez(folder / "scores.npz", **vars(found))
        self._results["scores_file"] = str(folder / "scores.npz")
        self._results["facts_file"] = str(write_json(folder / "facts.json", facts))
        return runtime

    def _labels(
        self, train: Person, test: Person, targets: Targets, regions: list[Region]
    ) -> tuple[LabelFold, dict[str, Any]]:
        inputs = self.inputs
        labels = exchange_labels(inputs, train, test, len(targets.ids))
        found = decode_labels(
            Fold(train.betas, test.betas, labels.train, len(targets.ids)),
            [region.voxels for region in regions], inputs.estimator,
            Accuracy(labels.test, labels.weights), self._progress(),
        )
        facts = {
            "p_min": labels.exchange.smallest_p(inputs.n_permutations),
            "shrinkage": found.shrinkage.tolist(), "n_labels": labels.n_tested,
            "exchange": labels.exchange.describe(),
        }
        own = LabelFold(found.values, found.predicted, test.target_rows, test.run_groups)
        return own, facts

    def _vectors(
        self, train: Person, test: Person, targets: Targets, regions: list[Region]
    ) -> tuple[RegionScores, dict[str, Any]]:
        inputs = self.inputs
        settings = Evaluation(**inputs.evaluation)
        stimuli, mean = test.trials["stimulus"].to_numpy(str), training_mean(train, targets)
        predictions = predict_vectors(
            train, test, targets, [region.voxels for region in regions], self._progress()
        )
        rows, p_min = [], 1.0
        for predicted in predictions:
            trials = Embedded(
                predicted - mean, stimuli, test.run_groups, targets.vectors - mean,
                np.array(targets.ids),
            )
            row, p_min = score_headline(trials, settings, np.random.default_rng(inputs.score_seed))
            rows.append(row)
        facts = {"exchange": {"ExchangedUnits": "images"}, "pool_size": rows[0]["pool_size"]}
        return join_retrieval(rows, p_min), facts

    def _progress(self) -> Any:
        return log_progress(f"regions, fold {self.inputs.fold}", unit="region")


class _WriteInputSpec(WriteInputSpec):
    targets_file = File(exists=True, mandatory=True)
    folder = Directory(exists=True, mandatory=True, desc="of CollectResponses")
    participant = traits.Str(mandatory=True)
    normalise = traits.Enum("session", "run", usedefault=True, desc="unit of the z-score")
    regions_file = File(exists=True, mandatory=True, desc="of FindRegions")
    left_out = traits.List(traits.Str, desc="regions of few voxels")
    scores_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")
    facts_files = traits.List(File(exists=True), mandatory=True, desc="one per fold")


class WriteRegions(WriteInterface):
    """Join the folds, test each region and all together, and write tables and maps."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        targets, folder = read_targets(inputs.targets_file), Path(inputs.folder)
        facts = [read_json(Path(path)) for path in inputs.facts_files]
        parts = []
        for path in inputs.scores_files:
            with np.load(path, allow_pickle=False) as content:
                parts.append({name: content[name] for name in content.files})
        is_category = targets.kind == "category"
        if is_category:
            folds = [LabelFold(**part) for part in parts]
            scores = score_label_folds(folds, len(targets.ids), facts[0]["p_min"])
        else:
            (part,) = parts
            scores = RegionScores(**{
                name: value if value.ndim else value.item() for name, value in part.items()
            })
        regions = read_regions(inputs.regions_file)
        train, _ = load_person(
            folder, inputs.participant, targets, fold=None, normalise=inputs.normalise
        )
        grid = read_grid(folder)
        outputs.card |= _card(facts, regions, list(inputs.left_out))
        outputs.card["Grid"] = grid.geometry.kind
        if not is_category:
            outputs.card["Estimator"] = "ridge"
        ceilings = mean_ceilings(train, "label" if is_category else "stimulus", regions)
        write_scores(outputs, scores, regions, ceilings, grid)


def _card(
    facts: list[dict[str, Any]], regions: list[Region], left_out: list[str]
) -> dict[str, Any]:
    card = {
        "Atlases": list(dict.fromkeys(region.atlas for region in regions)), "LeftOut": left_out,
        "Folds": len(facts), "Null": "refitted" if len(facts) > 1 else "fixed",
        **facts[0]["exchange"],
    }
    if "n_labels" in facts[0]:
        card["Labels"] = facts[0]["n_labels"]
        card["MedianShrinkage"] = float(np.median([one["shrinkage"] for one in facts]))
    else:
        card["PoolSize"] = facts[0]["pool_size"]
    return card


def mean_ceilings(train: Person, column: str, regions: list[Region]) -> np.ndarray:
    """Compute the mean noise ceiling of the voxels of each region.

    Parameters
    ----------
    train : Person
        Training trials; under cross-validation all.
    column : {"label", "stimulus"}
        What repeats.
    regions : list of Region

    Returns
    -------
    ndarray, shape (n_regions,)
        Percent of the variance of single trials; NaN where too little is repeated.
    """
    names = train.trials[column].to_numpy(str)
    if not enough_repeats(names):
        return np.full(len(regions), np.nan)
    ceilings = noise_ceiling(train.betas, names)[1]
    return np.array([ceilings[region.voxels].mean() for region in regions])
