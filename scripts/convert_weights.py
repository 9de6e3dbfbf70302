"""Convert PyTorch weights to safetensors, loading tensors and nothing else.

    python scripts/convert_weights.py WEIGHTS.pth OUT.safetensors

Pickled files can run code when they are loaded; PyTorch's ``weights_only`` refuses everything that
is not a tensor. Names lose the prefix ``module.`` of parallel training. The SHA256 of the result is
added to SHA256SUMS beside it, against which the program checks the weights.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file


def convert(source: Path, target: Path) -> str:
    """Convert *source* and give the SHA256 of *target*."""
    content = torch.load(source, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content)
    tensors = {
        name.removeprefix("module."): value.detach().clone().contiguous()
        for name, value in state.items() if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise SystemExit(f"{source}: holds no tensors by name")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, metadata={"format": "pt"})
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    sums = target.parent / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    kept = [line for line in lines if line.split(maxsplit=1)[1:] != [target.name]]
    sums.write_text("\n".join([*kept, f"{digest}  {target.name}"]) + "\n", encoding="utf-8")
    return digest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    words = parser.parse_args()
    if words.target.suffix != ".safetensors":
        parser.error("OUT must end in .safetensors")
    print(convert(words.source, words.target))  # noqa: T201
