"""Random numbers of PyTorch from a seed."""

from __future__ import annotations

import torch

from bids_decoder.models.seeding import seeded


def test_numbers_depend_on_the_seed_and_leave_those_outside_alone() -> None:
    torch.default_generator.manual_seed(5)
    expected = torch.rand(3)
    torch.default_generator.manual_seed(5)
    drawn = []
    for seed in (1, 1, 2):
        with seeded(seed):
            drawn.append(torch.rand(3))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=0)
    assert not torch.equal(drawn[0], drawn[2])
