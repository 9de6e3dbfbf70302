"""The node that writes released responses as beta series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.released.base import ReleasedRun
from bids_decoder.released.blocks import read_runs


def write_beta_series(runs: list[ReleasedRun], targets: list[Path], sources: list[str]) -> None:
    """Write released responses as beta series: one image per run, volume *i* of row *i*.

    Parameters
    ----------
    runs : list of ReleasedRun
        Successive runs of the same file are read together.
    targets : list of Path
        One per run.
    sources : list of str
        Names of the files of each run, for its sidecar.

    Raises
    ------
    MissingInputError, InputError
        When a file is absent or damaged.
    """
    for (run, values), target, source in zip(read_runs(runs), targets, sources, strict=True):
        grid = run.responses.grid
        save_nifti(target, grid.to_volume(values), grid.affine, metadata={
            "Description": "Released single-trial responses; volume i belongs to row i of the "
            "table of trials.",
            "Layout": run.layout, "Sources": source.split("\n"),
        })


class _WriteInputSpec(BaseInterfaceInputSpec):
    key = traits.Str(mandatory=True, desc="key of the betas stage: what the files hold")
    runs = traits.Any(mandatory=True, nohash=True, desc="released runs")
    targets = traits.List(traits.Str(), mandatory=True, desc="beta series, one per run")
    sources = traits.List(traits.Str(), mandatory=True, desc="names of files, one text per run")


class _WriteOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True), desc="beta series and their sidecars")


class WriteBetaSeries(SimpleInterface):
    """Write released responses into the derivatives, as beta series."""

    input_spec = _WriteInputSpec
    output_spec = _WriteOutputSpec
    # The outputs are outside the work folder, where anybody may remove them.
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        targets = [Path(target) for target in self.inputs.targets]
        write_beta_series(list(self.inputs.runs), targets, list(self.inputs.sources))
        self._results["out_files"] = [
            str(path) for target in targets for path in (target, sidecar_path(target))
        ]
        return runtime
