"""One head for all tests of preprocessing."""

import epi_phantom
import pytest


@pytest.fixture(scope="session")
def head():
    return epi_phantom.make_head(seed=0, size_mm=2.5)


@pytest.fixture(scope="session")
def small_head():
    return epi_phantom.make_head(seed=0, size_mm=4.0)


@pytest.fixture(scope="session")
def coarse_head():
    return epi_phantom.make_head(seed=0, size_mm=5.0)
