"""The index of a dataset: the database of PyBIDS, filled by one walk that stays in the dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_decoder.errors import ExitCode, Finding

if TYPE_CHECKING:
    from bids import BIDSLayout

_KINDS = {
    ".nii.gz": "image_file", ".nii": "image_file", ".func.gii": "image_file",
    ".tsv": "data_file", ".json": "json_file",
}
_SIDECARS = re.compile(
    r"(^|_)(bold|betaseries|sbref|epi|fieldmap|phase(diff|1|2)|magnitude[12]?)\.json$"
)
_SKIPPED = frozenset({"figures", "tmp_dcm2bids"})
_MAX_DEPTH = 8
_CHUNK = 5000


class DatasetIndexer:
    """Fill the database of a :class:`bids.BIDSLayout`; pass it as its ``indexer``.

    Only what is read later is indexed: images, tables and the sidecars of functional images and of
    field maps, at the top of the dataset and in ``sub-<label>`` folders. Sidecars are not opened;
    see :class:`bids_decoder.bids.sidecars.Sidecars`.

    Links to files are kept wherever they lead, since annexed datasets consist of them. A link to
    a folder is followed only within the dataset, and no folder is entered twice by links.

    Parameters
    ----------
    root : Path
        Absolute path of the dataset.

    Attributes
    ----------
    findings : list of Finding
        Folders that were left out or could not be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self._real_root = root.resolve()
        self._entered: set[Path] = set()

    def __call__(self, layout: BIDSLayout) -> None:
        """Walk over the dataset and insert files and entities, some thousand at a time."""
        from bids.layout.models import BIDSFile, Tag
        from sqlalchemy import insert

        entities = {
            entity.name: entity for config in layout.config.values()
            for entity in config.entities.values() if entity.regex is not None
        }
        session = layout.connection_manager.session
        for names in _chunks(self._walk()):
            session.execute(insert(BIDSFile.__table__), [self._file_row(name) for name in names])
            session.execute(insert(Tag.__table__), [
                row for name in names for row in self._tag_rows(name, entities.values())
            ])
        session.commit()

    def _walk(self) -> Iterator[str]:
        """Yield paths of files relative to the root, in an order that never varies."""
        folders = [""]
        while folders:
            folder = folders.pop()
            inner = []
            for entry in self._entries(folder):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith(".") or not _is_text(entry.name):
                    continue
                if self._is_folder(entry, folder):
                    if self._is_wanted_folder(entry, name):
                        inner.append(name)
                elif _is_wanted_file(entry.name) and _is_file_or_dead_link(entry):
                    yield name
            folders += reversed(inner)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        place = self.root / folder
        try:
            with os.scandir(place) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.findings.append(Finding(
                f"folder {place}", f"cannot be read: {error.strerror}",
                "correct its permissions, or move it out of the dataset", ExitCode.MISSING_INPUT,
                participant=_participant_of(folder), place=str(place),
            ))
            return []

    def _is_folder(self, entry: os.DirEntry[str], folder: str) -> bool:
        try:
            return entry.is_dir()
        except OSError:
            # For instance an endless chain of links; it is not a file either.
            return False

    def _is_wanted_folder(self, entry: os.DirEntry[str], name: str) -> bool:
        depth = name.count("/")
        if depth == 0 and not entry.name.startswith("sub-"):
            return False
        if entry.name in _SKIPPED or depth >= _MAX_DEPTH:
            return False
        return not entry.is_symlink() or self._may_follow(name)

    def _may_follow(self, name: str) -> bool:
        """Decide whether a link to a folder is followed, and report why one is not."""
        place = self.root / name
        target = place.resolve()
        holder = place.parent.resolve()
        inside = target.is_relative_to(self._real_root)
        if inside and not holder.is_relative_to(target) and target not in self._entered:
            self._entered.add(target)
            return True
        why = f"is a link to {target}, " + (
            "which is in the dataset already" if inside else "which is outside of the dataset"
        )
        self.findings.append(Finding(
            f"folder {place}", f"{why}; links to folders are not followed there",
            "put the folder itself in its place (cp -r, or a mount), or remove the link",
            severity="warning", participant=_participant_of(name), place=str(place),
        ))
        return False

    def _file_row(self, name: str) -> dict[str, Any]:
        folder, _, base = name.rpartition("/")
        return {
            "path": str(self.root / name), "filename": base,
            "dirname": str(self.root / folder), "is_dir": False,
            "class_": _KINDS[_extension(base)],
        }

    def _tag_rows(self, name: str, entities: Iterable[Any]) -> Iterator[dict[str, Any]]:
        path = str(self.root / name)
        # Only the part below the root: a dataset may be in a folder "sub-9/func" of another.
        relative = f"/{name}"
        for entity in entities:
            match = entity.regex.search(relative)
            if match is not None:
                yield {
                    "file_path": path, "entity_name": entity.name, "_value": match.group(1),
                    "_dtype": entity._dtype, "is_metadata": False,
                }


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for name in names:
        chunk.append(name)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _extension(name: str) -> str:
    return next((kind for kind in _KINDS if name.endswith(kind)), "")


def _is_wanted_file(name: str) -> bool:
    extension = _extension(name)
    return bool(extension) and (extension != ".json" or _SIDECARS.search(name) is not None)


def _is_file_or_dead_link(entry: os.DirEntry[str]) -> bool:
    """Return True for files and links without content, False for pipes and devices.

    Reading from a pipe or device may never end.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return False


def _is_text(name: str) -> bool:
    """Return whether a file name is UTF-8, as all names in BIDS are."""
    return not any("\udc80" <= letter <= "\udcff" for letter in name)


def _participant_of(name: str) -> str | None:
    top = name.partition("/")[0]
    return top.removeprefix("sub-") if top.startswith("sub-") else None
