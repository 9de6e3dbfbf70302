"""One head for all tests of preprocessing."""

import epi_phantom
import pytest

from bids_decoder.preprocessing import bias


@pytest.fixture(scope="session")
def head():
    return epi_phantom.make_head(seed=0, size_mm=2.5)


@pytest.fixture(scope="session")
def small_head():
    return epi_phantom.make_head(seed=0, size_mm=4.0)


@pytest.fixture(scope="session")
def coarse_head():
    return epi_phantom.make_head(seed=0, size_mm=5.0)


@pytest.fixture(scope="module")
def quick_bias():
    """Bias fields in few iterations, which take more than what comes after them.

    How well they are estimated is seen in the tests of bias fields and of registration.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bias, "_ITERATIONS", [5, 5, 5])
        yield
