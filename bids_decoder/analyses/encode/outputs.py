"""Outputs of the encode stage in the derivatives of one participant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.bids.writer import read_table
from bids_decoder.evaluation.tables import ENCODING_COLUMNS, ENCODING_NULL_COLUMNS
from bids_decoder.evaluation.voxelwise import COMPARISON_COLUMNS
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.models.store import Model, save_model
from bids_decoder.trials import VoxelGrid

PREDICTION_COLUMNS = {
    "stimulus": "What was shown.",
    "run_group": "Session, task and run of the trial.",
    "rank_b2i": "Rank of the right image when the measured pattern looks for its prediction.",
    "top1": "Image with the most similar predicted pattern; top2 … top5 follow.",
    "similarity": "Cosine of the measured pattern and the prediction for the right image.",
    "similarity_top1": "The highest cosine.",
    "pool_size": "Number of images to choose from.",
}
LEARNING_COLUMNS = {
    "encoder": "Encoder; those without epochs have no rows.",
    "epoch": "Number of the epoch.",
    "loss": "Mean training loss of the epoch, on the inner split.",
    "val_score": "Mean cubed correlation over voxels on training trials set aside.",
}
MAPS = {
    "correlation": "Correlation of predicted and measured responses over held-out stimuli.",
    "normalised": "The same divided by the noise ceiling; 0 where the ceiling is below 0.2.",
    "ceiling": "Noise ceiling: correlation that a perfect model could reach, from repeats.",
    "logq": "Minus log10 of the permutation p-value, corrected for the false discovery rate.",
    "score": "Correlation on training trials set aside, by which voxels are selected.",
    "strength": "Standard deviation of the predictions over training trials, in units of the "
                "encoder's own.",
}
_TRAINING_ONLY = ("score", "strength")


@dataclass(frozen=True)
class EncodingOutputs:
    """Writer of the outputs of one participant.

    Parameters
    ----------
    outputs : PersonOutputs
        Its card is added to that of the model.
    folder : Path
        Responses of the participant; they define the grid.
    models : dict of str to Model
        All encoders, the chosen one first.
    maps : dict of str to ndarray
        Each (n_voxels,): maps of the chosen encoder by name, ``correlation/<encoder>`` of the
        others, ``selected`` and ``common``.
    """

    outputs: PersonOutputs
    folder: Path
    models: dict[str, Model]
    maps: dict[str, np.ndarray]

    @property
    def _chosen(self) -> tuple[str, Model]:
        return next(iter(self.models.items()))

    def write_model(self) -> None:
        """Write the weights and the card of the chosen encoder."""
        _, model = self._chosen
        path = self.outputs.path("encoder_model")
        others = [name for name in self.models if name != self._chosen[0]]
        card = {**model.card, **self.outputs.card, "beside": others}
        save_model(path, Model(model.tensors, card))
        self.outputs.add(path)

    def write_maps(self) -> None:
        """Write the masks of selected and of predicted voxels, and all maps."""
        grid = read_grid(self.folder)
        name, model = self._chosen
        shared = {"SkullStripped": True, **self.outputs.space}
        selected = self.maps["selected"]
        self._image("encoder_mask", grid, selected, {
            "Type": "ROI", "encoder": name, "n_voxels": int(selected.sum()),
            "n_predicted": len(selected), "n_candidates": grid.n_voxels,
            "Description": "Voxels selected by accuracy on training trials set aside.",
            "TrainingTrialsOnly": True, **shared,
        })
        self._image("encoder_map_mask", grid, np.ones(len(selected), dtype=np.uint8), {
            "Type": "ROI", "n_predicted": len(selected), "n_candidates": grid.n_voxels,
            "Description": "Voxels that the encoders predict: where maps have values, 0 among "
                           "them.", **shared,
        })
        found = {stat: self.maps[stat] for stat in MAPS if stat in self.maps}
        found["strength"] = model.tensors["calibration.sd"]
        for stat, values in found.items():
            self._map(grid, name, stat, values, shared)
        for key, values in self.maps.items():
            if key.startswith("correlation/"):
                self._map(grid, key.removeprefix("correlation/"), "correlation", values, shared)

    def _map(
        self, grid: VoxelGrid, encoder: str, stat: str, values: np.ndarray, shared: dict[str, Any]
    ) -> None:
        text = f"Encoder {encoder}. {MAPS[stat]}" if stat != "ceiling" else MAPS[stat]
        content = {
            "Description": text, "encoder": encoder,
            "TrainingTrialsOnly": stat in _TRAINING_ONLY, **shared,
        }
        if stat in ("ceiling", "normalised"):
            content["repeats_of"] = self.outputs.card["ceiling_from"]
        self._image("encoder_map", grid, values, content,
                    label=encoder.replace("-", ""), stat=stat)

    def _image(
        self, key: str, grid: VoxelGrid, values: np.ndarray, metadata: dict[str, Any],
        **entities: str,
    ) -> None:
        everywhere = np.zeros(grid.n_voxels, dtype=values.dtype)
        everywhere[self._chosen[1].tensors["voxels"]] = values
        self.outputs.image(key, grid.to_volume(everywhere), grid, metadata, **entities)

    def write_learning(self) -> None:
        """Write loss and validation score of every epoch on the inner split."""
        rows = [
            {"encoder": name, **entry}
            for name, model in self.models.items() for entry in model.card["history"]
        ]
        table = pd.DataFrame(rows, columns=list(LEARNING_COLUMNS))
        self.outputs.table("encoder_learning", table, LEARNING_COLUMNS)

    def write_tables(
        self, metrics: Path, comparisons: Path, predictions: Path, nulls: Path
    ) -> None:
        """Write the tables of metrics, comparisons, identified trials and null distributions."""
        self.outputs.table("encoder_metrics", read_table(metrics), ENCODING_COLUMNS)
        self.outputs.table("encoder_comparisons", read_table(comparisons), COMPARISON_COLUMNS)
        self.outputs.table("encoder_predictions", read_table(predictions), PREDICTION_COLUMNS)
        self.outputs.nulls("encoder_nulls", nulls, ENCODING_NULL_COLUMNS)
