"""Raw runs with what their nodes need to know, and sidecars of their preprocessed series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.images import ImageHeader, read_header
from bids_decoder.config import Settings
from bids_decoder.errors import MissingInputError
from bids_decoder.preprocessing.slice_timing import reference_time
from bids_decoder.workflows.anat import source_uris
from bids_decoder.workflows.echoes import echo_metadata
from bids_decoder.workflows.slice_times import slice_times_of


@dataclass(frozen=True)
class RawRun:
    """A run with the parameters of its nodes."""

    number: int
    bold: BoldRun
    header: ImageHeader
    t_r: float
    slice_times: tuple[float, ...]

    @property
    def mem_gb(self) -> float:
        """Memory of a node in GB: five copies of the series as float32, and the program itself."""
        return 0.6 + 5 * self.n_values * 4 / 1e9

    @property
    def n_values(self) -> float:
        """Number of values in the series."""
        size = 1.0
        for length in self.header.shape:
            size *= length
        return size


def describe_run(number: int, bold: BoldRun, settings: Settings) -> RawRun:
    """Read the header and the timing of a run.

    Raises
    ------
    MissingInputError
        Without repetition time.
    """
    header = read_header(bold.bold_file)
    t_r = bold.t_r(header)
    if t_r is None:
        raise MissingInputError(
            f"sub-{bold.subject} {bold.run_group}", "no RepetitionTime in sidecar or header",
            "add RepetitionTime (seconds) to the sidecar of the run",
        )
    return RawRun(number, bold, header, t_r, slice_times_of(bold, settings)[0])


def bold_metadata(run: RawRun, settings: Settings) -> dict[str, Any]:
    """Return the sidecar of the preprocessed series of a run in any space."""
    metadata: dict[str, Any] = {
        "RepetitionTime": run.t_r,
        # Echoes are combined in the brain only.
        "SkullStripped": bool(run.bold.echoes),
        "SliceTimingCorrected": bool(run.slice_times),
        "TaskName": run.bold.metadata.get("TaskName", run.bold.task),
        "Sources": source_uris(run.bold.image_files, settings),
        **echo_metadata(run.bold),
    }
    if run.slice_times:
        fraction = settings.preprocessing.slice_time_ref
        metadata["StartTime"] = reference_time(run.slice_times, fraction)
    return metadata
