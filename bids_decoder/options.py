"""Options of the command line: how they are added, and how their values are read.

Each option carries the name of the setting that it changes (``dest="group.field"``) and leaves no
trace when it is not given.
"""

from __future__ import annotations

import argparse
import difflib
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bids_decoder.config import Section, Settings

FIX_MARK = "\nfix: "
"""Between what is wrong with a value and how to mend it, in the message of an error."""

_LABEL = re.compile(r"[0-9A-Za-z+]+")
_MEMORY = re.compile(r"(\d+\.?\d*|\.\d+)\s*(?:([KMGT])(I?)B?)?")
_BUDGET = re.compile(r"(\d+\.?\d*|\.\d+)\s*(vox|mm3)")
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def default_of(setting: str, section: type[Section] | None = None) -> Any:
    """Return the default of a setting, named as ``group.field`` or as a field of all."""
    group, _, name = setting.rpartition(".")
    if section is not None:
        return getattr(section(), name)
    defaults = Settings()
    return getattr(getattr(defaults, group), name) if group else getattr(defaults, name)


def choices(kind: type, field: str) -> tuple[str, ...]:
    """Return the words that the settings allow for *field*."""
    return typing.get_args(typing.get_type_hints(kind)[field])


def one_of(given: str, known: Sequence[str]) -> str:
    """Return the advice to give one of the known names, the nearest first."""
    close = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.7)
    return f"{f'did you mean {close[0]}? ' if close else ''}give one of: {', '.join(known)}"


def bad_value(why: str, fix: str) -> argparse.ArgumentTypeError:
    """Return the error of a value that cannot be read; the parser tells *fix* apart."""
    return argparse.ArgumentTypeError(why + FIX_MARK + fix)


def read_path(text: str) -> Path:
    """Read a path, absolute and with the home folder filled in."""
    if not text:
        raise bad_value("the path is empty", "give a path, or leave the option out")
    return Path(text).expanduser().absolute()


def read_label(entity: str) -> Callable[[str], str]:
    """Read labels of one entity, with or without its prefix."""

    def read(text: str) -> str:
        label = text.removeprefix(f"{entity}-")
        if not _LABEL.fullmatch(label):
            raise bad_value(
                f"{text!r} is no label: only letters, digits and + may be in one",
                f"give labels as 01 or {entity}-01, separated by spaces, after the positional "
                "arguments",
            )
        return label

    return read


def read_dataset(text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH``, or ``PATH``, which is named after its last folder."""
    name, equals, location = text.partition("=")
    if equals and name and "/" not in name:
        return name, read_path(location)
    path = read_path(text)
    return path.name, path


@dataclass(frozen=True)
class NumberReader:
    """Read finite numbers.

    Parameters
    ----------
    kind : type
        ``int`` or ``float``.
    minimum : int or float
        The smallest number that is accepted.
    """

    kind: type[int] | type[float]
    minimum: float

    def __call__(self, text: str) -> Any:
        """Return the number, or raise the error of the command line."""
        wanted = f"a {'whole ' if self.kind is int else ''}number of at least {self.minimum}"
        try:
            value = self.kind(text)
        except ValueError:
            value = None
        if value is None or not self.minimum <= value < float("inf"):
            raise bad_value(f"{text!r} is not {wanted}", f"give {wanted}")
        return value


def read_number(kind: type[int] | type[float], minimum: float) -> NumberReader:
    """Read finite numbers of at least *minimum*."""
    return NumberReader(kind, minimum)


def read_memory(text: str) -> float:
    """Read an amount of memory in GB (10**9 bytes).

    Examples
    --------
    >>> [read_memory(text) for text in ("16G", "1.5g", "8000", "512MB", "1 GiB")]
    [16.0, 1.5, 8.0, 0.512, 1.073741824]
    """
    match = _MEMORY.fullmatch(text.strip().upper())
    if not match or float(match[1]) <= 0:
        raise bad_value(
            f"{text!r} is no amount of memory",
            "give a number and a unit, as 16G or 1.5T or 800M; a bare number is in MB",
        )
    power = " KMGT".index(match[2] or "M")
    unit = 1024 if match[3] else 1000
    return float(match[1]) * unit**power / 1e9


def read_budget(text: str) -> dict[str, Any]:
    """Read the size of the voxel selection.

    Examples
    --------
    >>> read_budget("17500mm3")
    {'budget_voxels': None, 'budget_mm3': 17500.0}
    """
    match = _BUDGET.fullmatch(text.strip().lower())
    value = float(match[1]) if match else 0.0
    whole = value.is_integer() or (match and match[2] == "mm3")
    if not match or value <= 0 or not whole:
        raise bad_value(f"{text!r} is no size of a region", "give it as 3000vox or 17500mm3")
    if match[2] == "mm3":
        return {"budget_voxels": None, "budget_mm3": value}
    return {"budget_voxels": int(value), "budget_mm3": None}


def read_device(text: str) -> str:
    """Read the name of a device."""
    if not _DEVICE.fullmatch(text):
        raise bad_value(
            f"{text!r} is no device", "give auto, cpu, cuda, or cuda:0 for one of several"
        )
    return text


def read_registered(registry: str) -> Callable[[str], str]:
    """Read names of a registry, given as ``module:TABLE``; it is imported only for a name."""

    def read(text: str) -> str:
        module, _, table = registry.partition(":")
        known = getattr(import_module(f"bids_decoder.{module}"), table)
        if text not in known:
            raise bad_value(f"{text!r} is not known", one_of(text, list(known)))
        return text

    return read


def option(
    group: Any, *flags: str, dest: str, help: str, default: str | None = None,
    section: type[Section] | None = None, **kwargs: Any,
) -> None:
    """Add an option to a group of options, with the default in its help text.

    Parameters
    ----------
    group : argparse argument group
    *flags : str
    dest : str
        The setting that it changes, as ``glm.hrf``.
    help : str
        Markdown, for ``docs/usage.md``; ``--help`` shows it as plain text.
    default : str or None
        Shown in the help, Markdown; None shows that of the settings.
    section : type or None
        Section of the setting, where it is not one that all analyses share.
    **kwargs
        For ``add_argument``.
    """
    plain = not kwargs.get("action") and not dest.endswith("*")
    if plain and "nargs" not in kwargs and "choices" not in kwargs:
        kwargs.setdefault("metavar", flags[-1].lstrip("-").replace("-", "_").upper())
    if default is None and "." in dest and plain:
        value = default_of(dest, section)
        default = "" if value in (None, "", (), {}) else f"`{value}`"
    action = group.add_argument(
        *flags, dest=dest, default=argparse.SUPPRESS,
        help=plain_text(f"{help} (default: {default})" if default else help).replace("%", "%%"),
        **kwargs,
    )
    action.markdown = f"{help}. Default: {default}." if default else f"{help}."


def plain_text(markdown: str) -> str:
    """Return Markdown without the marks of code and links.

    Examples
    --------
    >>> plain_text("satisfies every [rule](#rules), as `age>=18`")
    'satisfies every rule, as age>=18'
    """
    return _LINK.sub(r"\1", markdown).replace("`", "")


def several(
    group: Any, *flags: str, dest: str, help: str, metavar: str, **kwargs: Any
) -> None:
    """Add an option that takes one or more values and may be given again to add more."""
    option(
        group, *flags, dest=dest, help=help, metavar=metavar, nargs="+", action="extend", **kwargs
    )
