"""Reconstruct new trials, score them where what was shown is known, and write the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from bids_decoder.analyses.apply.answers import NewTrials, name_trials
from bids_decoder.bids.names import OutputName
from bids_decoder.config import Evaluation
from bids_decoder.evaluation.reconstruction import (
    EDGE,
    LEAST_PICTURES,
    METRIC_COLUMNS,
    NEAREST,
    nearest_rows,
    score_reconstructions,
)
from bids_decoder.evaluation.retrieval import average_repeats
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.interfaces.pictures import ReconstructionPlan, feature_spaces, generate
from bids_decoder.seeds import derive_seed
from bids_decoder.stimuli.images import ImageFiles, load_image
from bids_decoder.stimuli.sheets import Tile, draw_sheet, save_picture, to_picture
from bids_decoder.training.fitted import FittedDecoder
from bids_decoder.training.painter import Painter

PICTURE = OutputName("image", ".png", "reconstruction", {"desc": "applied"})
PICTURES = OutputName("predictions", ".tsv", "func", {"desc": "appliedreconstruction"})
METRICS = OutputName("metrics", ".tsv", "func", {"desc": "appliedreconstruction"})
SHEET = OutputName("sheet", ".png", "func", {"desc": "appliedreconstruction"})

COLUMNS = {
    "stimulus": "What was shown, as far as the events tell; repeats are averaged.",
    "run_group": "Run of the trial; of the first one, where repeats are averaged.",
    "trial": "Row of this trial in the table of its run.",
    "n_trials": "Number of trials whose mean response was reconstructed.",
    "nearest_training_stimulus": "The training stimulus nearest to what was decoded.",
    "picture": "Its reconstruction, relative to the folder of the participant.",
}
MAX_ROWS = 12
_SHEET_EDGE = 112


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """Images of new trials.

    Parameters
    ----------
    table : DataFrame, n_images rows
        Columns of :data:`COLUMNS` but for ``picture``, and the scores of each image.
    pictures : ndarray of float32, shape (n_images, height, width, 3)
        sRGB in [0, 1].
    metrics : DataFrame or None
        Scores; None where fewer than :data:`LEAST_PICTURES` images that were shown are known.
    """

    table: pd.DataFrame
    pictures: np.ndarray
    metrics: pd.DataFrame | None


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be reconstructed, and how.

    Parameters
    ----------
    plan : ReconstructionPlan
    shown : mapping of str to Path
        Images of stimuli.
    trained : mapping of str to Path
        Images of all training stimuli; empty where the nearest one is no control.
    evaluation : Evaluation
    device : str
    seed : int
    """

    plan: ReconstructionPlan
    shown: Mapping[str, Path]
    trained: Mapping[str, Path]
    evaluation: Evaluation
    device: str
    seed: int


def reconstruct(
    fitted: FittedDecoder, painter: Painter, new: NewTrials, request: Request
) -> Reconstructed:
    """Reconstruct one image for each stimulus with a name, and for each trial without one.

    Parameters
    ----------
    fitted : FittedDecoder
        Of images.
    painter : Painter
        Fitted to the same training trials.
    new : NewTrials
    request : Request
    """
    table, item_of = _items(new)
    numbers = range(len(table))
    # The last row is the mean of z-scored training trials, for a control.
    betas = np.stack([*(new.scaled[item_of == number].mean(axis=0) for number in numbers),
                      np.zeros(new.scaled.shape[1], np.float32)])
    made = painter.paint(betas)
    embedding = average_repeats(fitted.embed(new.scaled), item_of)
    nearest = nearest_rows(
        embedding, fitted.gallery, fitted.targets.rows_of(fitted.facts["seen"])
    )
    table["nearest_training_stimulus"] = np.array(fitted.targets.ids, dtype=object)[nearest]
    if request.plan.method == "unclip":
        vectors = fitted.decoder.picture_vectors(
            fitted.model, np.concatenate([embedding, fitted.embed(betas[-1:])]),
            derive_seed(request.seed, "prior"),
        )
        made = generate(request.plan, vectors, made, request.device, request.seed)
    metrics, table = _scored(table, made, request)
    return Reconstructed(table, made[:-1], metrics)


