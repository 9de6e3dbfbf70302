"""Many items in several processes."""

import gc
import os
from functools import partial

import pytest

from bids_decoder import processes
from bids_decoder.processes import collector_paused, map_items


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


def test_items_need_not_be_pickled(monkeypatch):
    monkeypatch.setattr(processes, "MIN_ITEMS", 2)
    calls = [lambda number=number: number for number in range(5)]
    assert map_items(lambda call: call(), calls, 2) == list(range(5))


def test_the_collector_works_again_after_an_error():
    with pytest.raises(ValueError, match="inside"), collector_paused():
        assert not gc.isenabled()
        raise ValueError("inside")
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
