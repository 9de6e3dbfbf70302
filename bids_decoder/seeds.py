"""Seeds that depend on seed, stage and participant, never on the order of execution."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *keys: object) -> int:
    """Derive a seed for one purpose.

    Parameters
    ----------
    seed : int
        The seed of the whole run (``--random-seed``).
    *keys : object
        What the seed is for, for instance a stage, a participant label and a fold. Their
        text form is used.

    Returns
    -------
    int
        In ``[0, 2**31)``, the same on every machine.

    Examples
    --------
    >>> derive_seed(1, "troi", "01") == derive_seed(1, "troi", "01")
    True
    >>> derive_seed(1, "troi", "01") == derive_seed(1, "troi", "02")
    False
    """
    text = "\x1f".join([str(seed), *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:4], "little") >> 1