def _items(new: NewTrials) -> tuple[pd.DataFrame, np.ndarray]:
    """Return what each image is of, and the number of the image of each trial."""
    trials = name_trials(new)[["stimulus", "run_group", "trial"]]
    names = trials["stimulus"]
    alone = pd.Series([f"trial {number}" for number in range(len(trials))])
    keys = ("stimulus " + names.astype(str)).where(names.notna(), alone)
    item_of = pd.factorize(keys)[0]
    table = trials.groupby(item_of).first()
    table["stimulus"] = table["stimulus"].astype(object).where(table["stimulus"].notna(), None)
    return table.assign(n_trials=np.bincount(item_of)), item_of


def _scored(
    table: pd.DataFrame, made: np.ndarray, request: Request
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Score the images of stimuli whose image is known."""
    known = np.flatnonzero(table["stimulus"].isin(list(request.shown)))
    if len(known) < LEAST_PICTURES:
        return None, table
    painted: dict[str, Sequence[np.ndarray]] = {
        "reconstruction": [made[row] for row in known], "mean-brain": [made[-1]] * len(known),
    }
    if request.trained:
        nearest = table["nearest_training_stimulus"].iloc[known]
        painted[NEAREST] = ImageFiles([request.trained[name] for name in nearest], EDGE)
    seen = ImageFiles([request.shown[name] for name in table["stimulus"].iloc[known]], EDGE)
    metrics, each = score_reconstructions(
        seen, painted,
        list(feature_spaces(request.plan.networks, request.device)),
        settings=request.evaluation,
        rng=np.random.default_rng(derive_seed(request.seed, "reconstruction scores")),
    )
    each.index = table.index[known]
    return metrics, table.join(each)


def _seen(shown: Mapping[str, Path], name: str) -> np.ndarray:
    return load_image(shown[name], EDGE)


def write_reconstructed(
    outputs: PersonOutputs, found: Reconstructed, request: Request, notes: dict[str, Any]
) -> None:
    """Write the images, a sheet of some of them, their table and their scores.

    Parameters
    ----------
    outputs : PersonOutputs
        Its card is added to the sidecars.
    found : Reconstructed
    request : Request
    notes : dict
        How they were made, for the sidecars.
    """
    about, names = {**outputs.card, **notes}, []
    for number, picture in enumerate(found.pictures, start=1):
        path = outputs.path(PICTURE, label=f"{number:04d}")
        save_picture(path, to_picture(picture))
        outputs.add(path, with_sidecar=False)
        names.append(f"{path.parent.name}/{path.name}")
    scores = {
        name: "Score of this image; see the table of metrics."
        for name in found.table.columns if name not in COLUMNS
    }
    outputs.table(
        PICTURES, found.table.assign(picture=names), {**COLUMNS, **scores}, about
    )
    path = outputs.path(SHEET)
    save_picture(path, _sheet(found.table, found.pictures, request))
    outputs.add(path, with_sidecar=False)
    if found.metrics is not None:
        outputs.table(METRICS, found.metrics, METRIC_COLUMNS, about)


def _sheet(
    table: pd.DataFrame, pictures: np.ndarray, request: Request
) -> Image.Image:
    """Draw images that are evenly spread over all, beside what was seen where it is known."""
    shown, trained = request.shown, request.trained
    known = table["stimulus"].isin(list(shown)).to_numpy()
    chosen = np.flatnonzero(known) if known.any() else np.arange(len(table))
    places = np.linspace(0, len(chosen) - 1, min(MAX_ROWS, len(chosen))).astype(int)
    rows = []
    for row in chosen[places]:
        name, run, trial, nearest = table.iloc[row][
            ["stimulus", "run_group", "trial", "nearest_training_stimulus"]
        ]
        caption = str(name) if pd.notna(name) else f"{run} trial {trial}"
        seen = [Tile(to_picture(_seen(shown, name)), caption)] if known.any() else []
        control = [Tile(to_picture(_seen(trained, nearest)), str(nearest))] if trained else []
        rows.append([*seen, Tile(to_picture(pictures[row]), "" if seen else caption), *control])
    header = [
        *["seen"] * bool(known.any()), "reconstructed", *["nearest training"] * bool(trained),
    ]
    return draw_sheet(rows, tuple(header), _SHEET_EDGE)
