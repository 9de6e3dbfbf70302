"""Outputs of the decode stage in the derivatives of one participant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.decode.published import (
    PUBLISHED,
    PUBLISHED_COLUMNS,
    beside_published,
)
from bids_decoder.bids.writer import read_table
from bids_decoder.evaluation.comparison import VALUE_COMPARISON_COLUMNS
from bids_decoder.evaluation.tables import METRIC_COLUMNS, VALUE_COLUMNS
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.models.store import Model, save_model
from bids_decoder.training.decoders import MAPS
from bids_decoder.training.fitted import FittedDecoder, to_model
from bids_decoder.training.selection.task import Selection
from bids_decoder.trials import VoxelGrid

PREDICTION_COLUMNS = {
    "run_group": "Session, task and run of the trial.",
    "trial": "Row of the trial in the table of its run.",
    "stimulus": "What was shown.",
    "label": "Category label.",
    "split": "test.",
    "fold": "Fold in which the trial was test; n/a for a fixed split.",
    "rank_b2i": "Rank of the right answer among all tested stimuli, or all labels; 1 is best.",
    "top1": "Nearest stimulus or label; top2 … top5 follow.",
    "predicted_label": "Label with the highest score; n/a where stimuli are decoded.",
    "correct": "Whether top1 is right.",
}
VALUE_PREDICTION_COLUMNS = {
    **{name: PREDICTION_COLUMNS[name] for name in (
        "run_group", "trial", "stimulus", "label", "split", "fold",
    )},
    "true": "True value.",
    "predicted": "Value predicted by the decoder.",
    "training_mean": "Mean of the training trials of the fold, against which r2 is computed.",
}
"""The last three stand before the name of each column of values: true_rating and so on."""

LEARNING_COLUMNS = {
    "stage": "stage1: voxel selection; stage2: fine-tuning.",
    "fold": "Fold of cross-validation; n/a for the fit on all training trials.",
    "epoch": "Number of the epoch; 0 is the closed-form start.",
    "loss": "Mean training loss of the epoch.",
    "val_score": "Mean probability of the right answer in left-out training runs.",
    "n_voxels": "Voxels left after the epoch.",
}


def describe_mask(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sidecar of the mask says of the voxels in it.

    Parameters
    ----------
    card : mapping
        Of the decoder, with those of its members if it was fitted with several seeds.
    """
    members = card.get("members", [card])
    if not any(one.get("noise_filter") or one.get("spatial_prior") for one in members):
        return {"Description": "Voxels that the decoder reads.", "ResponsesFiltered": False}
    return {
        "Description": "Voxels that were selected. The decoder reads them after a spatial filter "
        "of responses, so that voxels around them have weights, too.", "ResponsesFiltered": True,
    }


