"""Atlases and label files of a call: where they are for a participant, and what prevents them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_decoder.bids.atlases import SEGMENTATIONS, find_atlas
from bids_decoder.bids.label_files import (
    FUNC,
    LabelFile,
    describe_file,
    own_space,
    read_labels,
)
from bids_decoder.bids.map_files import read_layout
from bids_decoder.bids.names import derivative_path, parse_entities
from bids_decoder.bids.row_labels import (
    check_surface,
    describe_row_file,
    is_row_file,
    read_row_labels,
)
from bids_decoder.errors import (
    BidsDecoderError,
    Finding,
    InputError,
    MissingInputError,
    name_some,
)
from bids_decoder.interfaces.regions import PlacedLabels, collect_regions
from bids_decoder.preprocessing.labels import MIN_VOXELS, Region, split_regions
from bids_decoder.preprocessing.registration import Pull
from bids_decoder.preprocessing.templates import OutputSpace, parse_space
from bids_decoder.trials import VoxelGrid
from bids_decoder.workflows.atlas_checks import (
    PARTICIPANT,
    check_positions,
    has_row_labels,
    is_path,
)
from bids_decoder.workflows.spaces import response_grid
from bids_decoder.workflows.work import PersonWork

T1W = "T1w"
_BOLD_ENDS = ("boldref", "scanner")
_NOT_OF_RUN = ("from", "to", "mode", "desc")


@dataclass(frozen=True, eq=False)
class AtlasCheck:
    """What is known of the regions of all participants before anything is computed.

    Parameters
    ----------
    findings : list of Finding
    counts : list of int
        Number of regions of each participant whose masks are known.
    small : list of Region
        Regions that are left out, because few of their voxels have responses.
    """

    findings: list[Finding]
    counts: list[int]
    small: list[Region]

    @property
    def words(self) -> str:
        """How many regions there are, and what is left out."""
        counts, known = self.counts, "counted when their transforms have been made"
        if counts:
            known = f"{min(counts)} regions" if min(counts) == max(counts) else \
                f"{min(counts)} to {max(counts)} regions in each participant"
        few = sorted({region.name for region in self.small})
        left = f"; fewer than {MIN_VOXELS} voxels, left out: {name_some(few)}" if few else ""
        return f"{known}{left}"


@dataclass(frozen=True, eq=False)
class AtlasPlan:
    """The atlases of a call, for each participant.

    Parameters
    ----------
    words : tuple of str
        Paths, names of segmentations and of atlases.
    output_dir : Path
    output_spaces : tuple of str
        That preprocessing makes.
    """

    words: tuple[str, ...]
    output_dir: Path
    output_spaces: tuple[str, ...] = ()
    _images: dict[Path, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _atlases: dict[tuple[str, tuple[str, ...]], LabelFile] = field(default_factory=dict)

    def place(self, person: PersonWork) -> list[PlacedLabels]:
        """Find all label files and the transforms to them.

        Raises
        ------
        UsageError
            For unknown atlases.
        MissingInputError
            When a file or a transform is absent.
        """
        return _once([self._place_one(person, word) for word in self.words])

    def check(self, person: PersonWork) -> tuple[list[Region], list[Finding]]:
        """Find what prevents the regions of a participant, before anything is computed.

        Parameters
        ----------
        person : PersonWork

        Returns
        -------
        regions : list of Region
            As far as masks are known, also those of few voxels; empty where transforms are made by
            this call, or with findings.
        findings : list of Finding
        """
        label, findings, placed = person.label, [], []
        for word in self.words:
            try:
                one = self._place_one(person, word)
                if is_row_file(one.file.path):
                    check_surface(one.file, person.runs[0].entities.get("space", ""))
                    read_row_labels(one.file)
                else:
                    self._read(one.file.path)
                placed.append(one)
            except BidsDecoderError as error:
                findings.append(_of(error.finding, label))
        if findings or not all(p.path.is_file() for one in placed for p in one.pulls):
            return [], findings
        regions: list[Region] = []
        try:
            grid = _known_grid(person)
            for one in _once(placed):
                regions += _with_voxels(one, self._regions(one, grid, label), label)
            if not split_regions(regions)[0]:
                raise InputError(
                    f"sub-{label}: --regions", f"none of {len(regions)} regions has {MIN_VOXELS} "
                    "voxels", "give an atlas with larger regions",
                )
        except BidsDecoderError as error:
            return [], [_of(error.finding, label)]
        return regions, []

    def check_people(self, people: Sequence[PersonWork], space: OutputSpace) -> AtlasCheck:
        """Find what prevents the regions of several participants.

        Parameters
        ----------
        people : sequence of PersonWork
        space : OutputSpace
            Where responses of raw data are estimated.
        """
        findings: list[Finding] = []
        small: list[Region] = []
        counts: list[int] = []
        for person in people:
            finding = check_positions(person, space)
            regions, found = ([], [finding]) if finding else self.check(person)
            findings += found
            large, few = split_regions(regions)
            small += few
            counts += [len(large)] if regions else []
        return AtlasCheck(findings, counts, small)

    def describe(
        self, person: PersonWork, digest: Callable[[Path], str]
    ) -> list[dict[str, Any]]:
        """Return what label files hold, and the transforms to them, by content, for keys."""
        return [_content(one, digest, person.source) for one in self.place(person)]

    def _regions(self, placed: PlacedLabels, grid: VoxelGrid, label: str) -> list[Region]:
        try:
            return collect_regions([placed], grid, self._read)
        except RuntimeError as error:
            # SimpleITK has no other kind of error.
            paths = ", ".join(str(pull.path) for pull in placed.pulls)
            raise InputError(
                f"sub-{label}: {paths}", f"cannot be read as transforms: {error}",
                "fetch the files again",
            ) from error

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Read an image, and keep those that were used last: others belong to one participant."""
        content = self._images.pop(path, None) or read_labels(path)
        if len(self._images) >= len(self.words):
            self._images.pop(next(iter(self._images)))
        self._images[path] = content
        return content

    def _place_one(self, person: PersonWork, word: str) -> PlacedLabels:
        if has_row_labels(person, word):
            path = Path(word.replace(PARTICIPANT, person.label))
            return PlacedLabels(describe_row_file(path))
        spaces = _Transforms(self.output_dir, person, self.output_spaces)
        file = self._file(person, word, spaces)
        if file.space in (None, spaces.own):
            return PlacedLabels(file)
        return PlacedLabels(file, spaces.pulls(file.space, word))

    def _file(self, person: PersonWork, word: str, spaces: _Transforms) -> LabelFile:
        if word in SEGMENTATIONS:
            return _segmentation(person, word)
        if is_path(word):
            return describe_file(Path(word.replace(PARTICIPANT, person.label)))
        templates = tuple(spaces.templates)
        if (word, templates) not in self._atlases:
            self._atlases[word, templates] = find_atlas(word, templates)
        return self._atlases[word, templates]


