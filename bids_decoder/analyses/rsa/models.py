"""Model dissimilarities: read from tables, or made from labels and target vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.analyses.rsa.options import SUFFIXES, split_word
from bids_decoder.errors import (
    InputError,
    MissingInputError,
    UsageError,
    explain_damage,
    name_some,
)
from bids_decoder.evaluation.dissimilarity import vectorise
from bids_decoder.stimuli.sketch import centre_sketches

NPZ = ".npz"
MAX_BYTES = 50_000_000


def make_model(word: str, names: Sequence[str]) -> np.ndarray:
    """Read the model that a word of ``--rsa`` names, (n_conditions, n_conditions).

    Raises
    ------
    InputError
        See :func:`read_model` and :func:`read_values`.
    """
    path, column = split_word(word)
    return read_model(path, names) if not column else model_of_values(
        read_values(path, column, names), f"--rsa {word}"
    )


def read_values(path: Path, column: str, names: Sequence[str]) -> list[str]:
    """Read one value per condition from a table whose first column names the conditions.

    Raises
    ------
    InputError
        When the table or the column is absent, or a condition has no value, or two.
    """
    what = f"--rsa {path}:{column}"
    if not path.is_file():
        raise MissingInputError(what, "no such file", "name a table (.tsv, .csv)")
    table = _read_table(path, what)
    if column not in table:
        raise InputError(what, f"has the columns {name_some([str(c) for c in table], 8)}",
                         "name one of them, as stimuli.tsv:size")
    values = table[column].dropna()
    values.index = pd.Index([str(name) for name in values.index])
    values = values[values.str.strip().ne("n/a")]
    absent = [name for name in names if name not in values.index]
    twice = [name for name in names if (values.index == name).sum() > 1]
    if absent or twice:
        raise InputError(
            what, f"has no value for {name_some(absent)}" if absent else
            f"has several rows for {name_some(twice)}",
            "give one row for each condition, with its name in the first column",
        )
    return values[list(names)].tolist()


def model_of_values(values: Sequence[str], what: str) -> np.ndarray:
    """Return squared differences of numbers, or 0 for the same and 1 for different words, (n, n).

    Raises
    ------
    InputError
        When all conditions have the same value, or each one a word of its own.
    """
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").to_numpy(float)
    found = model_of_labels(values)
    if np.isfinite(numbers).all():
        found = (numbers[:, None] - numbers[None]) ** 2
    if np.ptp(vectorise(found)) < 1e-12:
        raise InputError(what, "all dissimilarities are equal", "name a column that says which "
                         "conditions differ more than others")
    return found


def read_model(path: Path, names: Sequence[str]) -> np.ndarray:
    """Read dissimilarities of conditions from a table.

    Parameters
    ----------
    path : Path
        First column and header hold the names of conditions; further ones are left out. Or
        ``.npz`` with the arrays ``names`` (n,) and ``rdm`` (n, n).
    names : sequence of str
        Conditions, in the order of the result.

    Returns
    -------
    ndarray, shape (n_conditions, n_conditions)

    Raises
    ------
    InputError
        When the table is absent, unreadable, not symmetric, incomplete or constant.
    """
    what = f"--rsa {path}"
    if not path.is_file():
        raise MissingInputError(what, "no such file", "name a table of dissimilarities, `label` "
                                "or `features`")
    table = _read_table(path, what)
    rows, columns = ([str(name) for name in axis] for axis in (table.index, table.columns))
    absent = [name for name in names if name not in rows or name not in columns]
    if absent or len(set(rows)) < len(rows) or sorted(rows) != sorted(columns):
        why = f"has no row and column for {name_some(absent)}" if absent else \
            f"its {len(rows)} rows and {len(columns)} columns do not have the same, unique names"
        raise InputError(what, why, f"give a square table with the names {name_some(list(names))} "
                         "in its first column and its header")
    table.index, table.columns = pd.Index(rows), pd.Index(columns)
    values = table.loc[list(names), list(names)].apply(pd.to_numeric, errors="coerce").to_numpy()
    above = vectorise(values)
    if not np.isfinite(above).all() or not np.allclose(values, values.T, equal_nan=True):
        raise InputError(what, "is not symmetric, or holds values that are not numbers",
                         "give one number for each pair, the same above and below the diagonal")
    if np.ptp(above) < 1e-12:
        raise InputError(what, "all dissimilarities are equal", "a model must say which "
                         "conditions differ more than others")
    values = values.astype(np.float64)
    np.fill_diagonal(values, 0)
    return values


def _read_table(path: Path, what: str) -> pd.DataFrame:
    separator = SUFFIXES.get(path.suffix.lower())
    mend = "give a table with tabs (.tsv) or commas (.csv), or an .npz with names and rdm"
    if path.suffix.lower() == NPZ:
        return _read_npz(path, what, mend)
    if separator is None:
        raise InputError(what, f"cannot read {path.suffix or 'files without suffix'}", mend)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(what, f"has more than {MAX_BYTES // 1_000_000} MB", mend)
    try:
        return pd.read_csv(path, sep=separator, index_col=0, dtype=str)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise InputError(what, f"cannot be read: {str(error).splitlines()[0]}", mend) from error


def _read_npz(path: Path, what: str, mend: str) -> pd.DataFrame:
    with explain_damage(what, "cannot be read", mend), np.load(path, allow_pickle=False) as content:
        names, values = content["names"].astype(str), content["rdm"].astype(np.float64)
    if names.ndim != 1 or values.shape != (len(names), len(names)):
        sizes = " and ".join(str(array.shape) for array in (names, values))
        raise InputError(what, f"names and rdm have the shapes {sizes}",
                         "give n names and dissimilarities of shape (n, n)")
    return pd.DataFrame(values, index=names, columns=names)


def model_of_labels(labels: Sequence[str]) -> np.ndarray:
    """Return 0 for two conditions of the same label and 1 for others, (n, n)."""
    found = np.asarray(labels, dtype=str)
    return (found[:, None] != found[None]).astype(np.float64)


def model_of_vectors(vectors: np.ndarray, sketched: int = 0) -> np.ndarray:
    """Return one minus the correlation of the vectors of two conditions, (n, n).

    Parameters
    ----------
    vectors : ndarray, shape (n, n_dims)
    sketched : int
        Length of the vectors that these are sketches of; 0 where they are whole.

    Raises
    ------
    InputError
        If a vector has one dimension or equal values, or all vectors correlate alike.
    """
    model = np.full((len(vectors), len(vectors)), np.nan)
    if vectors.shape[1] > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            if sketched:
                centred = centre_sketches(vectors, sketched)
                centred /= np.linalg.norm(centred, axis=1, keepdims=True)
                model = 1 - centred @ centred.T
            else:
                model = 1 - np.atleast_2d(np.corrcoef(vectors))
    others = model[~np.eye(len(model), dtype=bool)]
    if not np.isfinite(others).all() or np.allclose(others, others[0]):
        raise InputError(
            "--rsa features", "the vectors of some conditions have no correlation, or all have the "
            "same one", "give features of two columns or more that differ within each stimulus",
        )
    return model


def conditions_of(trials: pd.DataFrame, kind: str) -> list[str]:
    """Return the labels, or stimuli, that occur in two runs or more, in order.

    Parameters
    ----------
    trials : DataFrame
        Trials that are used.
    kind : {"category", "image", "features"}
        Of the targets.
    """
    column = condition_column(kind)
    known = trials[trials[column].notna()]
    n_runs = known.groupby(column)["run_group"].nunique()
    return sorted(map(str, n_runs.index[n_runs >= 2]))


def condition_column(kind: str) -> str:
    """Return the column of the trial table that names conditions."""
    return "label" if kind == "category" else "stimulus"


def labels_of(trials: pd.DataFrame, names: Sequence[str]) -> Mapping[str, str]:
    """Return the label of each stimulus.

    Raises
    ------
    UsageError
        Where stimuli have no label, all the same, or each its own.
    """
    pairs = trials[["stimulus", "label"]].dropna().drop_duplicates("stimulus")
    known = dict(zip(pairs["stimulus"].astype(str), pairs["label"].astype(str), strict=True))
    absent = [name for name in names if name not in known]
    n_labels = len({known.get(name) for name in names})
    if absent or n_labels in (1, len(names)):
        raise UsageError(
            "--rsa label", f"no label for {name_some(absent)}" if absent else
            f"{len(names)} stimuli have {n_labels} label(s), so that all dissimilarities are equal",
            "name a table of dissimilarities in its place",
        )
    return known


def apart(trials: pd.DataFrame, names: Sequence[str], kind: str) -> list[tuple[str, str]]:
    """Return the pairs of conditions that are not together in two runs or more.

    Parameters
    ----------
    trials : DataFrame
        Trials that are used.
    names : sequence of str
        Conditions.
    kind : {"category", "image", "features"}
        Of the targets.
    """
    column = trials[condition_column(kind)].astype(str)
    present = pd.crosstab(trials["run_group"], column)[list(names)].to_numpy() > 0
    shared = present.T.astype(int) @ present.astype(int)
    rows, columns = np.nonzero(np.triu(shared < 2, 1))
    return [(names[row], names[other]) for row, other in zip(rows, columns, strict=True)]
