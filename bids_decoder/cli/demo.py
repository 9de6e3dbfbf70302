"""The demo: a small dataset with known truth, one participant held out of pretraining."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

from bids_decoder.config import Settings

LOGGER = logging.getLogger("bids_decoder")
NEW_PERSON = "04"


def demo_settings(settings: Settings) -> Settings:
    """Make the demo dataset unless it is there, and aim the settings at it.

    Parameters
    ----------
    settings : Settings
        With ``bids_dir`` and ``output_dir`` below the folder of the demo.

    Returns
    -------
    Settings
        The same, with one participant as the new person.
    """
    from bids_decoder.simulate.dataset import DEMO, write_demo_dataset

    data = settings.execution.bids_dir
    if not (data / "dataset_description.json").is_file():
        LOGGER.info("making the demo dataset in %s", data)
        # Beside, then renamed: a dataset that is there is complete.
        unfinished = data.with_name(f".making-{data.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_demo_dataset(unfinished, replace(DEMO, seed=settings.random_seed))
        unfinished.rename(data)
    return replace(settings, execution=replace(settings.execution, holdout_label=(NEW_PERSON,)))