def _once(placed: list[PlacedLabels]) -> list[PlacedLabels]:
    """Leave out labels of vertices that are there by the names of both hemispheres."""
    return list({one.file.path: one for one in placed}.values())


@dataclass(frozen=True, eq=False)
class _Transforms:
    """Transforms of a participant that are stored, or that preprocessing will store."""

    output_dir: Path
    person: PersonWork
    output_spaces: tuple[str, ...]

    @cached_property
    def own(self) -> str:
        """The space of the responses."""
        return own_space(self.person.runs[0].entities.get("space", ""))

    @cached_property
    def templates(self) -> list[str]:
        """Templates from which labels can be brought to the responses, the best first."""
        if self.own not in (FUNC, T1W):
            return [self.own]
        if self.own == FUNC and self._of_bold() is None:
            return []
        if self.person.source == "raw":
            spaces = [parse_space(text) for text in self.output_spaces]
            has_t1w = bool(self.person.participant.t1w_files)
            return [space.name for space in spaces if space.is_template and has_t1w]
        found = [parse_entities(path) for path in self._stored_anatomical()]
        return [ends["from"] for ends in found if ends.get("to") == T1W and "from" in ends]

    def pulls(self, space: str, word: str) -> tuple[Pull, ...]:
        """Return the transforms of points from the responses to the space of labels."""
        if self.own == FUNC:
            first = self._of_bold()
        else:
            first = None if self.own == T1W else self._anatomical(T1W, self.own)
        if space == FUNC:
            second = self._of_bold()
            if second is not None:
                second = replace(second, is_inverted=not second.is_inverted)
        else:
            second = None if space == T1W else self._anatomical(space, T1W)
        ends = [(first, self.own), (second, space)]
        lacking = [name for pull, name in ends if pull is None and name != T1W]
        if lacking:
            raise MissingInputError(
                f"sub-{self.person.label}: --regions {word}",
                f"its labels are in {space}, the responses in {self.own}, and there is no "
                f"transform between {' and '.join(lacking)} and T1w",
                "preprocess with this space as one of --output-spaces, decode in it, or give "
                f"labels in {self.own}",
            )
        return tuple(pull for pull, _ in ends if pull is not None)

    def _anatomical(self, start: str, end: str) -> Pull | None:
        """Return the transform of points of *end* to points of *start*, T1w being one of them."""
        if self.person.source == "raw":
            path = derivative_path(
                self.output_dir, "anat_xfm", sub=self.person.label, from_=start, to=end
            )
            other = end if start == T1W else start
            return Pull(path) if path.is_file() or other in self.templates else None
        for path in self._stored_anatomical():
            ends = parse_entities(path)
            if (ends.get("from"), ends.get("to")) == (start, end):
                return Pull(path)
        return None

    def _stored_anatomical(self) -> list[Path]:
        return sorted(_folder_of(self.person).rglob("anat/*_xfm.h5"))

    def _of_bold(self) -> Pull | None:
        """Return the transform of points of the BOLD reference to points of the T1w image."""
        person, run = self.person, self.person.runs[0]
        if person.source == "raw":
            path = derivative_path(
                self.output_dir, "bold_xfm", sub=person.label, from_=T1W, to="boldref"
            )
            return Pull(path) if person.participant.t1w_files else None
        own = parse_entities(run.image_file)
        fitting = []
        for path in sorted(_folder_of(person).rglob("func/*_xfm.txt")):
            entities = parse_entities(path)
            shared = {k: v for k, v in entities.items() if k not in _NOT_OF_RUN}
            ends = entities.get("from"), entities.get("to")
            if shared.items() <= own.items() and T1W in ends and set(ends) & set(_BOLD_ENDS):
                fitting.append((len(shared), Pull(path, is_inverted=ends[1] == T1W)))
        return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _segmentation(person: PersonWork, word: str) -> LabelFile:
    if person.source != "raw":
        for path in sorted(_folder_of(person).rglob(f"anat/*_desc-{word}_dseg.nii*")):
            if "space" not in parse_entities(path):
                return replace(describe_file(path), atlas=word)
    raise MissingInputError(
        f"sub-{person.label}: --regions {word}",
        f"there is no anat/*_desc-{word}_dseg.nii.gz of the participant",
        "give derivatives of fMRIPrep made with FreeSurfer's surfaces (--derivatives "
        "fmriprep=PATH), a label file, or an atlas of TemplateFlow",
    )


