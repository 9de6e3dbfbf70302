"""What all tests share: a large process, files that are not forced to the disk, quick indices."""

import gc
import os

import pytest

from bids_decoder.workflows.worker import collect_rarely


def pytest_collection_finish():
    """Leave modules and tests out of garbage collections.

    There are millions of objects that stay until the end; Nipype collects garbage each time it
    looks for finished nodes. As in the program, those of Python itself become rarer.
    """
    gc.collect()
    gc.freeze()
    collect_rarely()


@pytest.fixture(scope="session", autouse=True)
def unsynced():
    """Files are not forced to the disk, which matters only when the power fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_indices():
    """PyBIDS saves the entities of an index together; one by one takes five times longer.

    The suite makes an index for each plan. Calls in processes of their own do without this.
    """
    from bids.layout.models import Config

    load = Config.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, "load", lambda config, session=None: load(config))
        yield
