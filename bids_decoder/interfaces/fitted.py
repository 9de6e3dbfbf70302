"""Put together the file of a fitted decoder from what the nodes of decoding leave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_decoder.evaluation.folds import resolve_fold
from bids_decoder.files import read_json
from bids_decoder.interfaces.heldout import Heldout
from bids_decoder.interfaces.response_grids import read_grid
from bids_decoder.interfaces.responses import ARRAY, SPACE, TABLE, groups_of, read_trials
from bids_decoder.models.store import Model
from bids_decoder.training.fitted import FittedDecoder
from bids_decoder.training.fitted_parts import Fit, HeldoutFold, Responses, complete_fit
from bids_decoder.trials import Targets, VoxelGrid


def fit_of(model: Model, targets: Targets, heldout: Sequence[Heldout]) -> Fit:
    """Return a decoder fitted on all training trials, and what those of the folds predicted."""
    parts = [(fold.trials, fold.models["decoder"]) for fold in heldout]
    return Fit(model, targets, [
        HeldoutFold(trials, found.values, found.gallery) for trials, found in parts
    ])


def collect_fitted(
    fit: Fit, folder: Path, normalise: str, *, boldref: Path | None = None,
    facts: dict[str, Any] | None = None,
) -> FittedDecoder:
    """Add to a fitted decoder what its use on new data needs.

    Parameters
    ----------
    fit : Fit
    folder : Path
        Joined responses (of ``CollectResponses``).
    normalise : {"session", "run"}
    boldref : Path, optional
        Reference image on the grid of the responses.
    facts : dict, optional
        Added to the facts: ``participant``, ``dataset``, ``t_r``.

    Returns
    -------
    FittedDecoder
    """
    trials = resolve_fold(read_trials(folder / TABLE), None)
    grid = read_grid(folder)
    responses = Responses(
        np.load(folder / ARRAY, mmap_mode="r"), trials, (trials["split"] == "train").to_numpy(),
        groups_of(trials, normalise), grid,
    )
    return complete_fit(
        fit, responses, normalise,
        boldref=None if boldref is None else _read_boldref(boldref, grid),
        facts={
            "space": read_json(folder / SPACE)["space"], "rows_key": grid.rows_key,
            **(facts or {}),
        },
    )


def _read_boldref(path: Path, grid: VoxelGrid) -> np.ndarray | None:
    """Return the reference image; None where it is on another grid than the responses."""
    image = nib.load(path)
    if not grid.holds(image.shape, image.affine):
        return None
    return np.asarray(image.dataobj, dtype=np.float32).reshape(grid.mask.shape)
