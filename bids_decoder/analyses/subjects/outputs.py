"""What decoding one volume per participant leaves in the derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nipype.interfaces.base import Directory, File, traits

from bids_decoder.analyses.subjects.interfaces import NETWORK, read_cohort
from bids_decoder.bids.names import unique_names
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.subjects import PermutedRounds, roc_table, score_subjects
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_COLUMNS, join_nulls
from bids_decoder.interfaces.person_outputs import PersonOutputs, WriteInputSpec, WriteInterface
from bids_decoder.models.store import Model, load_model, save_model
from bids_decoder.trials import VoxelGrid

Models = dict[str, tuple[np.ndarray, np.ndarray]]
"""Name of a network or comparator -> scores of the rounds, and of external participants."""

PREDICTION_COLUMNS = {
    "participant_id": "Participant.",
    "label": "True label.",
    "external": "Whether the label is external: in no fit and no fold.",
    "model": "Network or comparator.",
    "predicted_label": "Label with the highest mean probability over repeats.",
    "agreement": "Share of repeats that predict this label.",
}
EMBEDDING_COLUMNS = {
    "participant_id": "Participant.",
    "label": "True label.",
    "external": "Whether the label is external.",
    "source": "features: of the network fitted on all non-external participants; voxels: grey "
              "values.",
    "method": "UMAP, or PCA where umap-learn is not installed.",
    "x": "First axis of the plane.",
    "y": "Second axis of the plane.",
}
ROC_COLUMNS = {
    "model": "Network or comparator.",
    "label": "One label against the rest.",
    "false_positive_rate": "Share of the rest above the threshold.",
    "true_positive_rate": "Share of the label above the threshold.",
}


class _WriteInputSpec(WriteInputSpec):
    folder = Directory(exists=True, mandatory=True)
    repeat_files = traits.List(File(exists=True), mandatory=True, desc="of the network, in order")
    comparator_files = traits.List(File(exists=True), mandatory=True)
    comparators = traits.List(traits.Str(), mandatory=True, desc="names, in the same order")
    permuted_files = traits.List(File(exists=True), desc="of the network, then the comparators")
    model_file = File(exists=True, mandatory=True)
    embedding_file = File(exists=True, mandatory=True)
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    seed = traits.Int(mandatory=True)


class WriteSubjects(WriteInterface):
    """Score all models and write the results into the derivatives."""

    input_spec = _WriteInputSpec

    def _write(self, outputs: PersonOutputs) -> None:
        inputs = self.inputs
        cohort, affine, card = read_cohort(inputs.folder)
        repeats = [dict(np.load(path)) for path in inputs.repeat_files]
        models = {NETWORK: (np.stack([r["scores"] for r in repeats]),
                            np.stack([r["external"] for r in repeats]))}
        for name, path in zip(inputs.comparators, inputs.comparator_files, strict=True):
            content = np.load(path)
            models[name] = (content["scores"], content["external"])
        self._write_scores(cohort, models, outputs)
        self._write_people(cohort, card, models, outputs)
        _write_maps(cohort, affine, repeats[0]["maps"], outputs)
        model = load_model(Path(inputs.model_file))
        path = outputs.path("subjects_model")
        save_model(path, Model(model.tensors, {**model.card, **outputs.card}))
        outputs.add(path)

    def _write_scores(self, cohort: Any, models: Models, outputs: PersonOutputs) -> None:
        settings, classes = Evaluation(**self.inputs.evaluation), cohort.classes[cohort.inner]
        metrics, chance, curves = [], [], []
        permuted = [PermutedRounds(**np.load(path)) for path in self.inputs.permuted_files or []]
        for number, (name, (scores, _)) in enumerate(models.items()):
            table, nulls = score_subjects(
                scores, classes, n_splits=self.inputs.card["n_splits"], model=name,
                settings=settings,
                rng=np.random.default_rng(self.inputs.seed),
                permuted=permuted[number] if permuted else None,
            )
            metrics.append(table)
            chance.append(nulls)
            curves.append(roc_table(scores, classes, list(cohort.labels)).assign(model=name))
        outputs.table("subjects_metrics", pd.concat(metrics), METRIC_COLUMNS, outputs.card)
        if permuted:
            nulls = join_nulls(chance)
            scheme = {**nulls.scheme, "Seed": self.inputs.seed}
            outputs.table("subjects_nulls", nulls.table, NULL_COLUMNS, {**scheme, **outputs.card})
        table = pd.concat(curves)[list(ROC_COLUMNS)]
        outputs.table("subjects_roc", table, ROC_COLUMNS, outputs.card)

    def _write_people(
        self, cohort: Any, card: dict[str, Any], models: Models, outputs: PersonOutputs
    ) -> None:
        people = pd.DataFrame({
            "participant_id": [f"sub-{name}" for name in cohort.names],
            "label": card["labels"], "external": card["external"],
        })
        predictions = pd.concat([
            _predictions(people, cohort, name, *pair) for name, pair in models.items()
        ])
        outputs.table("subjects_predictions", predictions, PREDICTION_COLUMNS, outputs.card)
        places = pd.read_csv(self.inputs.embedding_file)
        joined = people.iloc[places["row"]].reset_index(drop=True).join(places)
        joined = joined[list(EMBEDDING_COLUMNS)]
        outputs.table("subjects_embedding", joined, EMBEDDING_COLUMNS, outputs.card)


def _write_maps(
    cohort: Any, affine: np.ndarray, maps: np.ndarray, outputs: PersonOutputs
) -> None:
    grid = VoxelGrid(np.ones(cohort.volumes.shape[1:], dtype=bool), affine)
    names = unique_names(list(cohort.labels))
    mean = cohort.volumes[cohort.inner].mean(axis=0)
    about = {"Description": "Mean standardised volume", **outputs.card}
    outputs.image("subjects_mean", mean, grid, about)
    for values, label in zip(maps, cohort.labels, strict=True):
        about = {
            "Description": f"Growth of the cross-entropy of {label} when a window occludes a "
                           "position, held-out participants", "Label": label, **outputs.card,
        }
        outputs.image("subjects_map", values, grid, about, contrast=names[label])


def _predictions(
    people: pd.DataFrame, cohort: Any, model: str, scores: np.ndarray, external: np.ndarray
) -> pd.DataFrame:
    """Return one row per participant: label of the mean probability, agreement of repeats."""
    everybody = np.zeros((len(scores), len(people), len(cohort.labels)))
    everybody[:, cohort.inner], everybody[:, cohort.outer] = scores, external
    chosen = everybody.mean(axis=0).argmax(axis=1)
    return people.assign(
        model=model, predicted_label=np.array(cohort.labels)[chosen],
        agreement=(everybody.argmax(axis=2) == chosen).mean(axis=0),
    )
