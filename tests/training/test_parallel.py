"""Pretraining by two processes: what one process finds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bids_decoder.config import Network
from bids_decoder.training.episodes import Latents
from bids_decoder.training.pretrain import build_trunk, pretrain_trunk

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from test_parallel import SETTINGS, known_latents
from bids_decoder.training.parallel import is_first, others_wait, train_along
from bids_decoder.training.pretrain import pretrain_trunk
from safetensors.torch import save_file

if is_first():
    with others_wait("cpu"):
        latents, vectors = known_latents()
        for kind in ("features", "category"):
            trunk, _, _ = pretrain_trunk(
                latents, vectors, kind == "category", SETTINGS, seed=3, device="cpu",
            )
            save_file(trunk.state_dict(), f"{sys.argv[2]}/{kind}.safetensors")
else:
    train_along("cpu", pretrain_trunk)
"""


SETTINGS = Network(pretrain_epochs=6, dropout=0.0, trunk="residual")
"""Masks of dropout differ between processes, so none."""


def known_latents(n_samples=301, n_ids=61, n_dims=6):
    """An odd number of samples, so that shares are not equal."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((n_ids, n_dims)).astype(np.float32)
    rows = rng.integers(0, n_ids, n_samples)
    values = vectors[rows] @ rng.standard_normal((n_dims, n_dims))
    values += 0.5 * rng.standard_normal(values.shape)
    return Latents(values.astype(np.float32), rows,
                   rng.integers(4, 8, n_samples).astype(np.float32),
                   rng.integers(0, 3, n_samples)), vectors


def torchrun(*words, n=2):
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n),
         *map(str, words)],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=600,
    )


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    (folder / "program.py").write_text(PROGRAM)
    done = torchrun(folder / "program.py", Path(__file__).parent, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("kind", ["features", "category"])
def test_two_processes_find_what_one_finds(together, kind):
    latents, vectors = known_latents()
    trunk, *_ = pretrain_trunk(
        latents, vectors, kind == "category", SETTINGS, seed=3, device="cpu"
    )
    found = load_file(together / f"{kind}.safetensors")
    start = build_trunk(vectors.shape[1], SETTINGS, 3).state_dict()
    for key, value in trunk.state_dict().items():
        moved = float((value - start[key]).abs().max())
        assert moved > 1e-3, key
        np.testing.assert_allclose(found[key], value.numpy(), atol=0.02 * moved, err_msg=key)
