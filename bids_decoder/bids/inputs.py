"""Digests of a participant's input, which show whether a stage is still up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.fieldmaps import FieldmapImage, as_texts
from bids_decoder.bids.series import files_of
from bids_decoder.files import file_digest
from bids_decoder.released.files import is_there

_METADATA = ("RepetitionTime", "SliceTiming", "SliceEncodingDirection", "StartTime",
             "SliceTimingCorrected", "SliceTimingReference", "B0FieldSource")
_FIELD_METADATA = ("PhaseEncodingDirection", "TotalReadoutTime", "EffectiveEchoSpacing",
                   "EstimatedTotalReadoutTime", "EstimatedEffectiveEchoSpacing", "IntendedFor",
                   "B0FieldIdentifier", "EchoTime", "EchoTime1", "EchoTime2", "Units")


def input_digests(participant: Participant) -> dict[str, Any]:
    """Compute digests of a participant's input that depend on content, not on paths or dates.

    Parameters
    ----------
    participant : Participant

    Returns
    -------
    dict
        Serialisable as JSON: digests of images and tables, and the metadata used, by run. Own
        tables of confounds are in :func:`regressor_digests`.
    """
    # Many runs may be in one file, and such files are large.
    released = dict.fromkeys(
        file for run in participant.runs if run.released is not None
        for file in (*run.released.responses.files, run.released.ncsnr)
        if file is not None and is_there(file)
    )
    fieldmaps = _useful_fieldmaps(participant)
    return {
        "T1w": [file_digest(path) for path in participant.t1w_files if path.is_file()],
        "runs": {run.run_group: _run_digests(run) for run in participant.runs},
        **({"fieldmaps": [_fieldmap_digests(image) for image in fieldmaps]} if fieldmaps else {}),
        **({"meshes": [file_digest(f) for f in participant.meshes]} if participant.meshes else {}),
        **({"released": [file_digest(file) for file in released]} if released else {}),
    }


def regressor_digests(participant: Participant) -> dict[str, str]:
    """Compute digests of own tables of confounds, on which preprocessing does not depend.

    Parameters
    ----------
    participant : Participant

    Returns
    -------
    dict of str to str
        By run group; without runs that have no own table.
    """
    return {
        run.run_group: file_digest(run.regressors_file) for run in participant.runs
        if run.regressors_file is not None and run.regressors_file.is_file()
    }


def _useful_fieldmaps(participant: Participant) -> list[FieldmapImage]:
    """Return the images that are meant for one of the runs, and those that belong to them."""
    sources = {
        text for run in participant.runs for text in as_texts(run.metadata.get("B0FieldSource"))
    }
    meant = [
        image.entities for image in participant.fieldmaps
        if sources.intersection(image.identifiers)
        or any(image.is_intended_for(run.image_file) for run in participant.runs)
    ]
    # Magnitude and phase images of a field often have no entry of their own.
    return [image for image in participant.fieldmaps if image.entities in meant]


def _sidecar_of(table: Path | None) -> Path | None:
    return table.with_suffix(".json") if table is not None and table.suffix == ".tsv" else None


def _fieldmap_digests(image: FieldmapImage) -> dict[str, Any]:
    known = {key: image.metadata[key] for key in _FIELD_METADATA if key in image.metadata}
    content = file_digest(image.path) if image.path.is_file() else None
    return {"name": image.path.name, "content": content, "metadata": known}


def _right_of(run: BoldRun) -> Path | None:
    path = run.bold_file
    return None if path is None else next(iter(files_of(path)[1:]), None)


def _run_digests(run: BoldRun) -> dict[str, Any]:
    files: dict[str, Path | None] = {
        "bold": run.bold_file, "right": _right_of(run), "mask": run.mask_file,
        "confounds": run.confounds_file, "confounds_sidecar": _sidecar_of(run.confounds_file),
        "betas": run.betas_file,
    }
    digests: dict[str, Any] = {
        name: file_digest(path) for name, path in files.items()
        if path is not None and path.is_file()
    }
    digests["metadata"] = {key: run.metadata[key] for key in _METADATA if key in run.metadata}
    if run.sbref_file is not None and run.sbref_file.is_file():
        digests["sbref"] = file_digest(run.sbref_file)
    if run.echoes:
        digests["echoes"] = [
            (echo.time, file_digest(echo.file)) for echo in run.echoes if echo.file.is_file()
        ]
    if run.source == "raw":
        digests["phase_encoding"] = {
            key: run.metadata[key] for key in _FIELD_METADATA if key in run.metadata
        }
    if run.released is not None:
        digests["released"] = run.released.responses.key()
    digests["space"] = run.entities.get("space")
    return digests
