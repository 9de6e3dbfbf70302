"""Settings from plain values and TOML files; what cannot be read is named with its place."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from bids_decoder.config import Section, Settings
from bids_decoder.errors import UsageError

_MAX_BYTES = 4 << 20  # of a settings file that is read


def settings_from_dict(
    content: dict[str, Any], source: str = "settings", kinds: Iterable[type[Section]] = ()
) -> Settings:
    """Build settings from plain values.

    Parameters
    ----------
    content : dict
        As :meth:`Settings.to_dict` gives it; absent fields keep their defaults.
    source : str
        Named in errors.
    kinds : iterable of type
        Sections that may be in it.

    Returns
    -------
    Settings

    Raises
    ------
    UsageError
        For unknown groups or fields, or values of the wrong type.
    """
    if not isinstance(content, dict):
        raise UsageError(source, f"expected a table, found {content!r}", "see settings.toml")
    known = {kind.table: kind for kind in kinds}
    shared = {name: value for name, value in content.items() if name not in known}
    sections = {
        name: _build(kind, content.get(name, {}), f"{source}: {name}")
        for name, kind in known.items()
    }
    return dataclasses.replace(_build(Settings, shared, source), sections=sections)


def load_settings(path: Path, kinds: Iterable[type[Section]] = ()) -> Settings:
    """Read settings from a TOML file (``--config-file``).

    Parameters
    ----------
    path : Path
    kinds : iterable of type
        Sections that may be in it.

    Raises
    ------
    UsageError
        When the file is no valid TOML or names fields that do not exist.
    """
    try:
        with path.open("rb") as handle:
            text = handle.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES >> 20} MiB")
        content = tomllib.loads(text.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"--config-file {path}", f"cannot be read: {error}",
            "give the settings.toml that an earlier run wrote below logs/",
        ) from error
    return settings_from_dict(content, str(path), kinds)


def _build(kind: Any, content: Any, where: str) -> Any:
    if not isinstance(content, dict):
        raise UsageError(where, f"expected a table, found {content!r}", "see settings.toml")
    known = {f.name for f in dataclasses.fields(kind)} - {"sections"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise UsageError(
            f"{where}: {', '.join(unknown)}", "no such setting",
            f"use one of: {', '.join(sorted(known))}",
        )
    hints = typing.get_type_hints(kind)
    values = {key: _convert(hints[key], item, f"{where}: {key}") for key, item in content.items()}
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin in (tuple, dict):
        return _convert_many(origin, arguments, value, where)
    if origin is Literal:
        choices = f"one of {', '.join(map(str, arguments))}"
        return _checked(value in arguments, value, where, choices)
    return _convert_one(hint, value, where)


def _convert_many(origin: type, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if origin is tuple:
        _checked(isinstance(value, list | tuple), value, where, "a list")
        return tuple(_convert(arguments[0], item, where) for item in value)
    _checked(isinstance(value, dict), value, where, "a table")
    return {key: _convert(arguments[1], item, where) for key, item in value.items()}


def _convert_one(hint: type, value: Any, where: str) -> Any:
    if hint is Path:
        return Path(_checked(isinstance(value, str | Path), value, where, "a path"))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float:
        return float(_checked(is_number, value, where, "a number"))
    if hint is int:
        good = is_number and isinstance(value, int)
        return _checked(good, value, where, "a whole number")
    return _checked(isinstance(value, hint), value, where, f"a {hint.__name__}")


def _checked(good: bool, value: Any, where: str, expected: str) -> Any:
    if not good:
        raise UsageError(where, f"is {value!r}", f"give {expected}")
    return value
