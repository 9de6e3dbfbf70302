"""Checks of the parameters of estimators, which scikit-learn wants in ``fit``."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from bids_decoder.api.images import ArrayError


def is_whole(value: Any, least: int) -> bool:
    """Return whether a value is a whole number of *least* or more."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def check_whole(name: str, value: Any, least: int) -> None:
    """Check that a parameter is a whole number of *least* or more.

    Raises
    ------
    ArrayError
    """
    if not is_whole(value, least):
        raise ArrayError(
            f"{name} {value!r}", "the parameter is out of range",
            f"give a whole number of {least} or more",
        )


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Check that a parameter is one of the *known* names.

    Raises
    ------
    ArrayError
    """
    if value not in known:
        raise ArrayError(
            f"{name} {value!r}", "there is none of this name", f"use one of: {', '.join(known)}"
        )
