"""What all tests share: a large process, files that are not forced to the disk, quick indices."""

import gc
import os

import pytest


def pytest_collection_finish():
    """Leave modules and tests out of garbage collections.

    There are millions of objects that stay until the end; Nipype collects garbage each time it
    looks for finished nodes. Collections of Python itself, a twentieth of the time, become rarer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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
