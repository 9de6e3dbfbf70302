"""Beta series that an earlier round left in the output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bids_decoder.bids.layouts import natural_key
from bids_decoder.bids.names import NAMES, parse_entities
from bids_decoder.bids.writer import read_table
from bids_decoder.errors import InputError, MissingInputError


@dataclass(frozen=True)
class PreparedRun:
    """Single-trial responses of one run on disk.

    Parameters
    ----------
    run_group : str
        As in the trial table.
    betas_file : Path
        4-D; volume *i* belongs to row *i* of the table.
    trials_file : Path
    """

    run_group: str
    betas_file: Path
    trials_file: Path


def prepared_runs(
    output_dir: Path, participant: str, task: str | None = None
) -> list[PreparedRun]:
    """Find the beta series of one participant, in natural order of their names.

    Parameters
    ----------
    output_dir : Path
        Top of the derivatives.
    participant : str
        Label without ``sub-``.
    task : str or None
        Only runs of this task.

    Returns
    -------
    list of PreparedRun
        Empty when nothing is prepared.

    Raises
    ------
    MissingInputError
        When a beta series has no trial table beside it.
    InputError
        When a table has rows of no or of several runs.
    """
    ending = _ending("betaseries")
    folder = output_dir / f"sub-{participant}"
    paths = [*folder.glob(f"func/*{ending}"), *folder.glob(f"ses-*/func/*{ending}")]
    wanted = [
        path for path in paths
        if not path.name.startswith(".") and task in (None, parse_entities(path).get("task"))
    ]
    return [_prepared(path) for path in sorted(wanted, key=lambda p: natural_key(p.name))]


def _ending(key: str) -> str:
    name = NAMES[key]
    return f"_desc-{name.entities['desc']}_{name.suffix}{name.extension}"


def _prepared(betas: Path) -> PreparedRun:
    trials = betas.with_name(betas.name.removesuffix(_ending("betaseries")) + _ending("trials"))
    if not trials.is_file():
        raise MissingInputError(
            str(betas), f"there is no {trials.name} beside it",
            "remove the beta series; the prepare stage makes both again",
        )
    table = read_table(trials)
    groups = set(table["run_group"]) if "run_group" in table else set()
    if len(groups) != 1 or groups == {None}:
        raise InputError(
            str(trials), f"expected the rows of one run, found {sorted(map(str, groups))}",
            "remove it and the beta series; the prepare stage makes both again",
        )
    return PreparedRun(str(groups.pop()), betas, trials)
