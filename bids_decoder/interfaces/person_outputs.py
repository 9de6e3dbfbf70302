"""Writing the outputs of one participant: names, marks, and memory of what was written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.bids.map_files import save_beside, save_layout
from bids_decoder.bids.names import OutputName, derivative_path, sidecar_path
from bids_decoder.bids.surfaces import surface_names
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.evaluation.tables import VALUE_NULL_COLUMNS, Nulls
from bids_decoder.files import read_json, write_bytes, write_json
from bids_decoder.trials import VoxelGrid

_MARKS = ("seen_in_pretraining", "test_stimuli_seen")


@dataclass
class PersonOutputs:
    """Writes files of one participant and remembers them.

    Parameters
    ----------
    output_dir : Path
    entities : dict
        sub, and task, space where they apply.
    card : dict
        What is known of the decoder; its marks go into every sidecar.
    written : list of Path
    """

    output_dir: Path
    entities: dict[str, str]
    card: dict[str, Any]
    written: list[Path] = field(default_factory=list)

    @property
    def marks(self) -> dict[str, Any]:
        """What the pretrained model saw of what is decoded with it; empty if nothing."""
        return {name: self.card[name] for name in _MARKS if self.card.get(name)}

    @property
    def space(self) -> dict[str, str]:
        """The space of images, for sidecars."""
        return {"Space": self.entities["space"]} if "space" in self.entities else {}

    def path(self, key: str | OutputName, **entities: str) -> Path:
        """Return the path of an output."""
        return derivative_path(self.output_dir, key, **self.entities, **entities)

    def add(self, path: Path, *, with_sidecar: bool = True) -> None:
        """Remember a file that was written, and its sidecar."""
        self.written.append(path)
        if with_sidecar:
            self.written.append(sidecar_path(path))

    def image(
        self, key: str | OutputName, data: np.ndarray, grid: VoxelGrid, metadata: dict[str, Any],
        **entities: str,
    ) -> None:
        """Write a map with its sidecar; off volumes as GIFTI or CIFTI, too.

        Parameters
        ----------
        key : str or OutputName
            As for :meth:`path`.
        data : ndarray, shape (i, j, k) or (i, j, k, n_maps)
        grid : VoxelGrid
        metadata : dict
            Content of the sidecar.
        **entities : str
            Further entities of the name.
        """
        path = self.path(key, **entities)
        described = {**metadata, **self.marks}
        self.written += save_map(path, data, grid, described)
        if surface_names(path)[0] not in self.written:
            self.written += save_layout(path, grid.layout)

    def table(
        self, key: str | OutputName, table: pd.DataFrame, columns: dict[str, str],
        notes: dict[str, Any] | None = None, **entities: str,
    ) -> None:
        """Write a table with a sidecar that describes its columns."""
        path = self.path(key, **entities)
        described = {name: {"Description": text} for name, text in columns.items()}
        save_table(path, table, {**described, **(notes or {}), **self.marks})
        self.add(path)

    def nulls(
        self, key: str | OutputName, source: Path, columns: dict[str, str] = VALUE_NULL_COLUMNS
    ) -> None:
        """Write the null distributions that a node left in *source*, if there are any."""
        path = self.path(key)
        if copy_nulls(source, path, columns, self.marks):
            self.add(path)


def save_map(
    path: Path, data: np.ndarray, grid: VoxelGrid, metadata: dict[str, Any]
) -> list[Path]:
    """Write a map with its sidecar; of vertices as GIFTI, and of grayordinates as CIFTI, too.

    Parameters
    ----------
    path : Path
        Of the image.
    data : ndarray, shape (i, j, k) or (i, j, k, n_maps)
    grid : VoxelGrid
    metadata : dict

    Returns
    -------
    list of Path
        All files that were written.
    """
    save_nifti(path, data, grid.affine, metadata=metadata)
    return [path, sidecar_path(path), *save_beside(grid.layout, path, data, metadata)]


def save_nulls(path: Path, nulls: Nulls, seed: int) -> Path:
    """Write null distributions, with their scheme and the seed in the sidecar."""
    scheme = {**nulls.scheme, "Seed": seed} if len(nulls.table) else {}
    return save_table(path, nulls.table, scheme)


def copy_nulls(
    source: Path, target: Path, columns: dict[str, str], notes: dict[str, Any]
) -> bool:
    """Copy what :func:`save_nulls` wrote and describe its columns; return whether it had rows.

    The table may have a million rows, so that it is not parsed.
    """
    scheme = read_json(sidecar_path(source))
    if not scheme:
        return False
    content = source.read_bytes()
    write_bytes(target, content)
    header = content.split(b"\n", 1)[0].decode().strip().split("\t")
    described = {name: {"Description": columns[name]} for name in header}
    write_json(sidecar_path(target), {**described, **scheme, **notes})
    return True


class WriteInputSpec(BaseInterfaceInputSpec):
    """Inputs of all nodes that write outputs of one participant."""

    key = traits.Str(desc="key of the stage")
    output_dir = Directory(mandatory=True)
    entities = traits.Dict(mandatory=True, desc="sub, task, space of the outputs")
    card = traits.Dict(desc="what is known of the decoder")


class _WriteOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True))


class WriteInterface(SimpleInterface, ABC):
    """What the nodes share that write outputs of one participant."""

    output_spec = _WriteOutputSpec
    # The outputs are outside the work folder, where anybody may remove them.
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        outputs = PersonOutputs(
            Path(inputs.output_dir), dict(inputs.entities), dict(inputs.card or {})
        )
        self._write(outputs)
        self._results["out_files"] = [str(path) for path in outputs.written]
        return runtime

    @abstractmethod
    def _write(self, outputs: PersonOutputs) -> None:
        """Write everything through *outputs*."""