@dataclass
class DecodingOutputs:
    """Writer of the decoding outputs of one participant.

    Parameters
    ----------
    files : PersonOutputs
        Its card is added to the model card.
    folder : Path
        Joined responses of the participant; they define the grid.
    selection : Selection
    fitted : FittedDecoder
        Fitted on all training trials.
    maps : dict of str to ndarray
        See :meth:`bids_decoder.training.decoders.Decoder.explain`.
    units : mapping of str to str
        Units of the values that are decoded, as far as they are known.
    """

    files: PersonOutputs
    folder: Path
    selection: Selection
    fitted: FittedDecoder
    maps: dict[str, np.ndarray]
    units: Mapping[str, str] = field(default_factory=dict)

    def write_model(self) -> None:
        """Write the decoder with what its use on new data needs."""
        path = self.files.path("decoder_model")
        model = to_model(self.fitted)
        save_model(path, Model(model.tensors, {**model.card, **self.files.card}))
        self.files.add(path)

    @property
    def model(self) -> Model:
        """Weights and card of the decoder that was fitted on all training trials."""
        return self.fitted.model

    def write_maps(self, folds: list[Selection]) -> None:
        """Write the mask, the map from which it was made, and the maps that explain the decoder."""
        grid = read_grid(self.folder)
        shared = {"SkullStripped": True, "TrainingTrialsOnly": True, **self.files.space}
        notes = {**self.selection.notes, "n_voxels": int(self.selection.mask.sum()),
                 "n_candidates": grid.n_voxels, "voxel_mm3": round(grid.voxel_volume, 4)}
        mask_meta = {"Type": "ROI", **describe_mask(self.model.card), **notes,
                     "seed": self.files.card.get("seed"), **shared}
        if folds:
            agreement = np.mean([fold.mask for fold in folds], axis=0).astype(np.float32)
            inside = float(agreement[self.selection.mask].mean())
            mask_meta["mean_fold_agreement"] = round(inside, 4)
            self._map(grid, agreement, "stability", "Share of folds that chose the voxel.", shared)
        if self.selection.seed_agreement is not None:
            self._map(grid, self.selection.seed_agreement, "seedstability",
                      "Share of seeds under which the voxel was chosen.", shared)
        self.files.image("troi_mask", grid.to_volume(self.selection.mask), grid, mask_meta)
        self.files.image("troi_map", grid.to_volume(self.selection.score), grid,
                    {"Description": "Score behind the mask; higher is kept longer.", **shared})
        for stat, values in self.maps.items():
            labels = {"Labels": self.model.card["classes"]} if values.ndim > 1 else {}
            self._map(grid, values, stat, MAPS[stat], {**labels, **shared})

    def _map(
        self, grid: VoxelGrid, values: np.ndarray, stat: str, text: str, shared: dict[str, Any]
    ) -> None:
        self.files.image("statmap", grid.to_volume(values), grid, {"Description": text, **shared},
                    label="TROI", stat=stat)

    def write_learning(
        self, folds: list[Selection], histories: list[list[dict[str, float]]]
    ) -> None:
        """Write loss, validation score and voxel count of every epoch."""
        rows = _rows("stage1", None, self.selection.history)
        rows += _rows("stage2", None, self.model.card["history"])
        for number, fold in enumerate(folds, start=1):
            rows += _rows("stage1", number, fold.history)
        for number, history in enumerate(histories, start=1):
            rows += _rows("stage2", number, history)
        table = pd.DataFrame(rows, columns=list(LEARNING_COLUMNS))
        self.files.table("learning", table.astype({"fold": "Int64", "n_voxels": "Int64"}),
                    LEARNING_COLUMNS)

    def write_tables(self, metrics: Path, predictions: Path) -> None:
        """Write the tables of metrics and predictions with their sidecars."""
        scores, trials = read_table(metrics), read_table(predictions)
        values = list(dict.fromkeys(scores.get("target", [])))
        notes = {"Units": {name: self.units.get(name, "n/a") for name in values}}
        self.files.table("metrics", scores, _descriptions(scores, VALUE_COLUMNS)
                         if values else METRIC_COLUMNS, notes if values else None)
        published = beside_published(self.files.entities["sub"], self.files.card, scores)
        if published is not None:
            self.files.table(PUBLISHED, published, PUBLISHED_COLUMNS)
        described = _described_values(values, self.units)
        self.files.table("predictions", trials, PREDICTION_COLUMNS if not values else {
            name: VALUE_PREDICTION_COLUMNS[name] for name in trials if name not in described
        }, described)

    def write_tests(self, nulls: Path, comparisons: Path) -> None:
        """Write null distributions, and the decoder against each baseline."""
        table = read_table(comparisons)
        self.files.table("comparisons", table, _descriptions(table, VALUE_COMPARISON_COLUMNS))
        self.files.nulls("nulls", nulls)


def _descriptions(table: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in columns.items() if name in table}


def _described_values(
    columns: Sequence[str], units: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the entries of a sidecar for true and predicted values of each column."""
    return {
        f"{part}_{name}": {
            "Description": f"{VALUE_PREDICTION_COLUMNS[part]} Column {name}.",
            **({"Units": units[name]} if name in units else {}),
        }
        for name in columns for part in ("true", "predicted", "training_mean")
    }


def _rows(stage: str, fold: int | None, history: list[dict[str, float]]) -> list[dict[str, Any]]:
    return [{"stage": stage, "fold": fold, **entry} for entry in history]
