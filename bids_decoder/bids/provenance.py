"""Provenance of outputs: which call made which file, from what, with which versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from bids_decoder import __version__
from bids_decoder.bids.description import APP_NAME, container_of
from bids_decoder.files import read_json, write_json
from bids_decoder.markers import StageKey


@dataclass(frozen=True)
class Call:
    """What the stages of one call have in common.

    Parameters
    ----------
    name : str
        Letters and digits, unique to the call.
    command : sequence of str
    started, ended : str
        ISO 8601.
    sources : sequence of str
        Names of the input datasets in ``DatasetLinks``.
    """

    name: str
    command: Sequence[str]
    started: str
    ended: str
    sources: Sequence[str]


def write_provenance(
    output_dir: Path, call: Call, stages: Iterable[StageKey], environ: Mapping[str, str]
) -> list[Path]:
    """Write the records of the stages that a call has finished.

    Parameters
    ----------
    output_dir : Path
    call : Call
    stages : iterable of StageKey
        Those without a marker of this key are left out: they were not finished.
    environ : mapping
        Names the container; see :func:`~bids_decoder.bids.description.write_dataset_files`.

    Returns
    -------
    list of Path
        ``prov/prov-<name>_{act,ent,soft,env}.json``; none where no stage was finished.

    References
    ----------
    BIDS Extension Proposal 28 (provenance), a draft: names and keys follow it as of 2025.
    """
    markers = [
        marker for marker in (_marker(output_dir, stage) for stage in stages) if marker is not None
    ]
    if not markers:
        return []
    software, environment = _software(), _environment(call.name, environ)
    activities = [
        _activity(call, marker, [*(entry["Id"] for entry in software), environment["Id"]])
        for marker in markers
    ]
    entities = [
        {"Id": f"bids::{name}", "Label": Path(name).name, "AtLocation": name,
         "GeneratedBy": [_id(marker)], "Size": size}
        for marker in markers for name, size in marker["outputs"].items()
    ]
    contents = {
        "act": {"Activities": activities}, "ent": {"Entities": entities},
        "soft": {"Software": software}, "env": {"Environments": [environment]},
    }
    return [
        write_json(output_dir / "prov" / f"prov-{call.name}_{kind}.json", content)
        for kind, content in contents.items()
    ]


def _marker(output_dir: Path, stage: StageKey) -> dict[str, Any] | None:
    try:
        found = read_json(stage.marker(output_dir))
    except (OSError, ValueError):
        return None
    return found if found.get("key") == stage.key else None


def _id(marker: Mapping[str, Any]) -> str:
    return f"bids::prov#{marker['unit']}-{marker['stage']}-{marker['key'][:12]}"


def _activity(
    call: Call, marker: Mapping[str, Any], associated: Sequence[str]
) -> dict[str, Any]:
    place = marker["unit"] if marker["unit"].startswith("sub-") else ""
    return {
        "Id": _id(marker), "Label": f"{marker['stage']} of {marker['unit']}",
        "Command": shlex.join([APP_NAME, *call.command]),
        "AssociatedWith": list(associated),
        "Used": [f"bids:{source}:{place}" for source in call.sources],
        # What the result depends on: settings, digests of the inputs, keys of the stages before.
        "Parameters": marker["components"],
        "StartedAtTime": call.started, "EndedAtTime": call.ended,
    }


def _software() -> list[dict[str, str]]:
    """Return the program, Python, and the libraries that the program requires."""
    required = [Requirement(line) for line in importlib.metadata.requires(APP_NAME) or ()]
    names = sorted({r.name for r in required if r.marker is None}, key=str.lower)
    versions = {APP_NAME: __version__, "Python": platform.python_version()}
    for name in names:
        # Some builds of a library come without metadata.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return [
        {"Id": f"bids::prov#{name}-{version}", "Label": name, "Version": version}
        for name, version in versions.items()
    ]


def _environment(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    container = container_of(environ)
    return {
        "Id": f"bids::prov#environment-{name}", "Label": platform.platform(),
        **({"Container": container} if container else {}),
    }
