"""The demo: a small dataset with known truth, one participant held out of pretraining."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

from bids_decoder.config import Settings

LOGGER = logging.getLogger("bids_decoder")
NEW_PERSON = "04"


def demo_settings(settings: Settings) -> Settings:
    """Make the demo dataset unless it exists, and point the settings to it.

    Parameters
    ----------
    settings : Settings
        With ``bids_dir`` and ``output_dir`` below the folder of the demo.

    Returns
    -------
    Settings
        The same settings, with one participant held out of pretraining and, unless another one
        is set, the image encoder ``gabor``.
    """
    from bids_decoder.simulate.dataset import DEMO, write_demo_dataset
    from bids_decoder.stimuli.encoders import AUTO

    data = settings.execution.bids_dir
    if not (data / "dataset_description.json").is_file():
        LOGGER.info("making the demo dataset in %s", data)
        # Written under another name, then renamed: a dataset that exists is complete.
        unfinished = data.with_name(f".making-{data.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_demo_dataset(unfinished, replace(DEMO, seed=settings.random_seed))
        unfinished.rename(data)
    settings = replace(settings, execution=replace(
        settings.execution, holdout_label=(NEW_PERSON,)
    ))
    if settings.trials.image_encoder != AUTO:
        return settings
    # The simulated voxels respond to these features, whatever is installed.
    return replace(settings, trials=replace(settings.trials, image_encoder="gabor"))
