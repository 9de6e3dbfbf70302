"""Outputs of retrieval among a gallery in the derivatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from bids_decoder.evaluation.tables import METRIC_COLUMNS
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.stimuli.images import load_picture
from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture

N_BEST = 5
_SHEET_ROWS = 10
GALLERY_COLUMNS = {
    "stimulus": "What was shown.",
    "n_trials": "Number of trials whose predictions were averaged.",
    "rank": "Rank of what was shown among all images; 1 is best.",
    "similarity": "Cosine of the prediction with what was shown.",
    "pool_size": "Number of images: all tested stimuli and the gallery.",
}


def write_gallery(
    outputs: PersonOutputs, metrics: pd.DataFrame, nearest: pd.DataFrame, images: dict[str, Path]
) -> None:
    """Write scores, the list of nearest images and a sheet of some of them.

    Parameters
    ----------
    outputs : PersonOutputs
    metrics : DataFrame
    nearest : DataFrame
        Of :func:`~bids_decoder.evaluation.gallery.list_nearest`.
    images : dict of str to Path
        Image file of stimuli and gallery.
    """
    columns = {**GALLERY_COLUMNS, **{
        name: f"{'Image' if name.startswith('top') else 'Cosine of image'} on this place."
        for name in nearest if name.startswith(("top", "similarity")) and name[-1].isdigit()
    }}
    outputs.table("gallery_metrics", metrics, METRIC_COLUMNS)
    outputs.table("gallery", nearest, columns)
    path = outputs.path("gallery_sheet")
    save_picture(path, _gallery_sheet(nearest, images))
    outputs.add(path, with_sidecar=False)


def _gallery_sheet(table: pd.DataFrame, images: dict[str, Path]) -> Image.Image:
    """Draw the seen stimuli and the nearest images, from the best to the worst rank."""
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
