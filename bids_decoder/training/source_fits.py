"""What is fitted to single source participants, kept in a file while it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

import numpy as np

from bids_decoder.training.input_layer import fit_input_layer
from bids_decoder.training.signal import mean_shares, share_chances, varies
from bids_decoder.training.smoothing import default_fwhm_mm
from bids_decoder.trials import Person


@dataclass(frozen=True, eq=False)
class SourceFit:
    """What is learned from the trials of one source participant.

    Parameters
    ----------
    weight : ndarray of float32, shape (n_voxels, n_latents)
        Input layer.
    chances : ndarray of float32, shape (n_shares, n_voxels)
        Posterior of the share of signal. Zeros in voxels that do not vary, as outside the field of
        view: what they hold in other participants is not known from this one.
    """

    weight: np.ndarray
    chances: np.ndarray


def fit_source(person: Person, wanted: np.ndarray) -> SourceFit:
    """Fit the input layer to the target of each trial, *wanted* (n_trials, n_latents)."""
    chances = person_chances(person, wanted)
    fit = fit_input_layer(person.betas, wanted, person.run_groups, mean_shares(chances))
    chances[:, ~varies(person.betas)] = 0
    return SourceFit(fit.weight, chances)


def person_chances(person: Person, wanted: np.ndarray) -> np.ndarray:
    """Compute the posterior of a source participant's shares, (n_shares, n_voxels)."""
    return share_chances(person, wanted, default_fwhm_mm(person.grid))


class KeptFits:
    """Fits of participants, and trials that others decode, of one of them in memory at a time.

    They are in a temporary file, so that no participant is loaded again.

    Parameters
    ----------
    folder : Path or None
        Of the file; None takes that of the system for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        """Make the file."""
        self._file, self._shown = TemporaryFile(dir=self._folder), list[Person]()
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the file."""
        self._file.close()

    def keep(self, fit: SourceFit, shown: Person) -> SourceFit:
        """Write the fit of one more participant, and some of its trials."""
        for values in (fit.weight, fit.chances, shown.betas):
            np.save(self._file, values)
        self._shown.append(replace(shown, betas=shown.betas[:0].copy()))
        return fit

    def __iter__(self) -> Iterator[tuple[SourceFit, Person]]:
        """Read fits and trials in their order."""
        self._file.seek(0)
        for shown in self._shown:
            fit = SourceFit(np.load(self._file), np.load(self._file))
            yield fit, replace(shown, betas=np.load(self._file))
