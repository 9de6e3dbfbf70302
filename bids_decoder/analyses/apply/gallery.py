"""Images of a gallery that are nearest to what was decoded from new trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from bids_decoder.analyses.apply.answers import NewTrials, name_trials, truth_of
from bids_decoder.bids.names import OutputName
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.gallery import N_LISTED, nearest, score_gallery
from bids_decoder.evaluation.multiple import correct_scores
from bids_decoder.evaluation.retrieval import Embedded
from bids_decoder.evaluation.similarity import normalise
from bids_decoder.evaluation.tables import METRIC_COLUMNS, NULL_COLUMNS, Nulls
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.stimuli.images import load_picture
from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture
from bids_decoder.training.fitted import FittedDecoder
from bids_decoder.trials import Targets

LISTS = OutputName("predictions", ".tsv", "func", {"desc": "appliedgallery"})
METRICS = OutputName("metrics", ".tsv", "func", {"desc": "appliedgallery"})
NULLS = OutputName("metrics", ".tsv", "func", {"desc": "appliedgallerynull"})
SHEET = OutputName("sheet", ".png", "func", {"desc": "appliedgallery"})

SAME = 1 - 1e-6
"""Cosine from which an image of the gallery is taken for a copy of one that was shown."""

N_DRAWN, SHEET_ROWS = 5, 10


@dataclass(frozen=True, eq=False)
class Searched:
    """What is nearest to new trials.

    Parameters
    ----------
    lists : DataFrame, n_trials rows
        ``top1`` … and ``similarity1`` … (cosines) among the gallery.
    metrics : DataFrame or None
        Scores among the shown stimuli and the gallery, where the decoder knows two or more.
    nulls : Nulls or None
    """

    lists: pd.DataFrame
    metrics: pd.DataFrame | None = None
    nulls: Nulls | None = None


def search(
    fitted: FittedDecoder, new: NewTrials, gallery: Targets, settings: Evaluation, seed: int
) -> Searched:
    """Search a gallery for what was decoded.

    Parameters
    ----------
    fitted : FittedDecoder
        Of images.
    new : NewTrials
    gallery : Targets
        Images with vectors of the encoder of the decoder.
    settings : Evaluation
    seed : int

    Returns
    -------
    Searched
        Copies of shown stimuli, by their vectors, are listed but do not count as other images in
        the scores.
    """
    embedding = fitted.embed(new.scaled)
    others = fitted.decoder.gallery(fitted.model, gallery)
    rows, similarity = nearest(embedding, others, N_LISTED)
    names = np.array(gallery.ids)
    found = {f"top{k + 1}": names[rows[:, k]] for k in range(rows.shape[1])}
    found |= {f"similarity{k + 1}": similarity[:, k] for k in range(rows.shape[1])}
    lists = pd.concat([name_trials(new), pd.DataFrame(found)], axis=1)
    truth = truth_of(fitted, new).astype(str)
    known = np.isin(truth, fitted.targets.ids)
    if new.are_volumes or len(set(truth[known].tolist())) < 2:
        return Searched(lists)
    shown = Embedded(
        embedding[known], truth[known], new.runs[known], fitted.gallery,
        np.array(fitted.targets.ids),
    )
    copies = (normalise(others) @ normalise(shown.tested()[2]).T).max(axis=1) > SAME
    metrics, nulls = score_gallery(
        shown, others[~copies], settings, np.random.default_rng(seed)
    )
    return Searched(lists, correct_scores(metrics, "image"), nulls)


def write_searched(
    outputs: PersonOutputs, searched: Searched, images: dict[str, Path]
) -> None:
    """Write the nearest images, a sheet of some of them, and the scores.

    Parameters
    ----------
    outputs : PersonOutputs
    searched : Searched
    images : dict of str to Path
        Image file of each name.
    """
    about = dict(outputs.card)
    columns = {
        name: f"{'Image' if name.startswith('top') else 'Cosine of the image'} on this place."
        for name in searched.lists if name.startswith(("top", "similarity"))
    }
    described = {**dict.fromkeys(searched.lists.columns, "As in desc-applied."), **columns}
    outputs.table(LISTS, searched.lists, described, {**about, "GallerySize": len(images)})
    path = outputs.path(SHEET)
    save_picture(path, _sheet(searched.lists, images))
    outputs.add(path, with_sidecar=False)
    if searched.metrics is not None and searched.nulls is not None:
        outputs.table(METRICS, searched.metrics, METRIC_COLUMNS, about)
        if len(searched.nulls.table):
            outputs.table(NULLS, searched.nulls.table, {
                name: NULL_COLUMNS[name] for name in searched.nulls.table.columns.astype(str)
            }, searched.nulls.scheme)


def _sheet(lists: pd.DataFrame, images: dict[str, Path]) -> Image.Image:
    """Draw the nearest images of trials that are evenly spread over all."""
    places = np.linspace(0, len(lists) - 1, min(SHEET_ROWS, len(lists))).astype(int)
    shown = range(1, 1 + min(N_DRAWN, sum(name.startswith("top") for name in lists)))
    rows = [
        [Tile(load_picture(images[row[f"top{k}"]]), f"{row[f'similarity{k}']:.2f}") for k in shown]
        for _, row in lists.iloc[np.unique(places)].iterrows()
    ]
    return draw_sheet(rows, tuple(f"nearest {k}" for k in shown), 96)
