"""The pretrained model for a participant, from a file or from a folder of results."""

from __future__ import annotations

from pathlib import Path

from bids_decoder.bids.names import NAMES, derivative_path
from bids_decoder.config import Execution
from bids_decoder.errors import BidsDecoderError, ExitCode, MissingInputError, name_some


def pretrained_path(output_dir: Path, without: str | None) -> Path:
    """Return the path of the pretrained model, or of the one that left a participant out."""
    label = None if without is None else f"without{without}"
    return derivative_path(output_dir, "pretrained_model", label=label)


def uses_pretraining(execution: Execution) -> bool:
    """Return whether this call pretrains a model, or starts from a pretrained one."""
    if "group" in execution.analysis_level and execution.wants("pretrain"):
        return True
    if execution.from_scratch:
        return False
    own = pretrained_path(execution.output_dir, None)
    return execution.pretrained is not None or any(own.parent.glob(f"*{own.name}"))


def holds_pretrained(place: Path) -> bool:
    """Return whether a folder, or its ``group/``, holds a pretrained model."""
    name = pretrained_path(place, None).name
    return any(any(folder.glob(f"*{name}"))
               for folder in (place, place / NAMES["pretrained_model"].folder))


def find_pretrained(place: Path, label: str) -> Path:
    """Return the path of the pretrained model for a participant.

    Parameters
    ----------
    place : Path
        A model, a folder with models, or the folder of results of an earlier call.
    label : str
        Of the participant, without ``sub-``: in a folder, the model that left this participant
        out comes before the common one.

    Returns
    -------
    Path
        *place* itself unless it is a folder.

    Raises
    ------
    MissingInputError
        When the folder holds no model.
    BidsDecoderError
        With code 64, when it holds models of other participants only.
    """
    if not place.is_dir():
        return place
    folders = (place, place / NAMES["pretrained_model"].folder)
    names = [pretrained_path(place, without).name for without in (label, None)]
    for path in (folder / name for name in names for folder in folders):
        if path.is_file():
            return path
    found = sorted(path for folder in folders for path in folder.glob(f"*{names[1]}"))
    if not found:
        raise MissingInputError(
            f"--pretrained {place}", f"there is no {names[1]} in it or in its group/",
            "pass the folder of results of the group level, or the path of a model",
        )
    raise BidsDecoderError(
        f"--pretrained {place} for sub-{label}",
        f"each of its {len(found)} models left out another participant: "
        f"{name_some([str(path.relative_to(place)) for path in found])}",
        "pass the path of one of them, or a folder with a model for every participant",
        ExitCode.USAGE,
    )