def _folder_of(person: PersonWork) -> Path:
    """Return the folder of a participant in the dataset of the images."""
    path = person.runs[0].image_file
    own = f"sub-{person.runs[0].subject}"
    return next((folder for folder in path.parents if folder.name == own), path.parent)


def _known_grid(person: PersonWork) -> VoxelGrid:
    """Return the voxels of the responses as far as masks are on disk."""
    grid = response_grid(person.participant, person.space)
    mask = np.ones(grid.shape[:3], dtype=bool)
    for run in person.participant.runs if person.source != "raw" else ():
        if run.mask_file is not None and run.mask_file.is_file():
            own = np.asarray(nib.load(run.mask_file).dataobj) > 0
            mask &= own.reshape(mask.shape) if own.size == mask.size else True
    file = person.runs[0].image_file
    return VoxelGrid(mask, grid.affine, read_layout(file, person.participant.meshes))


def _content(placed: PlacedLabels, digest: Callable[[Path], str], source: str) -> dict[str, Any]:
    file = placed.file
    return {
        "atlas": file.atlas, "image": [digest(path) for path in file.stored_in],
        "table": None if file.table is None else digest(file.table),
        # Preprocessing makes the same transforms from the same inputs, which are in other keys.
        "pulls": [
            (pull.path.name if source == "raw" else digest(pull.path), pull.is_inverted)
            for pull in placed.pulls
        ],
    }


def _with_voxels(placed: PlacedLabels, regions: list[Region], label: str) -> list[Region]:
    if not regions:
        raise InputError(
            f"sub-{label}: {placed.file.path}", "none of its labels is at a voxel of the "
            f"participant's mask (taken to be in {placed.file.space or 'the space of the data'})",
            "check the space of the file: the entity space- or tpl- of its name says it, and "
            "without one it is that of the data",
        )
    return regions


def _of(finding: Finding, label: str) -> Finding:
    """Name the participant of a finding that concerns one only."""
    return replace(finding, participant=label) if f"sub-{label}" in finding.what else finding
