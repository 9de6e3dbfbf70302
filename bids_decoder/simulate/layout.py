"""Common parts of the simulated BIDS datasets: numbers of pictures, folder, description."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bids_decoder import __version__
from bids_decoder.errors import ExitCode, UsageError
from bids_decoder.files import write_json, write_text

SEED = 20250201


@dataclass(frozen=True)
class PictureDesign:
    """Number of participants, runs and pictures of a simulated dataset.

    Parameters
    ----------
    n_participants : int
    seed : int
    n_runs : int
    n_train : int
        Number of training pictures per participant, each shown once.
    n_test, n_repeats : int
        Number of test pictures, which all participants share, and of their repeats.
    permute_labels : bool
        Shuffle the pictures over the trials, so that nothing can be decoded.
    """

    n_participants: int = 3
    seed: int = SEED
    n_runs: int = 4
    n_train: int = 96
    n_test: int = 12
    n_repeats: int = 2
    permute_labels: bool = False


def make_folder(folder: Path) -> Path:
    """Create the folder of a dataset.

    Raises
    ------
    UsageError
        If *folder* exists and is not empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder}", "exists and is not an empty folder",
            "name a folder that does not exist yet", ExitCode.CANNOT_CREATE,
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def describe(folder: Path, name: str, kind: str) -> None:
    """Write ``dataset_description.json``; *kind* is the ``DatasetType``."""
    write_json(folder / "dataset_description.json", {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": kind,
        "License": "CC0",
        "Authors": ["The bids_decoder developers"],
        "GeneratedBy": [{"Name": "bids_decoder", "Version": __version__}],
    })
    if kind == "derivative":
        # File names that are not in the standard.
        write_text(folder / ".bidsignore", "\n".join((
            "*_betas.npz", "*_betaseries.*", "*_statmap.*", "*_timeseries.*", "*_trials.*",
            "*_xfm.json", "features.tsv", "",
        )))
