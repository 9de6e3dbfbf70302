"""Plan of the images among which new trials are searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_decoder.analyses.apply.feature_vectors import (
    Features,
    candidates_of_vectors,
    chooses_by_vectors,
    why_no_vectors,
)
from bids_decoder.analyses.apply.finding import is_zero_shot
from bids_decoder.analyses.apply.options import Apply
from bids_decoder.analyses.study import Study
from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.bids.stimulus_files import list_images
from bids_decoder.config import TrialRules
from bids_decoder.errors import ExitCode, Finding, name_some
from bids_decoder.stimuli.encoders import AUTO, EncoderChoice, choose_encoder
from bids_decoder.training.fitted import ENTRY

LEAST_CANDIDATES = 2
"""Known images of stimuli without which those of the gallery are the candidates."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images whose vectors are needed.

    Parameters
    ----------
    gallery : mapping of str to Path
        Images that are searched.
    stimuli : mapping of str to Path
        Images of the stimuli, where a model of other participants chooses among them.
    encoder : EncoderChoice or None
        The one of the decoder; None where no vectors of images are needed.
    features : Features or None
        Stimuli with feature vectors, among which a model of other participants chooses.
    """

    gallery: Mapping[str, Path] = field(default_factory=dict)
    stimuli: Mapping[str, Path] = field(default_factory=dict)
    encoder: EncoderChoice | None = None
    features: Features | None = None

    def key(self, study: Study) -> dict[str, Any]:
        """Return what results depend on, by content."""
        parts = {"gallery": self.gallery, "stimuli": self.stimuli}
        found: dict[str, Any] = {
            name: study.pictures_key(images) for name, images in parts.items() if images
        }
        if self.features is not None:
            source = study.text_encoder or study.digest(self.features.source)
            found["features"] = [source, list(self.features.ids)]
        return found


NO_PICTURES = Pictures()


def shown_pictures(study: Study) -> dict[str, Path]:
    """Return the images of the stimuli of the new data, those that are known and can be read."""
    files = {k: v for k, v in study.trials.build.stimulus_files.items() if k != UNLABELLED}
    damaged = study.trials.pictures.damaged(files)
    return {name: file for name, file in files.items() if name not in damaged}


def find_pictures(study: Study, card: Mapping[str, Any]) -> Pictures:
    """Return what is searched, without images that cannot be read."""
    vectors = study.trials.vectors
    if chooses_by_vectors(card) and vectors is not None:
        return Pictures(features=Features(vectors.source, tuple(card[ENTRY]["targets"]["ids"])))
    folder = study.settings.section(Apply).gallery
    if card[ENTRY]["targets"]["kind"] != "image":
        return NO_PICTURES
    gallery: dict[str, Path] = {}
    if folder is not None:
        images = list_images(folder)
        damaged = study.trials.pictures.damaged(images)
        gallery = {name: path for name, path in images.items() if name not in damaged}
    stimuli = _candidates(study) if is_zero_shot(card) else {}
    if not gallery and not stimuli:
        return NO_PICTURES
    return Pictures(gallery, stimuli, encoder_of(study.settings.trials, card[ENTRY]))


def _candidates(study: Study) -> dict[str, Path]:
    """Return the images of the stimuli; none where they are too few to choose among."""
    shown = shown_pictures(study)
    return shown if len(shown) >= LEAST_CANDIDATES else {}


def with_candidates(study: Study, card: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the card with the stimuli among which a model of other participants chooses."""
    if chooses_by_vectors(card):
        names = list(candidates_of_vectors(study))
        return {**card, ENTRY: {**card[ENTRY], "targets": {"kind": "features", "ids": names}}}
    if not is_zero_shot(card) or card[ENTRY]["targets"]["kind"] != "image":
        return card
    names = list(_candidates(study))
    return {**card, ENTRY: {**card[ENTRY], "targets": {"kind": "image", "ids": names}}}


def why_no_candidates(study: Study, card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what prevents a model of other participants from choosing among stimuli."""
    yield from why_no_vectors(study, card)
    if not is_zero_shot(card) or card[ENTRY]["targets"]["kind"] != "image":
        return
    folder = study.settings.section(Apply).gallery
    if folder is None and not _candidates(study):
        yield (
            "it decodes images, and no images are there to choose among: those of fewer than "
            f"{LEAST_CANDIDATES} stimuli are known",
            "name the folder of the images that were shown (--stimuli-dir), or one in which to "
            "search (--apply-gallery)",
        )
    elif folder is None:
        yield from other_encoder(study, card[ENTRY], "")


def why_no_gallery(study: Study, told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what prevents the search of a gallery."""
    folder = study.settings.section(Apply).gallery
    if folder is None:
        return
    kind = told["targets"]["kind"]
    if kind != "image":
        yield f"--apply-gallery {folder}: it decodes {kind}, not images", "leave the option out"
        return
    if not folder.is_dir() or not list_images(folder):
        yield (
            f"--apply-gallery {folder}: there is no image in it",
            "give a folder with PNG, JPEG, TIFF, BMP, GIF, WebP or HDF5 files",
        )
    yield from other_encoder(study, told, f"--apply-gallery {folder}: ")


def damaged_images(study: Study, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield one finding on images of the gallery that cannot be read, whoever is decoded."""
    folder = study.settings.section(Apply).gallery
    if folder is None or told["targets"]["kind"] != "image" or not folder.is_dir():
        return
    images = list_images(folder)
    damaged = study.trials.pictures.damaged(images)
    if damaged:
        is_empty = len(damaged) == len(images)
        yield Finding(
            f"--apply-gallery {folder}", f"{len(damaged)} of its {len(images)} images cannot be "
            f"read{'' if is_empty else ' and are left out'}: "
            f"{name_some([f'{name} ({why})' for name, why in damaged.items()])}",
            "replace or remove them", ExitCode.BAD_DATA, "error" if is_empty else "warning",
        )


def encoder_of(rules: TrialRules, told: Mapping[str, Any]) -> EncoderChoice:
    """Choose the encoder of this call: that of the decoder, unless the call names another one."""
    name = rules.image_encoder
    if name == AUTO:
        name = (told.get("encoder") or {}).get("name", AUTO)
    return choose_encoder(name, rules.encoder_weights)


def other_encoder(study: Study, told: Mapping[str, Any], start: str) -> Iterator[tuple[str, str]]:
    """Yield another encoder than that of the decoder, as text that begins with *start*."""
    here = dict(encoder_of(study.settings.trials, told).identity)
    if here != told.get("encoder"):
        yield (
            f"{start}it decodes vectors of the encoder {told.get('encoder')}, "
            f"and this call has {here}", "give the --image-encoder and --encoder-weights of the "
            "call that fitted it",
        )
