"""Images from which a field can be estimated, and what their sidecars say about their use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_decoder.bids.layouts import find_files
from bids_decoder.bids.names import parse_entities, suffix_of
from bids_decoder.bids.sidecars import FIELDMAP_SUFFIXES, Sidecars

if TYPE_CHECKING:
    from bids import BIDSLayout

MAGNITUDES = ("magnitude1", "magnitude", "magnitude2")


@dataclass(frozen=True)
class FieldmapImage:
    """One image of a participant.

    Parameters
    ----------
    path : Path
    metadata : dict
        Sidecars, merged.
    """

    path: Path
    metadata: dict[str, Any]

    @property
    def suffix(self) -> str:
        """BIDS suffix: ``epi``, ``phasediff``, ``magnitude1``, ..."""
        return suffix_of(self.path)

    @property
    def entities(self) -> dict[str, str]:
        """Entities of the name."""
        return parse_entities(self.path)

    @property
    def identifiers(self) -> tuple[str, ...]:
        """``B0FieldIdentifier``: the fields that the image takes part in."""
        return as_texts(self.metadata.get("B0FieldIdentifier"))

    def is_intended_for(self, path: Path) -> bool:
        """Return whether ``IntendedFor`` names an image, as a path or BIDS URI."""
        wanted = _in_subject(path.as_posix(), self.entities["sub"])
        return any(
            _in_subject(text, self.entities["sub"]) == wanted
            for text in as_texts(self.metadata.get("IntendedFor"))
        )


def as_texts(value: Any) -> tuple[str, ...]:
    """Return the texts of an entry that is a text or a list of texts."""
    values = value if isinstance(value, list) else [value]
    return tuple(text for text in values if isinstance(text, str) and text)


def _in_subject(text: str, subject: str) -> str:
    """Return a path relative to the participant's folder, without extension.

    Examples
    --------
    >>> _in_subject("bids::sub-01/ses-1/func/sub-01_ses-1_task-a_bold.nii.gz", "01")
    'ses-1/func/sub-01_ses-1_task-a_bold'
    """
    parts = text.rsplit(":", maxsplit=1)[-1].strip("/").split("/")
    if f"sub-{subject}" in parts:
        parts = parts[parts.index(f"sub-{subject}") + 1:]
    return "/".join(part for part in parts if part != ".").split(".")[0]


def collect_fieldmaps(
    layout: BIDSLayout, query: Mapping[str, Any], sidecars: Sidecars
) -> dict[str, tuple[FieldmapImage, ...]]:
    """Find the images in ``fmap/``, and single-band references with ``B0FieldIdentifier``.

    Parameters
    ----------
    layout : BIDSLayout
    query : mapping
        ``fmap`` of the filter file.
    sidecars : Sidecars

    Returns
    -------
    dict of str to tuple of FieldmapImage
        By participant, in natural order.
    """
    own = {key: value for key, value in query.items() if key not in ("suffix", "datatype")}
    wanted = query.get("suffix", FIELDMAP_SUFFIXES)
    suffixes = wanted if isinstance(wanted, list | tuple) else [wanted]
    found: dict[str, list[FieldmapImage]] = defaultdict(list)
    for suffix in suffixes:
        for path in find_files(layout, suffix, own, datatype="fmap"):
            found[parse_entities(path)["sub"]].append(
                FieldmapImage(path, sidecars.metadata_of(path))
            )
    for path in find_files(layout, "sbref", {}, datatype="func"):
        image = FieldmapImage(path, sidecars.metadata_of(path))
        if image.identifiers:
            found[image.entities["sub"]].append(image)
    return {label: tuple(images) for label, images in found.items()}


def magnitude_of(image: FieldmapImage, images: Iterable[FieldmapImage]) -> Path | None:
    """Return the magnitude image with the same entities; None without one."""
    beside = {
        other.suffix: other.path for other in images
        if other.suffix in MAGNITUDES and other.entities == image.entities
    }
    return next((beside[suffix] for suffix in MAGNITUDES if suffix in beside), None)


def partner_of(image: FieldmapImage, images: Iterable[FieldmapImage]) -> FieldmapImage | None:
    """Return the ``phase2`` image that belongs to a ``phase1`` image; None without one."""
    return next((
        other for other in images
        if other.suffix == "phase2" and other.entities == image.entities
    ), None)
