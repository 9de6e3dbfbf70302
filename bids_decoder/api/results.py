"""Results of the app in Python: tables as pandas, images as nibabel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import pandas as pd

from bids_decoder.bids.names import OutputName, parse_entities
from bids_decoder.bids.writer import read_table
from bids_decoder.errors import InputError, MissingInputError, UsageError, name_some
from bids_decoder.files import read_json
from bids_decoder.reports.results import Results, participants

if TYPE_CHECKING:
    from bids_decoder.api.decoding import LoadedDecoder

_NULL = "null"
"""End of the ``desc`` entity of null distributions: null (of the decoder), gallerynull, …"""

_ENTITY_COLUMNS = {"ses": "session", "task": "task", "run": "run", "space": "space"}
"""Entities of file names that become columns of joined tables."""

_TEXT_COLUMNS = re.compile(
    r"participant|session|task|run|run_group|stimulus|label|.*_label|top\d+|model|first|second|"
    r"train|test|target|region|condition.*"
)
"""Columns that are text even where every cell looks like a number."""

_PADDED = r"0\d"
"""Start of ids that look like numbers."""


def load_results(output_dir: str | PathLike[str]) -> DecodingResults:
    """Open an output folder of the app.

    Parameters
    ----------
    output_dir : path-like
        The second argument of the command line. Nothing is changed in it.

    Returns
    -------
    DecodingResults

    Raises
    ------
    MissingInputError
        If there is no such folder.
    InputError
        If it was not written by bids_decoder, or holds no results yet.

    Examples
    --------
    >>> import bids_decoder
    >>> results = bids_decoder.load_results("derivatives/bids_decoder")   # doctest: +SKIP
    >>> scores = results.metrics.query("analysis == 'decoder'")           # doctest: +SKIP
    >>> scores.query("model == 'decoder' and metric == 'balanced_accuracy'")[
    ...     ["participant", "value", "chance", "p"]]                      # doctest: +SKIP
    >>> image = results.maps("pattern")["01"]                             # doctest: +SKIP
    """
    folder = Path(output_dir).absolute()
    _check_output(folder)
    return DecodingResults(folder)


@dataclass(frozen=True)
class DecodingResults:
    """Results of the app in one output folder; made by :func:`load_results`.

    Everything is read when it is asked for. Files made from responses in another space than those
    of the last call are left out, as in the reports.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    """

    output_dir: Path

    @property
    def participants(self) -> list[str]:
        """Labels of the participants that have a folder, without ``sub-``, sorted."""
        return participants(self.output_dir)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Scores of all participants and analyses, one row per participant, model and metric.

        ``analysis`` says what was scored (``decoder``, ``encoder``, ``regions``, …: the ``desc``
        entity of the file); columns are described in the sidecars of the files.
        """
        return self.table("metrics", is_null=False)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions of held-out trials, one row per participant, analysis and trial."""
        return self.table("predictions")

    @cached_property
    def nulls(self) -> pd.DataFrame:
        """Scores under permuted labels, one row per participant, model, metric and permutation."""
        return self.table("metrics", is_null=True)

    @cached_property
    def group_metrics(self) -> pd.DataFrame:
        """Statistics over participants; empty where the group level was not run."""
        files = self._group.files(OutputName("metrics", ".tsv", "group"))
        return _stack(_read(None, path) for path in files)

    @cached_property
    def models(self) -> dict[str, LoadedDecoder]:
        """Fitted decoders by participant, as :func:`~bids_decoder.load_decoder` reads them.

        Participants without a model are left out; one with several raises a ``UsageError``.
        """
        found = {
            label: Results(self.output_dir, label).files("decoder_model")
            for label in self.participants
        }
        return {label: _only_decoder(paths) for label, paths in found.items() if paths}

    @property
    def plan(self) -> dict[str, Any]:
        """What was planned: kind of dataset, split, decisions with their reasons."""
        return self._group.plan

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the last call, by table of ``settings.toml``."""
        return self._group.settings

    def table(
        self, suffix: str, *, analysis: str | None = None, is_null: bool | None = None
    ) -> pd.DataFrame:
        """Read and join the tables of one kind over participants.

        Parameters
        ----------
        suffix : str
            Last part of the file names: ``metrics``, ``predictions``, ``comparisons``,
            ``learning``, ``peaks``, ``trials``, …
        analysis : str, optional
            Only files with this ``desc`` entity.
        is_null : bool, optional
            Only null distributions, or none of them; by default both.

        Returns
        -------
        DataFrame
            Columns ``participant``, ``session``, ``task``, ``run``, ``space`` as far as files are
            named by them, ``analysis``, then those of the files; numbers as numbers, ids as text.
            Empty where there is no such file.
        """
        return _stack(
            _read(label, path)
            for label, path in self._files(suffix, ".tsv")
            if analysis in (None, _desc(path))
            and is_null in (None, _desc(path).endswith(_NULL))
        )

    def maps(self, stat: str, **entities: str) -> dict[str, nib.Nifti1Image]:
        """Open the statistical maps of one kind.

        Parameters
        ----------
        stat : str
            ``pattern``, ``weight``, ``troi``, ``reliability``, …: the ``stat`` entity.
        **entities : str
            See :meth:`images`.

        Returns
        -------
        dict of str to Nifti1Image
            By participant.

        Raises
        ------
        MissingInputError, UsageError
            As :meth:`images`.
        """
        return self.images("statmap", stat=stat, **entities)

    def images(self, suffix: str, **entities: str) -> dict[str, nib.Nifti1Image]:
        """Open one image of every participant.

        Parameters
        ----------
        suffix : str
            Last part of the file names: ``statmap``, ``mask``, ``betaseries``, ``boldref``, …
        **entities : str
            Entities of the file names (``desc``, ``label``, ``task``, ``run``, …).

        Returns
        -------
        dict of str to Nifti1Image
            By participant; those without such an image are left out. Data are read from disk
            when they are used.

        Raises
        ------
        MissingInputError
            If no participant has such an image.
        UsageError
            If a participant has several.
        """
        found: dict[str, list[Path]] = {}
        others: list[Path] = []
        for label, path in self._files(suffix, ".nii.gz"):
            fits = entities.items() <= parse_entities(path).items()
            (found.setdefault(label, []) if fits else others).append(path)
        wanted = ", ".join([suffix, *(f"{key}-{value}" for key, value in entities.items())])
        if not found:
            raise MissingInputError(
                f"images in {self.output_dir}", f"no participant has a file with {wanted}",
                f"ask for one that is there: {_kinds(others) or 'there is none of this suffix'}",
            )
        several = next((paths for paths in found.values() if len(paths) > 1), None)
        if several:
            raise UsageError(
                f"images with {wanted}", f"a participant has {len(several)} of them",
                f"give further entities to choose one: {_kinds(several)}",
            )
        return {label: nib.load(path) for label, (path,) in found.items()}

    @property
    def _group(self) -> Results:
        return Results(self.output_dir)

    def _files(self, suffix: str, extension: str) -> Iterator[tuple[str, Path]]:
        """Yield the participant and the path of each file with this suffix."""
        for label in self.participants:
            own = Results(self.output_dir, label)
            for path in own.files(OutputName(suffix, extension, "func")):
                yield label, path


