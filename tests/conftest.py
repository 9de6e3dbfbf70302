"""What all tests share: a large process, and files that are not forced to the disk."""

import gc
import os

import pytest


def pytest_collection_finish():
    """Leave modules and tests out of garbage collections.

    There are millions of objects that stay until the end; Nipype collects garbage each time it
    looks for finished nodes.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def unsynced():
    """Files are not forced to the disk, which matters only when the power fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
