"""Plan of retrieval among a gallery: find its usable images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bids_decoder.analyses.fitting import decoded, job_of_decoder
from bids_decoder.analyses.gallery.options import Gallery
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study
from bids_decoder.bids.stimulus_files import list_images
from bids_decoder.errors import ExitCode, Finding
from bids_decoder.trials import Decision
from bids_decoder.workflows.work import PersonWork

PREFIX = "gallery/"
"""Prefix of the ids of gallery images, so that they cannot be confused with stimuli."""


@dataclass(frozen=True, eq=False)
class GallerySpec:
    """The search of one participant.

    Parameters
    ----------
    person : PersonWork
    images : mapping of str to Path
        Images of the gallery.
    card : mapping
        Card entries of the decoder, for sidecars.
    fold : int
        Fold of stimuli whose model and stimuli are used; 0 for a fixed split.
    """

    person: PersonWork
    images: Mapping[str, Path]
    card: Mapping[str, Any]
    fold: int = 0


def check(study: Study, notes: Notes) -> None:
    """Note a gallery that is missing, or not usable since no images are decoded."""
    folder, kind = study.settings.section(Gallery).folder, study.targets.kind
    if kind != "image":
        notes.findings.append(Finding(
            f"--gallery {folder}", f"the target is {kind}, not image",
            "give a folder of images, where images are decoded", ExitCode.USAGE,
        ))
    elif not folder.is_dir():
        notes.findings.append(Finding(
            f"--gallery {folder}", "no such folder",
            "give a folder of images, where images are decoded", ExitCode.MISSING_INPUT,
        ))
    elif not list_images(folder):
        notes.findings.append(_too_few(folder, 0, 0))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per decoded participant."""
    images = _usable_images(study, notes)
    content = study.pictures_key(images)
    study.say_first_fold("gallery", notes)
    return [
        job_of_decoder(
            study, "gallery", person, decode,
            GallerySpec(person, images, decode.card, study.first_fold(person.label)),
            images=content, evaluation=asdict(study.settings.evaluation),
        )
        for person, decode in decoded(study, made)
    ]


def _usable_images(study: Study, notes: Notes) -> dict[str, Path]:
    """List the images without those that are damaged or were shown as test stimuli."""
    folder, images = study.settings.section(Gallery).folder, study.targets.images
    found = list_images(folder)
    pictures = study.trials.pictures
    damaged = pictures.damaged(found)
    tested = {name: images[name] for name in study.split.tested_stimuli if name in images}
    shown = {signature.pixels for signature in pictures.of(tested).values()}
    kept = {
        f"{PREFIX}{name}": found[name] for name, signature in pictures.of(found).items()
        if signature.pixels not in shown
    }
    notes.decisions.append(Decision(
        "gallery", f"{len(kept)} images", f"{folder} holds {len(found)}; left out: "
        f"{len(damaged)} that cannot be read, {len(found) - len(damaged) - len(kept)} that "
        "are test stimuli",
    ))
    if len(kept) < 2:
        notes.findings.append(_too_few(folder, len(kept), len(found)))
    return kept


def _too_few(folder: Path, n_kept: int, n_found: int) -> Finding:
    return Finding(
        f"--gallery {folder}", f"{n_kept} of its {n_found} images can be used",
        "give a folder with PNG, JPEG, TIFF, BMP, GIF, WebP or HDF5 files", ExitCode.MISSING_INPUT,
    )
