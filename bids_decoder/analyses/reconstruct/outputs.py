"""Outputs of reconstruction in the derivatives."""

from __future__ import annotations

from pathlib import Path

from bids_decoder.bids.writer import read_table
from bids_decoder.evaluation.reconstruction import METRIC_COLUMNS
from bids_decoder.files import read_json, write_bytes, write_json
from bids_decoder.interfaces.person_outputs import PersonOutputs
from bids_decoder.models.store import Model, load_model, save_model

PAINTER_FILE = "painter.safetensors"
"""Name of the painter in the folder of a node."""

ERROR_FILE = "error.tsv"
"""Name of its table of errors."""

ERROR_COLUMNS = {
    "row": "Of the painted image, from 0 at the top.",
    "column": "From 0 at the left.",
    "error": "Root mean square error of this pixel over training images and colours, when they are "
             "painted from trials outside the fit and the choice of voxels; sRGB in [0, 1].",
    "spread": "The same error of the mean of the images of these fits: what is not known without "
              "responses.",
}
"""Columns of the table of errors, with descriptions for its sidecar."""

PICTURE_COLUMNS = {
    "stimulus": "What was shown.",
    "picture": "Its reconstruction, relative to the folder of the participant.",
    "nearest_training_stimulus": "The training stimulus nearest to what was decoded.",
}


def write_reconstruction(outputs: PersonOutputs, folder: Path) -> None:
    """Write reconstructed pictures, their sheet and their scores."""
    notes = {**read_json(folder / "notes.json"), **outputs.marks}
    table = read_table(folder / "pictures.tsv")
    names = []
    for number in table["picture"]:
        path = outputs.path("reconstruction", label=number)
        write_bytes(path, (folder / f"{number}.png").read_bytes())
        outputs.add(path, with_sidecar=False)
        names.append(f"{path.parent.name}/{path.name}")
    sidecar = outputs.path("reconstruction").with_suffix(".json")
    outputs.written.append(write_json(sidecar, {
        "Description": "One image for each tested stimulus, from the mean over its repeats. "
        "Which is which is in desc-reconstruction_predictions.tsv.", **notes,
    }))
    path = outputs.path("reconstruction_sheet")
    write_bytes(path, (folder / "sheet.png").read_bytes())
    outputs.add(path, with_sidecar=False)
    scores = {name: "Score of this picture; see the table of metrics."
              for name in table.columns[3:]}
    outputs.table("reconstruction_pictures", table.assign(picture=names),
                {**PICTURE_COLUMNS, **scores}, notes)
    outputs.table("reconstruction_metrics", read_table(folder / "metrics.tsv"),
                METRIC_COLUMNS, notes)
    outputs.table(
        "reconstruction_error", read_table(folder / ERROR_FILE), ERROR_COLUMNS, notes
    )
    path = outputs.path("painter_model")
    painter = load_model(folder / PAINTER_FILE)
    save_model(path, Model(painter.tensors, {**painter.card, **outputs.marks}))
    outputs.add(path)