def _only_decoder(paths: list[Path]) -> LoadedDecoder:
    if len(paths) > 1:
        raise UsageError(
            "models of a participant", f"there are {len(paths)}: {_kinds(paths)}",
            "give the path of one to load_decoder",
        )
    # Tables are read without the libraries that decoders need, which take seconds to load.
    from bids_decoder.api.decoding import load_decoder

    return load_decoder(paths[0])


def _check_output(folder: Path) -> None:
    """Refuse what is no output folder of the app."""
    fix = "give the output folder of a call of bids_decoder (its second argument)"
    if not folder.is_dir():
        raise MissingInputError(f"results {folder}", "there is no such folder", fix)
    try:
        makers = read_json(folder / "dataset_description.json").get("GeneratedBy", [])
        name = makers[0]["Name"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"results {folder}",
            "has no dataset_description.json that says by which program it was made", fix,
        ) from error
    if name != "bids_decoder":
        raise InputError(f"results {folder}", f"was made by {name}, not by bids_decoder", fix)
    if not participants(folder) and not (folder / "group").is_dir():
        raise InputError(
            f"results {folder}", "holds no participant and no group",
            "wait until the call that writes it has finished a stage; its log is below logs/",
        )


def _desc(path: Path) -> str:
    return parse_entities(path).get("desc", "")


def _kinds(paths: list[Path]) -> str:
    """Describe files by the entities in which they differ from each other."""
    found = dict.fromkeys(
        " ".join(f"{key}-{value}" for key, value in parse_entities(path).items() if key != "sub")
        for path in paths
    )
    return name_some(list(found), 8)


def _stack(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join tables below each other, with typed columns; an empty table where there are none."""
    frames = list(tables)
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    return joined.apply(_typed)


def _read(label: str | None, path: Path) -> pd.DataFrame:
    """Read one table and put what its name says in front."""
    table, entities = read_table(path), parse_entities(path)
    named = {"participant": label} if label is not None else {}
    named |= {
        column: entities[key] for key, column in _ENTITY_COLUMNS.items()
        if key in entities and column not in table
    }
    named["analysis"] = _desc(path)
    new = {name: value for name, value in named.items() if name not in table}
    front = pd.DataFrame(new, index=table.index, columns=list(new), dtype=object)
    return pd.concat([front, table], axis=1)


def _typed(column: pd.Series) -> pd.Series:
    """Convert a column of text to numbers or booleans, where all known cells are such."""
    known = column.dropna().astype(str)
    is_text = _TEXT_COLUMNS.fullmatch(str(column.name)) or known.str.match(_PADDED).any()
    if is_text or known.empty:
        return column
    if set(known) <= {"True", "False"}:
        return (column == "True").astype("boolean").mask(column.isna())
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column
