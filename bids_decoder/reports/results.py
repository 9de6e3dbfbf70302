"""What is on disk: all that reports know about a run."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from bids_decoder.bids.names import NAMES, OutputName, find_name, parse_entities, sidecar_path
from bids_decoder.bids.writer import read_table
from bids_decoder.files import read_json

_PARTICIPANT = re.compile(r"sub-([0-9A-Za-z+]+)")
_MADE_FROM_RESPONSES = ("func", "model", "reconstruction")
T = TypeVar("T")
_IN_ALL_SPACES = ("preproc_bold", "bold_mask", "boldref", "confounds", "bold_xfm")


@dataclass(frozen=True)
class RunLog:
    """One call of the program, as its folder below ``logs/`` tells it.

    Parameters
    ----------
    uuid : str
        Name of the folder.
    record : dict
        Content of ``run.json``: ``command``, ``started``, ``version``, ``timings``.
    settings : dict
        Content of ``settings.toml``; empty when the file is absent.
    crashes : tuple of Path
        Crash files, by name.
    """

    uuid: str
    record: dict[str, Any]
    settings: dict[str, Any]
    crashes: tuple[Path, ...]


@dataclass(frozen=True)
class Results:
    """The derivatives of one output folder.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    participant : str or None
        Label without ``sub-``; None for files of the group.
    stimuli_dir : Path or None
        Folder with the stimulus images by id; without it, ids are shown.
    """

    output_dir: Path
    participant: str | None = None
    stimuli_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the files of this participant, or of the group, are."""
        return self.output_dir / (f"sub-{self.participant}" if self.participant else "group")

    @cached_property
    def _paths(self) -> list[Path]:
        return sorted(p for p in self.folder.rglob("*") if p.is_file())

    def files(self, key: str | OutputName, **entities: str) -> list[Path]:
        """Find the files of one kind.

        Parameters
        ----------
        key : str or OutputName
            Key of :data:`bids_decoder.bids.names.NAMES`, or a name that is not among them.
        **entities : str
            Wanted values; a trailing ``_`` is dropped (``from_``).

        Returns
        -------
        list of Path
            Sorted by name.
        """
        name = find_name(key)
        wanted = {**name.entities, **{k.rstrip("_"): v for k, v in entities.items()}}
        ending = f"{name.suffix}{name.extension}"
        folder = Path(name.folder).name
        return [
            path
            for path in self._current(key)
            if path.name.endswith(f"_{ending}")
            and path.parent.name == folder
            and wanted.items() <= parse_entities(path).items()
        ]

    def _current(self, key: str | OutputName) -> list[Path]:
        """Leave out what was made from responses in another space than the present ones."""
        if find_name(key).folder not in _MADE_FROM_RESPONSES or key in _IN_ALL_SPACES:
            return self._paths
        spaces = self._response_spaces
        return [p for p in self._paths if not spaces or _space(p) in spaces]

    @cached_property
    def _response_spaces(self) -> set[tuple[str | None, str | None]]:
        """Where the responses are that the last call estimated; empty where no marker says it."""
        marker = self.output_dir / "logs" / "done" / f"sub-{self.participant}_betas.json"
        outputs = read_json(marker).get("outputs", {}) if marker.is_file() else {}
        ending = f"_{NAMES['trials'].suffix}{NAMES['trials'].extension}"
        return {_space(Path(name)) for name in outputs if name.endswith(ending)}

    def tables(self, key: str | OutputName) -> dict[str, pd.DataFrame]:
        """Read all tables of one kind, by run name (:func:`run_name`)."""
        return {run_name(path): read_table(path) for path in self.files(key)}

    def table(self, key: str | OutputName) -> pd.DataFrame | None:
        """Read and stack all tables of one kind; None when there is none."""
        frames = [read_table(path) for path in self.files(key)]
        return pd.concat(frames, ignore_index=True) if frames else None

    def card(self, key: str | OutputName) -> dict[str, Any]:
        """Read the sidecar of the first file of one kind; empty when there is none.

        A sidecar without its file counts as well, so that a report can be
        made where the weights were not copied.
        """
        there = [sidecar_path(path) for path in self.files(key)]
        found = [path for path in there if path.exists()] or self._sidecars(key)
        return read_json(found[0]) if found else {}

    def cards(self, key: str | OutputName) -> dict[str, dict[str, Any]]:
        """Read the sidecars of one kind, by run name (:func:`run_name`), as :meth:`card` does."""
        return {run_name(path): read_json(path) for path in self._sidecars(key)}

    def _sidecars(self, key: str | OutputName) -> list[Path]:
        name = find_name(key)
        return [
            path for path in self._current(key)
            if path.name.endswith(f"_{name.suffix}.json")
            and path.parent.name == Path(name.folder).name
            and name.entities.items() <= parse_entities(path).items()
        ]

    @cached_property
    def _derived(self) -> dict[Callable[[Results], Any], Any]:
        return {}

    def once(self, make: Callable[[Results], T]) -> T:
        """Return what *make* returns for these results, computed in the first call only."""
        if make not in self._derived:
            self._derived[make] = make(self)
        return self._derived[make]

    @cached_property
    def plan(self) -> dict[str, Any]:
        """Content of ``plan.json``; empty when the file is absent."""
        path = self.output_dir / "plan.json"
        return read_json(path) if path.exists() else {}

    @cached_property
    def runs(self) -> list[RunLog]:
        """All calls that left a ``run.json``, by time of start."""
        records = sorted((self.output_dir / "logs").glob("*/run.json"))
        logs = [_read_run(path.parent) for path in records]
        return sorted(logs, key=lambda log: (str(log.record.get("started", "")), log.uuid))

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the last call that wrote some; empty when none did."""
        return next((log.settings for log in reversed(self.runs) if log.settings), {})

    def crashes(self) -> list[tuple[RunLog, str, str]]:
        """Find the crash files that concern this participant, or no single participant.

        Returns
        -------
        list of (RunLog, str, str)
            The call, the name of the file and its text; newest call first.
        """
        found = []
        for log in reversed(self.runs):
            for path in log.crashes:
                text = path.read_text(encoding="utf-8", errors="replace")
                named = set(_PARTICIPANT.findall(f"{path.name}\n{text}"))
                if self.participant is None or not named or self.participant in named:
                    found.append((log, path.name, text))
        return found

    def setting(self, group: str, name: str, default: Any = None) -> Any:
        """Return one setting of the last call."""
        return self.settings.get(group, {}).get(name, default)


def participants(output_dir: Path) -> list[str]:
    """Return the labels of the participants that have a folder, sorted."""
    return sorted(p.name.removeprefix("sub-") for p in output_dir.glob("sub-*") if p.is_dir())


def _space(path: Path) -> tuple[str | None, str | None]:
    entities = parse_entities(path)
    return entities.get("space"), entities.get("res")


def run_name(path: Path) -> str:
    """Return the session, task and run of a file in words, for captions.

    Examples
    --------
    >>> run_name(Path("sub-01_ses-2_task-see_run-1_desc-confounds_timeseries.tsv"))
    'ses-2 task-see run-1'
    """
    entities = parse_entities(path)
    kept = [f"{key}-{entities[key]}" for key in ("ses", "task", "run") if key in entities]
    return " ".join(kept) or path.name.split(".")[0]


def numeric(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return a copy whose *columns* are numbers; absent columns are added as missing."""
    table = table.copy()
    for name in columns:
        table[name] = pd.to_numeric(table[name], errors="coerce") if name in table else float("nan")
    return table


def truth(column: pd.Series) -> pd.Series:
    """Read a text column of true/false; missing counts as false."""
    return column.astype(str).str.lower().isin(["true", "1", "1.0"])


def sidecar_of(path: Path) -> dict[str, Any]:
    """Read the sidecar of a file; empty when there is none."""
    sidecar = sidecar_path(path)
    return read_json(sidecar) if sidecar.exists() else {}


def _read_run(folder: Path) -> RunLog:
    settings = folder / "settings.toml"
    content = tomllib.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    return RunLog(
        folder.name, read_json(folder / "run.json"), content,
        tuple(sorted(folder.glob("crash-*.txt"))),
    )
