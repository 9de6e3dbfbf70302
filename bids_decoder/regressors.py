"""What ``--confounds`` asks for: columns of the tables of runs, and own tables."""

from __future__ import annotations

from collections.abc import Sequence

OWN = "own_"
"""How names of columns of own tables begin; all of them are used."""

REJECTED = "tedana_rejected_"
"""How names of components begin that ``--tedana`` rejected; all of them are used."""


def split_wanted(confounds: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the values of ``--confounds`` into columns of the tables and folders of own tables.

    Parameters
    ----------
    confounds : sequence of str
        ``none`` stands for no columns; what holds a slash is a folder.

    Returns
    -------
    columns, folders : tuple of str

    Examples
    --------
    >>> split_wanted(["simple", "cosine*", "/data/physio"]), split_wanted(["none"])
    ((('simple', 'cosine*'), ('/data/physio',)), ((), ()))
    """
    columns = tuple(name for name in confounds if "/" not in name and name != "none")
    return columns, tuple(name for name in confounds if "/" in name)
