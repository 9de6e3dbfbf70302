"""What the decode stage leaves in the derivatives of one person."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.evaluation.tables import METRIC_COLUMNS
from bids_decoder.interfaces.responses import MASK
from bids_decoder.models.store import Model, save_model
from bids_decoder.training.decoders import Relevance
from bids_decoder.training.selectors import Selection
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
LEARNING_COLUMNS = {
    "stage": "stage1: voxel selection; stage2: fine-tuning.",
    "fold": "Fold of cross-validation; n/a for the fit on all training trials.",
    "epoch": "Number of the epoch; 0 is the closed-form start.",
    "loss": "Mean training loss of the epoch.",
    "val_score": "Mean probability of the right answer in left-out training runs.",
    "n_voxels": "Voxels left after the epoch.",
}


@dataclass
class DecodingOutputs:
    """Writes the outputs of one person and remembers what it wrote.

    Parameters
    ----------
    output_dir : Path
    entities : dict
        sub, and task, space where they apply.
    folder : Path
        Responses of the person; gives the grid.
    selection : Selection
    model : Model
    maps : dict of str to ndarray
        By the value of ``stat-``, each (n_voxels,).
    card : dict
        Added to the model card.
    """

    output_dir: Path
    entities: dict[str, str]
    folder: Path
    selection: Selection
    model: Model
    maps: dict[str, np.ndarray]
    card: dict[str, Any]
    written: list[Path] = field(default_factory=list)

    def _path(self, key: str, **entities: str) -> Path:
        return derivative_path(self.output_dir, key, **self.entities, **entities)

    def _marks(self) -> dict[str, Any]:
        """Say in every sidecar when the pretrained model saw what is decoded with it."""
        names = ("seen_in_pretraining", "test_stimuli_seen")
        return {name: self.card[name] for name in names if self.card.get(name)}

    def _add(self, path: Path, with_sidecar: bool = True) -> None:
        self.written.append(path)
        if with_sidecar:
            self.written.append(path.with_name(path.name.split(".")[0] + ".json"))

    def write_model(self) -> None:
        """Write the weights and the model card."""
        path = self._path("decoder_model")
        save_model(path, Model(self.model.tensors, {**self.model.card, **self.card}))
        self._add(path)

    def write_maps(self, folds: list[Selection]) -> None:
        """Write the mask, the map behind it, and the maps that explain the decoder."""
        grid = self._grid()
        shared = {"SkullStripped": True, "TrainingTrialsOnly": True, **self._space()}
        notes = {**self.selection.notes, "n_voxels": int(self.selection.mask.sum()),
                 "n_candidates": grid.n_voxels, "voxel_mm3": round(grid.voxel_volume, 4)}
        mask_meta = {"Type": "ROI", "Description": "Voxels that the decoder reads.",
                     **notes, "seed": self.card.get("seed"), **shared}
        if folds:
            agreement = np.mean([fold.mask for fold in folds], axis=0).astype(np.float32)
            inside = float(agreement[self.selection.mask].mean())
            mask_meta["mean_fold_agreement"] = round(inside, 4)
            self._map(grid, agreement, "stability", "Share of folds that chose the voxel.", shared)
        self._image("troi_mask", grid.to_volume(self.selection.mask), grid, mask_meta)
        self._image("troi_map", grid.to_volume(self.selection.score), grid,
                    {"Description": "Score behind the mask; higher is kept longer.", **shared})
        for stat, values in self.maps.items():
            self._map(grid, values, stat, "Norm of each voxel's weights in the decoder.", shared)

    def write_relevance(self, relevance: Relevance | None) -> None:
        """Write the maps of the decisions on held-out trials, one per label."""
        if relevance is None:
            return
        grid = self._grid()
        names = unique_names(list(relevance.maps))
        for label, values in relevance.maps.items():
            self._image("relevance_map", grid.to_volume(values), grid, {
                "Description": f"Where decisions for {label} came from", "Label": label,
                "n_trials": relevance.counts[label], **relevance.notes, "SkullStripped": True,
                "TrainingTrialsOnly": False, **self._space(),
            }, contrast=names[label])

    def _grid(self) -> VoxelGrid:
        image = nib.load(self.folder / MASK)
        return VoxelGrid(np.asarray(image.dataobj) > 0, image.affine)

    def _map(
        self, grid: VoxelGrid, values: np.ndarray, stat: str, text: str, shared: dict[str, Any]
    ) -> None:
        self._image("statmap", grid.to_volume(values), grid, {"Description": text, **shared},
                    label="TROI", stat=stat)

    def _image(
        self, key: str, data: np.ndarray, grid: VoxelGrid, metadata: dict[str, Any],
        **entities: str,
    ) -> None:
        path = self._path(key, **entities)
        save_nifti(path, data, grid.affine, metadata={**metadata, **self._marks()})
        self._add(path)

    def _space(self) -> dict[str, str]:
        return {"Space": self.entities["space"]} if "space" in self.entities else {}

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
        self._table("learning", table.astype({"fold": "Int64", "n_voxels": "Int64"}),
                    LEARNING_COLUMNS)

    def write_tables(self, metrics: Path, predictions: Path) -> None:
        """Write the tables of metrics and predictions with their sidecars."""
        self._table("metrics", read_table(metrics), METRIC_COLUMNS)
        self._table("predictions", read_table(predictions), PREDICTION_COLUMNS)

    def _table(self, key: str, table: pd.DataFrame, columns: dict[str, str]) -> None:
        path = self._path(key)
        described = {name: {"Description": text} for name, text in columns.items()}
        save_table(path, table, {**described, **self._marks()})
        self._add(path)


def unique_names(labels: list[str]) -> dict[str, str]:
    """Give each label a name of letters and digits that no other has.

    Examples
    --------
    >>> unique_names(["face", "left hand", "left-hand"])
    {'face': 'face', 'left hand': 'lefthand', 'left-hand': 'lefthand2'}
    """
    names: dict[str, str] = {}
    for label in labels:
        plain = "".join(c for c in label if c.isascii() and c.isalnum()) or "label"
        number = sum(name.rstrip("0123456789") == plain for name in names.values())
        names[label] = plain if plain not in names.values() else f"{plain}{number + 1}"
    return names


def _rows(stage: str, fold: int | None, history: list[dict[str, float]]) -> list[dict[str, Any]]:
    return [{"stage": stage, "fold": fold, **entry} for entry in history]
