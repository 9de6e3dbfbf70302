"""Metadata of images: JSON sidecars, joined by the inheritance principle."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bids_decoder.bids.layouts import MAX_SIDECAR_BYTES, same_label
from bids_decoder.bids.names import parse_entities, suffix_of
from bids_decoder.errors import ExitCode, Finding, UsageError
from bids_decoder.files import read_json

if TYPE_CHECKING:
    from bids import BIDSLayout

FIELDMAP_SUFFIXES = ("epi", "fieldmap", "phasediff", "phase1", "phase2", "magnitude1", "magnitude",
                     "magnitude2")
"""Of images in ``fmap/``."""
_SUFFIXES = ("bold", "betaseries", "sbref", *FIELDMAP_SUFFIXES)


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> Mapping[str, Any]: ...


_Run = TypeVar("_Run", bound=_HasMetadata)


class Sidecars:
    """The sidecars of a dataset, each read once and only when an image asks for it.

    Parameters
    ----------
    root : Path
        Top of the dataset.
    paths : iterable of Path
        All its sidecars.

    Attributes
    ----------
    findings : list of Finding
        Sidecars that could not be read; their metadata are missing.
    """

    def __init__(self, root: Path, paths: Iterable[Path]) -> None:
        self.root = root
        self.findings: list[Finding] = []
        self._there: dict[tuple[Path, str], list[tuple[dict[str, str], Path]]] = defaultdict(list)
        self._read: dict[Path, dict[str, Any]] = {}
        for path in sorted(paths):
            self._there[path.parent, suffix_of(path)].append((parse_entities(path), path))

    def metadata_of(self, image: Path) -> dict[str, Any]:
        """Merge the sidecars of an image; the one closest to it takes precedence.

        Parameters
        ----------
        image : Path
            Below the root.

        Returns
        -------
        dict
            Without entries that are null.
        """
        entities, suffix = parse_entities(image), suffix_of(image)
        places = [image.parent, *image.parent.parents]
        places = places[:places.index(self.root) + 1]
        joined: dict[str, Any] = {}
        for place in reversed(places):
            fitting = [
                (len(own), path) for own, path in self._there.get((place, suffix), ())
                if all(_agrees(entities, *pair) for pair in own.items())
            ]
            for _, path in sorted(fitting):
                if path not in self._read:
                    self._read[path] = self._checked(path)
                joined |= self._read[path]
        return {key: value for key, value in joined.items() if value is not None}

    def _checked(self, path: Path) -> dict[str, Any]:
        label = parse_entities(path).get("sub")
        try:
            content = read_json(path, MAX_SIDECAR_BYTES)
        except FileNotFoundError:
            # A dead link: usually the image is one too, which is reported with its name.
            return {}
        except (OSError, ValueError) as error:
            self._report(path, f"is not readable as JSON: {error}", label)
            return {}
        if not isinstance(content, dict):
            self._report(path, "holds no JSON object", label)
            return {}
        return content

    def _report(self, path: Path, why: str, label: str | None) -> None:
        self.findings.append(Finding(
            str(path), why, "correct the sidecar (JSON, UTF-8)", ExitCode.BAD_DATA,
            participant=label, place=str(path),
        ))


def _agrees(entities: dict[str, str], key: str, value: str) -> bool:
    return key in entities and (
        same_label(entities[key], value) if key == "run" else entities[key] == value
    )


def read_sidecars(layout: BIDSLayout) -> Sidecars:
    """Return the sidecars of the functional images and field maps in an index."""
    found = layout.get(suffix=list(_SUFFIXES), extension=".json", return_type="filename")
    return Sidecars(Path(layout.root), map(Path, found))


def split_query(
    layout: BIDSLayout, query: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a query of the filter file into the part on entities and the part on metadata."""
    known = layout.get_entities()
    return (
        {key: value for key, value in query.items() if key in known},
        {key: value for key, value in query.items() if key not in known},
    )


def select_by_metadata(runs: Sequence[_Run], query: Mapping[str, Any]) -> list[_Run]:
    """Keep the runs whose metadata match a query, with the meaning it has in PyBIDS.

    Parameters
    ----------
    runs : sequence of BoldRun
    query : mapping
        Key in a sidecar to a value, a list of values, or :class:`bids.layout.Query`.

    Raises
    ------
    UsageError
        When no run has a key that is asked for.
    """
    known = {key for run in runs for key in run.metadata}
    unknown = [key for key in query if key not in known]
    if runs and unknown:
        near = difflib.get_close_matches(unknown[0], sorted(known))
        raise UsageError(
            "--bids-filter-file", f"'{unknown[0]}' is neither an entity nor in any sidecar"
            + (f"; did you mean {', '.join(near)}?" if near else ""),
            "use PyBIDS entity names (session, task, run, echo, …) or keys of sidecars",
        )
    return [
        run for run in runs
        if all(_fits(run.metadata.get(key), value) for key, value in query.items())
    ]


def _fits(found: Any, wanted: Any) -> bool:
    from bids.layout import Query

    values = wanted if isinstance(wanted, list) else [wanted]
    if Query.OPTIONAL in values or (found is None and Query.NONE in values):
        return True
    return found is not None and (
        Query.REQUIRED in values or str(found) in [str(value) for value in values]
    )
