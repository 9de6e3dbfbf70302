"""Checks of the places of responses: meshes, what rows are, and grids of several participants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nibabel.cifti2 import BrainModelAxis

from bids_decoder.bids.cifti import is_cifti, read_models
from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.images import ImageHeader, grids_agree
from bids_decoder.bids.series import is_volume
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some
from bids_decoder.grids.grayordinates import models_key


def check_meshes(person: Participant) -> Iterator[Finding]:
    """Warn where it is unknown which vertices are neighbours.

    Parameters
    ----------
    person : Participant

    Yields
    ------
    Finding
    """
    if person.meshes or all(is_volume(run.image_file) for run in person.runs):
        return
    space = person.runs[0].entities.get("space")
    yield Finding(
        f"sub-{person.label}: meshes of {space}",
        "are not in the derivatives: which vertices are neighbours is unknown, so that the "
        "selection of vertices is not smooth and maps are not drawn on surfaces",
        _mesh_fix(person.runs[0].image_file, space), severity="warning",
        participant=person.label,
    )


def _mesh_fix(path: Path, space: str | None) -> str:
    """Return how to get the meshes of a series."""
    if is_cifti(path):
        return ("keep sub-*/anat/*_space-fsLR_*_midthickness.surf.gii in the derivatives, or run: "
                'python -c "from templateflow import api; api.get(\'fsLR\', density=\'32k\', '
                "suffix='midthickness')\"")
    return (f"keep sourcedata/freesurfer/{space}/surf (lh.white, lh.pial, …) in the derivatives, "
            "for fsnative sub-*/anat/*_midthickness.surf.gii, or choose fsaverage5")


def check_models(person: Participant, runs: list[BoldRun]) -> Iterator[Finding]:
    """Find CIFTI series whose rows are other grayordinates than those of the first one.

    Parameters
    ----------
    person : Participant
    runs : list of BoldRun
        Those whose content is there.

    Yields
    ------
    Finding
    """
    first = None
    for run in runs:
        if run.bold_file is None or not is_cifti(run.bold_file):
            return
        try:
            models = read_models(run.bold_file)
        except BidsDecoderError:
            # Reported by check_run.
            continue
        first = models if first is None else first
        if len(models) == len(first) and models != first:
            yield Finding(
                str(run.bold_file), "its rows are other grayordinates than those of the first run",
                "preprocess all runs of the participant with one version and --cifti-output",
                ExitCode.BAD_DATA, participant=person.label, place=str(run.bold_file),
            )


def check_models_between(people: Sequence[Participant]) -> Iterator[Finding]:
    """Find participants whose grayordinates are others than those of the first one.

    Parameters
    ----------
    people : sequence of Participant
        Whose rows are matched by their numbers.

    Yields
    ------
    Finding
        For as many rows in the same space; others are never matched.
    """
    first: dict[tuple[str, int], tuple[str, BrainModelAxis]] = {}
    for person in people:
        file = person.runs[0].image_file
        if not is_cifti(file):
            continue
        try:
            models = read_models(file)
        except BidsDecoderError:
            # Reported by check_run.
            continue
        rows = person.runs[0].entities.get("space", ""), len(models)
        label, wanted = first.setdefault(rows, (person.label, models))
        if models_key(models) != models_key(wanted):
            yield Finding(
                f"sub-{person.label}: grayordinates",
                f"its rows are other grayordinates than those of sub-{label}, with which it is "
                "matched row by row", "preprocess all participants with one version and "
                "--cifti-output, or leave this one out with --participant-label",
                ExitCode.BAD_DATA, participant=person.label, place=str(file),
            )


def check_grids_between(people: Sequence[Participant], space: str) -> Iterator[Finding]:
    """Warn of participants in one standard space whose voxels are on different grids.

    Parameters
    ----------
    people : sequence of Participant
        Whose maps are to be averaged voxel by voxel.
    space : str
        The standard space.

    Yields
    ------
    Finding
        At most one, with the grids and their participants.
    """
    grids: list[tuple[ImageHeader, list[str]]] = []
    for person in people:
        try:
            header = person.runs[0].header
        except BidsDecoderError:
            # Reported by check_run.
            continue
        same = (labels for known, labels in grids if grids_agree([known, header]))
        labels = next(same, None)
        if labels is None:
            grids.append((header, [person.label]))
        else:
            labels.append(person.label)
    if len(grids) > 1:
        shown = "; ".join(f"{_say_grid(header)}: {name_some(found)}" for header, found in grids)
        yield Finding(
            f"group: {len(grids)} grids of voxels in the space {space}",
            f"{shown}. Maps of source participants on different grids are not averaged, so that "
            "the model holds no prior for the voxels of new participants",
            "resample all to one grid (for fMRIPrep, --output-spaces with :res-2), leave some out "
            "with --participant-label, or do without: group_prior = false in [network]",
            severity="warning",
        )


def _say_grid(header: ImageHeader) -> str:
    sizes = " x ".join(f"{size:g}" for size in header.voxel_sizes)
    corner = ", ".join(f"{place:g}" for place in header.affine[:3, 3])
    shape = " x ".join(map(str, header.shape[:3]))
    return f"{shape} voxels of {sizes} mm from ({corner}) mm"
