"""Many items in several processes."""

import os
from functools import partial

import pytest

from bids_decoder import processes
from bids_decoder.processes import map_items


def shifted(item, by):
    return item + by, os.getpid()


def refused(item):
    raise ValueError(f"item {item}")


@pytest.mark.parametrize(("n_items", "n_processes"), [(3, 4), (40, 1), (40, 2)])
def test_results_are_in_the_order_of_the_items(n_items, n_processes, monkeypatch):
    monkeypatch.setattr(processes, "MIN_ITEMS", 10)
    found = map_items(partial(shifted, by=5), range(n_items), n_processes)
    assert [value for value, _ in found] == list(range(5, n_items + 5))
    others = {pid for _, pid in found} - {os.getpid()}
    assert bool(others) == (n_processes > 1 and n_items >= 10)


def test_errors_reach_the_caller(monkeypatch):
    monkeypatch.setattr(processes, "MIN_ITEMS", 2)
    with pytest.raises(ValueError, match="item 0"):
        map_items(refused, range(4), 2)
