import numpy as np
import pytest

from bids_decoder.bids.trial_tables import _of_blocks

BLOCKS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(("cells", "expected"), [
    (["1", "1", "2", "2"], ["1", "2"]),
    (["1", "2", "2", "4"], [1.5, 3.0]),
    (["a", "b", "c", None], ["a", "c"]),
    ([None, "3", "4", "4"], ["3", "4"]),
])
def test_cells_of_blocks_are_means_unless_words_or_equal(cells, expected):
    assert _of_blocks(np.array(cells, dtype=object), BLOCKS).tolist() == expected
