"""Components of multi-echo runs that do not depend on the echo time, by ``tedana``.

References
----------
.. [1] DuPre et al. 2021, J Open Source Softw 6:3669.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bids_decoder.errors import InputError
from bids_decoder.regressors import REJECTED

_SEEDS = 1 << 31
_LOGGERS = ("GENERAL", "REPORT")
"""Names of the loggers of tedana."""


@dataclass(frozen=True, eq=False)
class EchoComponents:
    """Independent components of a run, and their classification.

    Parameters
    ----------
    mixing : DataFrame, n_volumes rows
        Time series of the components, zero in volumes before the steady state.
    metrics : DataFrame
        One row per component: ``Component``, its name in *mixing*, ``kappa``, ``rho``,
        ``variance explained``, ``classification`` (accepted or rejected) and others of tedana.
    warnings : tuple of str
        What tedana warned of, each once.
    """

    mixing: pd.DataFrame
    metrics: pd.DataFrame
    warnings: tuple[str, ...] = ()

    @property
    def has_bold(self) -> bool:
        """Whether a component was accepted."""
        return bool((self.metrics["classification"] == "accepted").any())

    @property
    def rejected(self) -> pd.DataFrame:
        """Time series of the rejected components, in columns for a table of confounds.

        None where no component was accepted: together they are nearly all of the signal.
        """
        return self.mixing[list(self._chosen.values())].set_axis(list(self._chosen), axis=1)

    @property
    def described(self) -> dict[str, dict[str, str]]:
        """Sidecar entries of these columns."""
        return {
            name: {"Method": "tedana", "Description": f"Rejected component {component}"}
            for name, component in self._chosen.items()
        }

    @property
    def _chosen(self) -> dict[str, str]:
        is_rejected = (self.metrics["classification"] == "rejected").to_numpy() & self.has_bold
        components = self.metrics.loc[is_rejected, "Component"]
        return {f"{REJECTED}{i:02d}": str(name) for i, name in enumerate(components)}


def find_components(
    files: Sequence[Path], echo_times: Sequence[float], mask_file: Path, folder: Path, *,
    seed: int, n_dummy: int = 0,
) -> EchoComponents:
    """Decompose a run into independent components, and classify them, with ``tedana`` [1]_.

    Parameters
    ----------
    files : sequence of Path
        Preprocessed series of the echoes, on one grid.
    echo_times : sequence of float
        Seconds.
    mask_file : Path
        Brain on the same grid.
    folder : Path
        Files of tedana go there.
    seed : int
        Of the decomposition.
    n_dummy : int
        Volumes at the start that are left out.

    Returns
    -------
    EchoComponents

    Raises
    ------
    InputError
        When tedana fails, as for too few volumes.

    Notes
    -----
    The workflow has its default settings: principal components by AIC, FastICA, and the decision
    tree ``tedana_orig``.
    """
    from tedana.workflows import tedana_workflow

    try:
        with _collected_warnings() as messages:
            tedana_workflow(
                [str(path) for path in files], list(echo_times), out_dir=str(folder),
                mask=str(mask_file), dummy_scans=n_dummy, fixed_seed=seed % _SEEDS,
                no_reports=True, quiet=True, overwrite=True,
            )
    except (ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise InputError(
            "components of the echoes", f"tedana failed: {error}", "leave out --tedana",
        ) from error
    found = read_components(folder / "desc-ICA_mixing.tsv", folder / "desc-tedana_metrics.tsv")
    names = found.mixing.columns
    early = pd.DataFrame(np.zeros((n_dummy, len(names))), columns=names)
    return replace(
        found, mixing=pd.concat([early, found.mixing], ignore_index=True), warnings=tuple(messages)
    )


@contextmanager
def _collected_warnings() -> Iterator[dict[str, None]]:
    """Collect what tedana warns of, and print nothing of it.

    Warnings of Python are about the code of tedana, dozens for each run, and suppressed.
    """
    messages: dict[str, None] = {}

    def collect(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            messages[record.getMessage()] = None
        return False

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(collect)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield messages
    finally:
        for logger in loggers:
            logger.removeFilter(collect)


def read_components(mixing_file: Path, metrics_file: Path) -> EchoComponents:
    """Read the tables of the components of a run."""
    mixing, metrics = (
        pd.read_csv(path, sep="\t", na_values="n/a") for path in (mixing_file, metrics_file)
    )
    return EchoComponents(mixing, metrics)
