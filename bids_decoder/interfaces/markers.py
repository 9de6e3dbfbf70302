"""Node that marks a stage as done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.bids.names import sidecar_path
from bids_decoder.markers import StageKey, write_marker


class _MarkInputSpec(BaseInterfaceInputSpec):
    output_dir = Directory(exists=True, mandatory=True)
    stage = traits.Str(mandatory=True)
    unit = traits.Str(mandatory=True, desc="sub-<label> or group")
    components = traits.Dict(mandatory=True, desc="what the stage depends on")
    out_files = traits.List(traits.Any(), mandatory=True, desc="outputs, nested lists allowed")


class _MarkOutputSpec(TraitedSpec):
    marker = File(exists=True)


class MarkDone(SimpleInterface):
    """Write the done marker of a stage after its outputs are in place."""

    input_spec = _MarkInputSpec
    output_spec = _MarkOutputSpec
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        key = StageKey(inputs.stage, inputs.unit, dict(inputs.components))
        files = [Path(path) for path in _flat(inputs.out_files)]
        sidecars = [sidecar_path(path) for path in files]
        present = {path for path in [*files, *sidecars] if path.is_file()}
        marker = write_marker(Path(inputs.output_dir), key, present | set(files))
        self._results["marker"] = str(marker)
        return runtime


def _flat(items: Any) -> list[str]:
    if isinstance(items, list | tuple):
        return [leaf for item in items for leaf in _flat(item)]
    return [str(items)]
