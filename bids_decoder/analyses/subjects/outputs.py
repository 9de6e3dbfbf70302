"""What decoding one volume per participant leaves in the derivatives."""

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

from bids_decoder.analyses.subjects.interfaces import NETWORK, read_cohort
from bids_decoder.bids.names import derivative_path, unique_names
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.subjects import PermutedRounds, roc_table, score_subjects
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_COLUMNS, join_nulls
from bids_decoder.models.store import Model, load_model, save_model

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


class _WriteInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(desc="key of the stage")
    output_dir = Directory(mandatory=True)
    folder = Directory(exists=True, mandatory=True)
    repeat_files = traits.List(File(exists=True), mandatory=True, desc="of the network, in order")
    comparator_files = traits.List(File(exists=True), mandatory=True)
    comparators = traits.List(traits.Str(), mandatory=True, desc="names, in the same order")
    permuted_files = traits.List(File(exists=True), desc="of the network, then the comparators")
    model_file = File(exists=True, mandatory=True)
    embedding_file = File(exists=True, mandatory=True)
    evaluation = traits.Dict(mandatory=True, desc="fields of config.Evaluation")
    card = traits.Dict(mandatory=True, desc="further entries of sidecars and model card")
    seed = traits.Int(mandatory=True)


class _WriteOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True))


class WriteSubjects(SimpleInterface):
    """Score all models and write the results into the derivatives."""

    input_spec = _WriteInputSpec
    output_spec = _WriteOutputSpec
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        cohort, affine, card = read_cohort(inputs.folder)
        repeats = [dict(np.load(path)) for path in inputs.repeat_files]
        models = {NETWORK: (np.stack([r["scores"] for r in repeats]),
                            np.stack([r["external"] for r in repeats]))}
        for name, path in zip(inputs.comparators, inputs.comparator_files, strict=True):
            content = np.load(path)
            models[name] = (content["scores"], content["external"])
        self._written: list[Path] = []
        self._write_tables(cohort, card, models)
        self._write_maps(cohort, affine, repeats[0]["maps"])
        model = load_model(Path(inputs.model_file))
        path = derivative_path(Path(inputs.output_dir), "subjects_model")
        save_model(path, Model(model.tensors, {**model.card, **inputs.card}))
        self._written += [path, path.with_suffix(".json")]
        self._results["out_files"] = [str(path) for path in self._written]
        return runtime

    def _write_tables(
        self, cohort: Any, card: dict[str, Any], models: dict[str, tuple[np.ndarray, np.ndarray]],
    ) -> None:
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
        self._table("subjects_metrics", pd.concat(metrics), METRIC_COLUMNS)
        if permuted:
            nulls = join_nulls(chance)
            scheme = {**nulls.scheme, "Seed": self.inputs.seed}
            self._table("subjects_nulls", nulls.table, NULL_COLUMNS, scheme)
        self._table("subjects_roc", pd.concat(curves)[list(ROC_COLUMNS)], ROC_COLUMNS)
        people = pd.DataFrame({
            "participant_id": [f"sub-{name}" for name in cohort.names],
            "label": card["labels"], "external": card["external"],
        })
        predictions = [_predictions(people, cohort, name, *pair) for name, pair in models.items()]
        self._table("subjects_predictions", pd.concat(predictions), PREDICTION_COLUMNS)
        places = pd.read_csv(self.inputs.embedding_file)
        joined = people.iloc[places["row"]].reset_index(drop=True).join(places)
        self._table("subjects_embedding", joined[list(EMBEDDING_COLUMNS)], EMBEDDING_COLUMNS)

    def _write_maps(self, cohort: Any, affine: np.ndarray, maps: np.ndarray) -> None:
        names = unique_names(list(cohort.labels))
        mean = cohort.volumes[cohort.inner].mean(axis=0)
        self._image("subjects_mean", mean, affine, {"Description": "Mean standardised volume"})
        for number, label in enumerate(cohort.labels):
            self._image("subjects_map", maps[number], affine, {
                "Description": f"Growth of the cross-entropy of {label} when a window occludes a "
                               "position, held-out participants", "Label": label,
            }, contrast=names[label])

    def _image(
        self, key: str, data: np.ndarray, affine: np.ndarray, metadata: dict[str, Any],
        **entities: str,
    ) -> None:
        path = derivative_path(Path(self.inputs.output_dir), key, **entities)
        save_nifti(path, data.astype(np.float32), affine,
                   metadata={**metadata, **self.inputs.card})
        self._written.append(path)

    def _table(
        self, key: str, table: pd.DataFrame, columns: dict[str, str],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        path = derivative_path(Path(self.inputs.output_dir), key)
        described = {name: {"Description": text} for name, text in columns.items()}
        save_table(path, table, {**described, **(metadata or {}), **self.inputs.card})
        self._written.append(path)


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
