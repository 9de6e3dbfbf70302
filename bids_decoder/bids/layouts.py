"""Datasets opened with PyBIDS: filters, the index on disk, inheritance of tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_decoder.bids.index import DatasetIndexer
from bids_decoder.bids.names import parse_entities
from bids_decoder.errors import ExitCode, Finding, InputError, MissingInputError, UsageError
from bids_decoder.files import read_json

if TYPE_CHECKING:
    from bids import BIDSLayout

NIFTI = (".nii.gz", ".nii")

MAX_SIDECAR_BYTES = 16 << 20
"""Bytes above which a sidecar, a description or a filter file is not read."""

_FMRIPREP_QUERIES = frozenset({"bold", "dwi", "flair", "fmap", "roi", "sbref", "t1w", "t2w"})


def natural_key(text: str | None) -> tuple[Any, ...]:
    """Return a sort key that puts run 2 before run 10 and absent labels first.

    Examples
    --------
    >>> sorted(["10", "2", "01"], key=natural_key)
    ['01', '2', '10']
    """
    parts = re.split(r"(\d+)", text or "")
    return tuple((1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts)


def same_label(left: str, right: str) -> bool:
    """Compare two labels; numbers agree whatever their leading zeros.

    Examples
    --------
    >>> same_label("01", "1"), same_label("1", "10")
    (True, False)
    """
    return bare_label(left) == bare_label(right)


def bare_label(label: str) -> str:
    """Return a label without leading zeros, where it is a number.

    Examples
    --------
    >>> bare_label("007"), bare_label("00"), bare_label("0a")
    ('7', '0', '0a')
    """
    return str(int(label)) if label.isdecimal() else label


def strip_prefix(label: str, entity: str) -> str:
    """Return the label without ``<entity>-``, with which users often write it."""
    return label.removeprefix(f"{entity}-")


def read_filters(path: Path | None, known: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read a filter file in fMRIPrep's format.

    Parameters
    ----------
    path : Path or None
        JSON: query name (``bold``, ``t1w``, ``fmap``) to PyBIDS entities and values. ``null``
        means that the entity must be absent, ``"*"`` that it must be present.
    known : iterable of str
        Query names that are used; other query names of fMRIPrep are ignored.

    Returns
    -------
    dict
        Query name to keyword arguments for ``BIDSLayout.get``.

    Raises
    ------
    UsageError
        When the file cannot be read or has another shape.
    """
    if path is None:
        return {}
    try:
        content = read_json(path, MAX_SIDECAR_BYTES)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--bids-filter-file {path}", f"cannot be read as JSON: {error}",
            'give a JSON file such as {"bold": {"session": "01", "echo": null}}',
        ) from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise UsageError(
            f"--bids-filter-file {path}", "expected a table of tables",
            'give a JSON file such as {"bold": {"session": "01", "echo": null}}',
        )
    unknown = sorted(set(content) - {*known, *_FMRIPREP_QUERIES})
    if unknown:
        raise UsageError(
            f"--bids-filter-file {path}", f"there is no kind of input {', '.join(unknown)}",
            f"use {', '.join(known)}",
        )
    return {
        query: {entity: _filter_value(value) for entity, value in entities.items()}
        for query, entities in content.items()
    }


def _filter_value(value: Any) -> Any:
    from bids.layout import Query

    if isinstance(value, list):
        return [_filter_value(item) for item in value]
    if value is None:
        return Query.NONE
    if value == "*":
        return Query.ANY
    if isinstance(value, str) and value.startswith("Query.") and value[6:] in Query.__members__:
        return Query[value[6:]]
    return value


def open_layout(
    root: Path, database: Path | None = None, findings: list[Finding] | None = None
) -> BIDSLayout:
    """Index a dataset, raw or derivative, or reopen its index.

    Parameters
    ----------
    root : Path
        Top of the dataset.
    database : Path or None
        Folder of the index (``--bids-database-dir``): built there once, reopened afterwards, and
        built anew when it belongs to another dataset or has been moved.
    findings : list of Finding or None
        Folders that had to be left out of a new index are added to it.

    Returns
    -------
    BIDSLayout
        Without metadata; see :class:`bids_decoder.bids.sidecars.Sidecars`.

    Raises
    ------
    MissingInputError
        When *root* is not a folder.
    InputError
        When PyBIDS cannot make or read the index.
    """
    from bids import BIDSLayout

    if not root.is_dir():
        raise MissingInputError(
            f"dataset {root}", "there is no such folder",
            "check the path and, in a container, the mount",
        )
    # PyBIDS reads the description too, and raises any kind of exception for a damaged one.
    describe(root)
    reopen = database is not None and _belongs_to(database, root)
    indexer = DatasetIndexer(root.absolute())
    try:
        layout = BIDSLayout(database_path=database) if reopen else BIDSLayout(
            root.absolute(), validate=False, config=["bids", "derivatives"],
            database_path=database, reset_database=True, indexer=indexer,
        )
    except OSError:
        raise
    # PyBIDS and SQLAlchemy raise many kinds of exceptions, depending on the dataset's content.
    except Exception as error:
        raise _no_index(root, database, error) from error
    if findings is not None:
        findings += indexer.findings
    return layout


