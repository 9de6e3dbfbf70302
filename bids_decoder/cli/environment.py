"""Environment variables of libraries, set before any of them is imported."""

from __future__ import annotations

import os
from pathlib import Path

from bids_decoder.files import write_text
from bids_decoder.workflows.worker import collect_rarely, keep_memory, open_no_sockets

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


_NIPYPE_CONFIG = """[logging]
workflow_level = WARNING
utils_level = WARNING
interface_level = WARNING

[execution]
check_version = false
"""


def prepare_environment(home: Path, n_threads: int) -> None:
    """Set the environment of this process and its workers. Call before importing libraries.

    Parameters
    ----------
    home : Path
        Where libraries may keep caches and configuration: the home folder may not be writable,
        and a file that happens to be there must not change the results.
    n_threads : int
        Threads that a numerical library may start.
    """
    open_no_sockets()
    keep_memory()
    collect_rarely()
    os.environ.setdefault("TEMPLATEFLOW_HOME", str(_templates() or home / "templateflow"))
    for name, folder in (("MPLCONFIGDIR", "matplotlib"), ("XDG_CACHE_HOME", "cache"),
                         ("TORCH_HOME", "torch"), ("NIPYPE_CONFIG_DIR", "nipype")):
        os.environ[name] = str(home / folder)
    # When a run is stopped its workers are killed, and cannot release their semaphores.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    os.environ.update({name: str(n_threads) for name in _THREAD_VARIABLES})
    os.environ.update({
        "NIPYPE_NO_ET": "1", "NO_ET": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg",
        "TEMPLATEFLOW_AUTOUPDATE": "off", "PYTHONHASHSEED": "0",
    })


def _templates() -> Path | None:
    """Return the folder in which TemplateFlow keeps the user's files; None where there are none.

    An empty one is not taken: TemplateFlow would write into it when it is imported.
    """
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(cache, "templateflow").absolute()
        return folder if any(folder.glob("tpl-*")) else None
    except (OSError, RuntimeError):
        # There may be no home folder, or none that can be read.
        return None


def make_home(home: Path) -> None:
    """Make the folder of :func:`prepare_environment`, once the output folder is usable."""
    write_text(home / "nipype" / "nipype.cfg", _NIPYPE_CONFIG)
