import torch

from bids_decoder.models.lora import add_low_rank_changes, fold_low_rank_changes
from bids_decoder.models.networks import Trunk


def trained(kind, rank=2):
    torch.manual_seed(0)
    trunk = Trunk(12, 12, kind, hidden=20).eval()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    add_low_rank_changes(trunk, seed=1, rank=rank)
    inputs, context = torch.randn(30, 12), torch.ones(30, 1)
    start = trunk(inputs, context)
    optimizer = torch.optim.Adam([p for p in trunk.parameters() if p.requires_grad], lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        (trunk(inputs, context) - inputs.flip(1)).square().mean().backward()
        optimizer.step()
    return trunk, before, inputs, context, start


def test_no_change_at_the_start_and_the_same_names_at_the_end():
    trunk, before, inputs, context, start = trained("residual")
    fresh = Trunk(12, 12, "residual", hidden=20).eval()
    fresh.load_state_dict(before)
    assert torch.allclose(fresh(inputs, context), start)
    end = trunk(inputs, context)
    assert not torch.allclose(start, end, atol=1e-2)
    fold_low_rank_changes(trunk)
    assert torch.allclose(trunk(inputs, context), end, atol=1e-6)
    assert set(trunk.state_dict()) == set(before)
    fresh.load_state_dict(trunk.state_dict())
    assert torch.allclose(fresh(inputs, context), end, atol=1e-6)


def test_matrices_change_by_their_rank_and_nothing_else_does():
    trunk, before, *_ = trained("residual")
    fold_low_rank_changes(trunk)
    after = trunk.state_dict()
    for name, value in before.items():
        change = after[name] - value
        if value.ndim == 2:
            assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2, name
        else:
            assert torch.equal(after[name], value), name


def test_same_seed_same_changes():
    one, other = trained("linear")[0], trained("linear")[0]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(),
                                                 strict=True))


def test_folding_what_was_not_changed_does_nothing():
    trunk = Trunk(4, 4, "linear")
    names = list(trunk.state_dict())
    fold_low_rank_changes(trunk)
    assert list(trunk.state_dict()) == names