def _no_index(root: Path, database: Path | None, error: Exception) -> InputError:
    from sqlalchemy.exc import OperationalError

    if isinstance(error, OperationalError) and database is not None:
        return InputError(
            f"--bids-database-dir {database}", f"the index cannot be written: {error.orig}",
            "free some space or choose another folder, then run the same command again",
            ExitCode.IO_ERROR,
        )
    return InputError(
        f"dataset {root}", f"cannot be indexed: {type(error).__name__}: {error}",
        f"correct {root / 'dataset_description.json'}, or give the top folder of a dataset",
    )


def _belongs_to(database: Path, root: Path) -> bool:
    """Return whether the index in *database* was built from *root* at its present path."""
    import sqlite3

    index = database / "layout_index.sqlite"
    if not index.is_file():
        return False
    try:
        connection = sqlite3.connect(f"file:{index}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT root FROM layout_info").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InputError(
            f"--bids-database-dir {database}", f"the index in it cannot be read: {error}",
            f"delete {index}; it is built anew",
        ) from error
    return [row[0] for row in rows] == [str(root.absolute())]


def find_files(layout: BIDSLayout, suffix: str, query: dict[str, Any], **fixed: Any) -> list[Path]:
    """Find the images of one suffix, below ``sub-<label>`` folders, in natural order.

    Raises
    ------
    UsageError
        When *query* (from the filter file) holds something PyBIDS does not know.
    """
    wanted = {"suffix": suffix, "extension": list(NIFTI), **fixed, **query}
    try:
        found = layout.get(**wanted, return_type="filename")
    except (ValueError, KeyError) as error:
        raise UsageError(
            "--bids-filter-file", str(error),
            "use PyBIDS entity names: session, task, run, echo, …",
        ) from error
    paths = [Path(name) for name in found]
    root = Path(str(layout.root))
    return sorted((p for p in paths if _in_own_folder(p, root)), key=lambda p: natural_key(str(p)))


def _in_own_folder(path: Path, root: Path) -> bool:
    # "sub-01_old/func/sub-01_…" would otherwise pass for a second copy of participant 01.
    top = path.relative_to(root).parts[0]
    return top == f"sub-{parse_entities(path).get('sub')}"


class InheritedTables:
    """Tables of a dataset, found for a run by the inheritance principle.

    Parameters
    ----------
    paths : iterable of Path
        All tables of one suffix in the dataset.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._by_subject: dict[str | None, list[tuple[dict[str, str], Path]]] = defaultdict(list)
        for path in sorted(paths):
            entities = parse_entities(path)
            self._by_subject[entities.get("sub")].append((entities, path))

    def for_run(self, entities: dict[str, str]) -> Path | None:
        """Return the table with most entities, all of which the run has too; None without one.

        Labels that are numbers may differ in leading zeros; ``sub`` may not.
        """
        candidates = self._by_subject.get(entities["sub"], []) + self._by_subject.get(None, [])
        fitting = [
            (len(own), sum(entities[key] == value for key, value in own.items()), path)
            for own, path in candidates
            if all(key in entities and (key == "sub" or same_label(entities[key], value))
                   for key, value in own.items())
        ]
        return max(fitting, default=(0, 0, None), key=lambda fit: fit[:2])[2]


def describe(root: Path) -> dict[str, Any]:
    """Read ``dataset_description.json``; return an empty dict where it is absent.

    Raises
    ------
    InputError
        When the file exists but is not a JSON object.
    """
    path = root / "dataset_description.json"
    if not path.is_file():
        return {}
    try:
        content = read_json(path, MAX_SIDECAR_BYTES)
    except (OSError, ValueError) as error:
        content = error
    if not isinstance(content, dict):
        raise InputError(
            str(path), f"is no JSON object: {content}", "correct the file", code=ExitCode.BAD_DATA,
        )
    return content
