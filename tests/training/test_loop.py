import numpy as np
import pytest
import torch
from torch import nn

from bids_decoder.training import loop
from bids_decoder.training.loop import (
    ParameterGroup,
    Schedule,
    Setup,
    make_fabric,
    shuffled_batches,
    train,
)

N = 64
GENERATOR = np.random.default_rng(0)
X = torch.from_numpy(GENERATOR.standard_normal((N, 5)).astype(np.float32))
Y = X @ torch.from_numpy(GENERATOR.standard_normal((5, 2)).astype(np.float32))


class Killed(Exception):
    pass


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.3), nn.GELU(), nn.Linear(16, 2))


def fit(
    module, seed=1, n_epochs=8, stop_after=None, checkpoint=None, progress=None, **options
):
    return train(
        module, lambda rows, epoch: ((module(X[rows]) - Y[rows]) ** 2).mean(),
        lambda rng: shuffled_batches(N, 16, rng),
        Schedule(n_epochs, 1e-2, stop_after=stop_after),
        Setup(seed, make_fabric("cpu"), checkpoint, progress), **options,
    )


def weights(module):
    return torch.cat([p.detach().ravel() for p in module.parameters()])


def test_training_learns():
    module = network()
    losses = fit(module, n_epochs=40)
    assert len(losses) == 40
    assert losses[-1] < 0.2 * losses[0]


def test_same_seed_same_bytes_other_seed_other_weights():
    first, second, other = network(), network(), network()
    assert fit(first) == fit(second)
    fit(other, seed=2)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_global_random_state_is_neither_read_nor_changed():
    first, second = network(), network()
    torch.manual_seed(5)
    fit(first)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))
    torch.manual_seed(99)
    fit(second)
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize("killed_in", [1, 4, 7])
def test_a_killed_training_goes_on_to_the_same_result(tmp_path, monkeypatch, killed_in):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    undisturbed, killed, resumed = network(), network(), network()
    expected = fit(undisturbed)
    path = tmp_path / "state.safetensors"

    def kill(done, total, loss):
        if done == killed_in + 1:
            raise Killed

    with pytest.raises(Killed):
        fit(killed, progress=kill, checkpoint=path)
    seen = []
    losses = fit(resumed, progress=lambda *call: seen.append(call[0]), checkpoint=path)
    assert seen == list(range(killed_in + 1, 9))
    assert losses == expected
    assert torch.equal(weights(resumed), weights(undisturbed))


def test_without_checkpoint_a_new_start_is_made(tmp_path):
    path = tmp_path / "state.safetensors"
    fit(network(), checkpoint=path)
    assert not path.exists()


def test_rate_rises_and_falls():
    schedule = Schedule(10, 1.0, warmup=0.2)
    rates = [schedule.rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert int(np.argmax(rates)) == 20
    assert max(rates) == pytest.approx(1)
    assert rates[100] == pytest.approx(1 / 25000)
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()


def test_groups_are_trained_at_their_own_rate():
    module = network()
    start = [p.detach().clone() for p in module.parameters()]
    first, second = module[0], module[3]
    fit(module, n_epochs=1, groups=[
        ParameterGroup((first.weight, first.bias), rate_factor=0.0),
        ParameterGroup((second.weight,)),
    ])
    moved = [not torch.equal(a, b) for a, b in zip(start, module.parameters(), strict=True)]
    assert moved == [False, False, True, False]


def test_decay_is_for_the_groups_that_ask_for_it():
    ones = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    module = nn.ParameterList(ones)
    train(
        module, lambda rows, epoch: 0.0 * (ones[0].sum() + ones[1].sum()),
        lambda rng: [np.arange(2)] * 5, Schedule(1, 0.1, weight_decay=0.5),
        Setup(0, make_fabric("cpu")),
        groups=[ParameterGroup((ones[0],)), ParameterGroup((ones[1],), decays=False)],
    )
    assert (ones[0] < 0.95).all()
    assert (ones[1] == 1).all()


def test_ends_when_told():
    assert len(fit(network(), stop_after=3)) == 3
    assert len(fit(network(), after_epoch=lambda epoch, _: epoch == 4)) == 5
    assert fit(network(), n_epochs=0) == []
    steps = []
    fit(network(), n_epochs=2, after_step=steps.append)
    assert steps == [0] * 4 + [1] * 4


def test_batches_hold_every_row_once():
    batches = list(shuffled_batches(50, 8, np.random.default_rng(0)))
    assert sorted(np.concatenate(batches)) == list(range(50))
    assert {len(b) for b in batches} <= {8, 9}
    assert len(list(shuffled_batches(3, 24, np.random.default_rng(0)))) == 1
