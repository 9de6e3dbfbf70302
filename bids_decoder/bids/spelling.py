"""Names with similar spelling: suggestions for a wrong one, and variants of the same name."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a question that offers the nearest known names.

    Parameters
    ----------
    name : str
        The name that is not known.
    known : iterable of str
    otherwise : str
        Returned where no known name is near.

    Examples
    --------
    >>> did_you_mean("Trial_typ", ["onset", "trial_type"], "use a column of the file")
    'did you mean trial_type?'
    """
    by_key: dict[str, list[str]] = defaultdict(list)
    for candidate in known:
        by_key[spelling_key(candidate)].append(candidate)
    keys = difflib.get_close_matches(spelling_key(name), by_key, n=3, cutoff=0.65)
    near = [candidate for key in keys for candidate in by_key[key]]
    return f"did you mean {' or '.join(near[:3])}?" if near else otherwise


def spelling_key(name: str) -> str:
    """Return a name without case, blanks, ``_``, ``-`` and leading zeros.

    A separator between two digits, a leading minus and zeros after a decimal point tell names
    apart and stay. Only zeros at the end of a number do not: a table with a missing cell has 1.0
    where another one has 1.

    Examples
    --------
    >>> [spelling_key(name) for name in ("Old_Shoe", "img-007", "1_11", "-1", "0.05", "1.0")]
    ['oldshoe', 'img7', '1_11', '-1', '0.05', '1']
    """
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    if re.fullmatch(r"-?\d+\.\d*", text):
        text = text.rstrip("0").rstrip(".")
    sign = "-" if re.match(r"-[\d.]", text) else ""
    text = re.sub(r"(?<=\d)[\s_\-]+(?=\d)", "_", text)
    text = re.sub(r"(?<!\d)[\s_\-]+|[\s_\-]+(?!\d)", "", text)
    return sign + re.sub(r"(?<![\d.])0+(?=\d)", "", text)


def spelling_variants(counts: Mapping[str, int]) -> list[tuple[str, tuple[str, ...]]]:
    """Find names that differ in spelling only.

    Parameters
    ----------
    counts : mapping of str to int
        How often each name occurs.

    Returns
    -------
    list of (str, tuple of str)
        The most frequent spelling and the others, sorted by name.

    Examples
    --------
    >>> spelling_variants({"face": 60, "Face": 12, "house": 72})
    [('face', ('Face',))]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        groups[spelling_key(name)].append(name)
    variants = []
    for names in groups.values():
        if len(names) > 1:
            usual = max(names, key=lambda name: (counts[name], name))
            variants.append((usual, tuple(name for name in names if name != usual)))
    return sorted(variants)
