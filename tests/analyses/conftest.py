"""Figures of whole runs are made once for each file of tests."""

import pytest
from app_calls import first_of_each_kind


@pytest.fixture(scope="module")
def made():
    """Drawing functions whose first figure was made."""
    return set()


@pytest.fixture(autouse=True)
def made_once(made):
    """Make the first figure of each kind; making all takes half of a small call."""
    with first_of_each_kind(made):
        yield
