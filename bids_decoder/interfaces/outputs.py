"""Nodes that write files into the derivatives."""

from __future__ import annotations

from pathlib import Path

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.bids.names import derivative_path, resolution_entry, sidecar_path
from bids_decoder.files import atomic_path, write_json


def copy_output(source: Path, target: Path) -> Path:
    """Copy a file atomically: *target* is complete or absent."""
    with atomic_path(target) as temporary, source.open("rb") as reader, temporary.open("wb") as out:
        while block := reader.read(1 << 22):
            out.write(block)
    return target


class _SinkInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="file to keep")
    output_dir = traits.Directory(mandatory=True, desc="top of the derivatives")
    key = traits.Str(mandatory=True, desc="key of bids.names.NAMES")
    entities = traits.Dict(mandatory=True, desc="entities of the name")
    metadata = traits.Dict(desc="content of the JSON sidecar; none is written if empty")


class _SinkOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="the file in the derivatives")


class DerivativesSink(SimpleInterface):
    """Write one file under its BIDS name into the derivatives, with its sidecar.

    The sidecar is written first, so that an existing file always has its sidecar.
    """

    input_spec = _SinkInputSpec
    output_spec = _SinkOutputSpec
    _always_run = True

    def _run_interface(self, runtime: object) -> object:
        inputs = self.inputs
        target = derivative_path(Path(inputs.output_dir), inputs.key, **inputs.entities)
        if inputs.metadata:
            write_json(sidecar_path(target), dict(inputs.metadata) | resolution_entry(target))
        copy_output(Path(inputs.in_file), target)
        self._results["out_file"] = str(target)
        return runtime


class _ModelSinkInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="safetensors with its card beside it")
    out_file = traits.Str(mandatory=True, desc="path in the derivatives")


class _ModelSinkOutputSpec(TraitedSpec):
    model_file = File(exists=True)
    out_files = traits.List(File(exists=True))


class ModelSink(SimpleInterface):
    """Write a model and its card into the derivatives, the card first."""

    input_spec = _ModelSinkInputSpec
    output_spec = _ModelSinkOutputSpec
    _always_run = True

    def _run_interface(self, runtime: object) -> object:
        source, target = Path(self.inputs.in_file), Path(self.inputs.out_file)
        copy_output(source.with_suffix(".json"), target.with_suffix(".json"))
        copy_output(source, target)
        self._results["model_file"] = str(target)
        self._results["out_files"] = [str(target), str(target.with_suffix(".json"))]
        return runtime
