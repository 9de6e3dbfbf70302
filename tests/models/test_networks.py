import pytest
import torch
from torch import nn

from bids_decoder.models.networks import (
    GatedInputLayer,
    HardConcreteInputLayer,
    InputLayer,
    Trunk,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scramble(module, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("kind", ["residual", "linear"])
def test_a_new_trunk_passes_its_first_latents_through(kind):
    trunk = Trunk(10, 6, kind, hidden=12, n_blocks=3)
    latents = draw(5, 10)
    for context in (torch.zeros(5, 1), torch.full((5, 1), 1.7)):
        assert torch.equal(trunk(latents, context), latents[:, :6])


def test_kinds_differ_in_their_blocks():
    assert len(Trunk(4, 4, "residual", n_blocks=3).blocks) == 3
    assert len(Trunk(4, 4, "linear", n_blocks=3).blocks) == 0


@pytest.mark.parametrize("kind", ["residual", "linear"])
def test_context_reaches_a_trained_trunk(kind):
    trunk = Trunk(6, 4, kind, hidden=8).eval()
    scramble(trunk, 3)
    latents = draw(5, 6)
    outputs = [trunk(latents, torch.full((5, 1), value)) for value in (-1.0, 1.0)]
    assert not torch.allclose(*outputs)


def test_temperature_is_limited():
    trunk = Trunk(4, 4)
    with torch.no_grad():
        trunk.log_scale.fill_(50.0)
    assert trunk.scale.item() == pytest.approx(100, rel=1e-3)


class ReleasedTrunk(nn.Module):
    """The wiring of MindEye2's released backbone for one token, restated.

    After the first mixer its result is replaced by the second mixer's plus a residual stream
    of the second mixer's own.
    """

    def __init__(self, width, n_blocks):
        super().__init__()
        self.first = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(),
                          nn.Linear(width, width))
            for _ in range(n_blocks)
        )
        self.second = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(1), nn.Linear(1, 1), nn.GELU(), nn.Linear(1, 1))
            for _ in range(n_blocks)
        )

    def forward(self, x):
        x = x[:, None, :]
        stream_1, stream_2 = x, x.transpose(1, 2)
        for first, second in zip(self.first, self.second, strict=True):
            x = first(x) + stream_1
            stream_1 = x
            x = second(x.transpose(1, 2)) + stream_2
            stream_2 = x
            x = x.transpose(1, 2)
        return x[:, 0]


def test_blocks_of_the_released_trunk_are_inert_and_ours_are_not():
    latents = draw(6, 8)
    released, changed = ReleasedTrunk(8, 4), ReleasedTrunk(8, 4)
    changed.second.load_state_dict(released.second.state_dict())
    with torch.no_grad():
        assert torch.equal(released(latents), changed(latents))
        shift = released(latents) - latents
    assert torch.allclose(shift, shift[0, 0].expand_as(shift), atol=1e-6)
    ours = Trunk(8, 8, "residual", hidden=8, n_blocks=4).eval()
    scramble(ours, 0)
    context = torch.zeros(6, 1)
    with torch.no_grad():
        before = ours(latents, context)
        for number, block in enumerate(ours.blocks):
            scramble(block, number + 10)
            after = ours(latents, context)
            assert not torch.allclose(before, after)
            before = after


def test_released_blocks_get_no_gradient_and_ours_do():
    latents = draw(6, 8)
    released = ReleasedTrunk(8, 2)
    released(latents).square().sum().backward()
    assert max(float(p.grad.abs().max()) for p in released.first[1].parameters()) < 1e-5
    ours = Trunk(8, 8, "residual", hidden=8, n_blocks=2).eval()
    scramble(ours, 1)
    ours(latents, torch.zeros(6, 1)).square().sum().backward()
    for block in ours.blocks:
        assert all(float(p.grad.abs().max()) > 1e-3 for p in block.parameters())


def test_gates_multiply_voxels_and_fold_into_the_weights():
    weight, bias, gate = draw(7, 3, seed=1), draw(3, seed=2), draw(7, seed=3)
    layer = GatedInputLayer(weight, bias, gate)
    betas = draw(4, 7)
    assert torch.allclose(layer(betas), (betas * gate) @ weight + bias, atol=1e-6)
    assert torch.allclose(betas @ layer.folded_weight() + bias, layer(betas), atol=1e-5)
    assert torch.allclose(layer.importance(), gate.abs() * weight.norm(dim=1))
    assert [p.shape[0] for p in layer.per_voxel] == [7, 7]
    plain = InputLayer(weight, bias)
    assert torch.allclose(plain(betas), betas @ plain.folded_weight() + bias, atol=1e-6)


def test_importance_does_not_depend_on_how_scale_is_shared():
    weight, bias, gate = draw(5, 3, seed=4), torch.zeros(3), torch.rand(5) + 0.1
    factor = torch.tensor([1.0, 10, 0.1, 3, 7])
    one = GatedInputLayer(weight, bias, gate)
    other = GatedInputLayer(weight * factor[:, None], bias, gate / factor)
    assert torch.allclose(one.importance(), other.importance(), rtol=1e-5)


def test_hard_concrete_gates_open_as_often_as_they_say():
    locations = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])
    layer = HardConcreteInputLayer(torch.eye(5), torch.zeros(5), locations).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gates = torch.stack([layer(torch.ones(1, 5))[0] for _ in range(4000)])
    assert ((gates >= 0) & (gates <= 1)).all()
    opened = (gates > 0).float().mean(dim=0)
    assert torch.allclose(opened, layer.chance_open(), atol=0.03)
    assert (gates == 1).any()
    layer.eval()
    assert torch.equal(layer(torch.ones(1, 5)), layer(torch.ones(1, 5)))
    assert torch.allclose(layer(torch.ones(1, 5))[0], layer.folded_weight().diagonal(), atol=1e-6)
