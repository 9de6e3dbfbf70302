"""What the decode stage leaves in the derivatives of one person."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image

from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.evaluation.comparison import COMPARISON_COLUMNS
from bids_decoder.evaluation.reconstruction import METRIC_COLUMNS as RECONSTRUCTION_COLUMNS
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_COLUMNS
from bids_decoder.files import read_json, write_bytes, write_json
from bids_decoder.interfaces.responses import MASK
from bids_decoder.interfaces.scoring import N_BEST
from bids_decoder.models.store import Model, save_model
from bids_decoder.stimuli.images import load_picture
from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture
from bids_decoder.training.decoders import Relevance
from bids_decoder.training.selectors import Selection
from bids_decoder.trials import VoxelGrid

_SHEET_ROWS = 10
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
GALLERY_COLUMNS = {
    "stimulus": "What was shown.",
    "n_trials": "Number of trials whose predictions were averaged.",
    "rank": "Rank of what was shown among all images; 1 is best.",
    "similarity": "Cosine of the prediction with what was shown.",
    "pool_size": "Number of images: all tested stimuli and the gallery.",
}
PICTURE_COLUMNS = {
    "stimulus": "What was shown.",
    "picture": "Its reconstruction, relative to the folder of the participant.",
    "nearest_training_stimulus": "The training stimulus nearest to what was decoded.",
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
        if self.selection.seed_agreement is not None:
            self._map(grid, self.selection.seed_agreement, "seedstability",
                      "Share of seeds under which the voxel was chosen.", shared)
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

    def write_tests(self, nulls: Path, comparisons: Path) -> None:
        """Write null distributions, and the decoder against each baseline."""
        self._table("comparisons", read_table(comparisons), COMPARISON_COLUMNS)
        table = read_table(nulls)
        if len(table):
            scheme = read_json(nulls.with_suffix(".json"))
            self._table("nulls", table, NULL_COLUMNS, scheme)

    def write_gallery(self, lists: Path, images: dict[str, Path]) -> None:
        """Write the list of nearest images and a sheet of some of them."""
        table = read_table(lists)
        columns = {**GALLERY_COLUMNS, **{
            name: f"{'Image' if name.startswith('top') else 'Cosine of image'} on this place."
            for name in table if name.startswith(("top", "similarity")) and name[-1].isdigit()
        }}
        self._table("gallery", table, columns)
        path = self._path("gallery_sheet")
        save_picture(path, _gallery_sheet(table, images))
        self._add(path, with_sidecar=False)

    def write_reconstruction(self, folder: Path) -> None:
        """Write reconstructed pictures, their sheet and their scores."""
        notes = {**read_json(folder / "notes.json"), **self._marks()}
        table = read_table(folder / "pictures.tsv")
        names = []
        for number in table["picture"]:
            path = self._path("reconstruction", label=number)
            write_bytes(path, (folder / f"{number}.png").read_bytes())
            self._add(path, with_sidecar=False)
            names.append(f"{path.parent.name}/{path.name}")
        sidecar = self._path("reconstruction").with_suffix(".json")
        self.written.append(write_json(sidecar, {
            "Description": "One image for each tested stimulus, from the mean over its repeats. "
            "Which is which is in desc-reconstruction_predictions.tsv.", **notes,
        }))
        path = self._path("reconstruction_sheet")
        write_bytes(path, (folder / "sheet.png").read_bytes())
        self._add(path, with_sidecar=False)
        scores = {name: "Score of this picture; see the table of metrics."
                  for name in table.columns[3:]}
        self._table("reconstruction_pictures", table.assign(picture=names),
                    {**PICTURE_COLUMNS, **scores}, notes)
        self._table("reconstruction_metrics", read_table(folder / "metrics.tsv"),
                    RECONSTRUCTION_COLUMNS, notes)

    def _table(
        self, key: str, table: pd.DataFrame, columns: dict[str, str],
        notes: dict[str, Any] | None = None,
    ) -> None:
        path = self._path(key)
        described = {name: {"Description": text} for name, text in columns.items()}
        save_table(path, table, {**described, **(notes or {}), **self._marks()})
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


def _gallery_sheet(table: pd.DataFrame, images: dict[str, Path]) -> Image.Image:
    """Show what was seen and the nearest images, from the best to the worst rank."""
    order = table["rank"].astype(float).argsort(kind="stable").to_numpy()
    places = np.linspace(0, len(order) - 1, min(_SHEET_ROWS, len(order))).astype(int)
    rows = []
    for _, row in table.iloc[order[places]].iterrows():
        found = [row[f"top{k}"] for k in range(1, N_BEST + 1)]
        seen = Tile(load_picture(images[row["stimulus"]]), f"rank {float(row['rank']):g}")
        rows.append([seen, *(
            Tile(load_picture(images[name]), f"{float(row[f'similarity{k}']):.2f}",
                 name == row["stimulus"])
            for k, name in enumerate(found, start=1) if name is not None
        )])
    return draw_sheet(rows, ("seen", *(f"nearest {k}" for k in range(1, N_BEST + 1))), 96)


def _rows(stage: str, fold: int | None, history: list[dict[str, float]]) -> list[dict[str, Any]]:
    return [{"stage": stage, "fold": fold, **entry} for entry in history]
