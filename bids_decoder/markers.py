"""Done markers: which stages are finished, compared by content and not by dates."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_decoder import __version__
from bids_decoder.files import content_key, read_json, write_json


@dataclass(frozen=True)
class StageKey:
    """What a stage of one participant (or of the group) depends on.

    Parameters
    ----------
    stage : str
        For instance ``preprocess``.
    unit : str
        ``sub-01`` or ``group``.
    components : dict
        Serialisable as JSON: settings, digests of inputs, keys of the stages before; neither
        paths nor dates.
    """

    stage: str
    unit: str
    components: dict[str, Any]

    @property
    def key(self) -> str:
        """Hash of the components and of the version of the program."""
        return content_key({"version": __version__, **self.components})

    def marker(self, output_dir: Path) -> Path:
        """Return the path of the marker."""
        return output_dir / "logs" / "done" / f"{self.unit}_{self.stage}.json"


def write_marker(output_dir: Path, stage: StageKey, outputs: Iterable[Path]) -> Path:
    """Write the marker of a stage that is done; call it after all outputs are in place.

    Parameters
    ----------
    output_dir : Path
    stage : StageKey
    outputs : iterable of Path
        Files below *output_dir*; their sizes are stored.
    """
    sizes = {
        str(path.relative_to(output_dir)): path.stat().st_size for path in sorted(set(outputs))
    }
    content = {
        "stage": stage.stage, "unit": stage.unit, "key": stage.key, "version": __version__,
        "components": stage.components, "outputs": sizes,
    }
    return write_json(stage.marker(output_dir), content)


def why_not_done(output_dir: Path, stage: StageKey) -> str | None:
    """Return why a stage must run, or None when it is done.

    Parameters
    ----------
    output_dir : Path
    stage : StageKey

    Returns
    -------
    str or None
        For instance ``"not done yet"`` or ``"settings changed: troi.epochs"``.
    """
    path = stage.marker(output_dir)
    try:
        found = read_json(path)
    except FileNotFoundError:
        return "not done yet"
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        return "its marker is damaged"
    if found.get("version") != __version__:
        return f"made by version {found.get('version')}"
    if found.get("key") != stage.key:
        # As JSON stores them: a tuple that became a list is not a change.
        components = json.loads(json.dumps(stage.components, default=str))
        return f"changed: {difference(found.get('components', {}), components)}"
    return _missing_outputs(output_dir, found.get("outputs", {}))


def _missing_outputs(output_dir: Path, sizes: dict[str, int]) -> str | None:
    for name, size in sizes.items():
        path = output_dir / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has another size"
    return None


def difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Name up to three places in which two nested dictionaries differ; empty where they agree."""
    places = list(_walk(old, new))
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(places[:3]) + more


def _walk(old: Any, new: Any, prefix: str = "") -> Iterable[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            yield from _walk(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif old != new:
        yield prefix
