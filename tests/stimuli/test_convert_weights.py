import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bids_decoder.stimuli.weights import find_file

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_weights.py"


def convert(source, target):
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(source), str(target)], capture_output=True, text=True,
        check=False,
    )


def test_tensors_are_converted_and_recognised(tmp_path):
    torch.save({"state_dict": {"module.a": torch.arange(3.0), "epoch": 3}}, tmp_path / "w.pth")
    done = convert(tmp_path / "w.pth", tmp_path / "out" / "w.safetensors")
    assert done.returncode == 0, done.stderr
    assert load_file(tmp_path / "out" / "w.safetensors")["a"].tolist() == [0, 1, 2]
    found = find_file(tmp_path / "out" / "w.safetensors", "--x", "y")
    content = (tmp_path / "out" / "w.safetensors").read_bytes()
    assert found.verified
    assert found.sha256 == done.stdout.strip() == hashlib.sha256(content).hexdigest()


class Runs:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path, legacy):
    path = tmp_path / "bad.pth"
    if legacy:
        path.write_bytes(pickle.dumps(Runs()))
    else:
        torch.save({"a": Runs()}, path)
    done = convert(path, tmp_path / "w.safetensors")
    assert done.returncode != 0 and "code ran" not in done.stdout
    assert not (tmp_path / "w.safetensors").exists()
