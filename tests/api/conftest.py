"""What the tests of the Python surface share."""

import pytest
from simulated import make_trials


@pytest.fixture(scope="session")
def trials():
    return make_trials()
