"""Models on disk: safetensors for the weights, a JSON card for everything else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.files import read_json, write_bytes, write_json

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Model:
    """Weights and card of a fitted model.

    Parameters
    ----------
    tensors : dict of str to ndarray
        All finite.
    card : dict
        JSON-able: architecture, inputs, who and what was seen, seed, version.
    """

    tensors: Mapping[str, np.ndarray]
    card: dict[str, Any]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """Give the tensors whose names begin with *prefix* and a dot, without it."""
        start = prefix + "."
        return {k[len(start):]: v for k, v in self.tensors.items() if k.startswith(start)}


def save_model(path: Path, model: Model) -> Path:
    """Write ``path`` (``.safetensors``) and its card beside it (``.json``).

    The card gets the SHA256 of the weights and the version of its own schema.
    """
    tensors = {k: np.ascontiguousarray(v) for k, v in sorted(model.tensors.items())}
    content = save(tensors)
    card = {**model.card, "schema": SCHEMA, "sha256": hashlib.sha256(content).hexdigest()}
    write_json(path.with_suffix(".json"), card)
    return write_bytes(path, content)


def load_model(path: Path) -> Model:
    """Read a model that :func:`save_model` wrote.

    Raises
    ------
    MissingInputError
        When the weights or the card are absent.
    InputError
        When the file is no safetensors file, does not match its card, was written by a newer
        schema or holds numbers that are not finite.
    """
    card = load_card(path)
    content = path.read_bytes()
    check_digest(path, card, hashlib.sha256(content).hexdigest())
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise InputError(f"model {path}", f"no valid safetensors file: {error}",
                         "make the model anew") from error
    broken = [k for k, v in tensors.items() if not np.isfinite(v).all()]
    if broken:
        raise InputError(f"model {path}", f"not finite: {', '.join(broken)}", "make it anew")
    return Model(tensors, card)


def check_digest(path: Path, card: Mapping[str, Any], digest: str) -> None:
    """Compare the SHA256 of the weights in *path* with the one in their card.

    Raises
    ------
    InputError
        When they differ.
    """
    if digest != card.get("sha256"):
        raise InputError(
            f"model {path}", "its SHA256 differs from the one in its card",
            "copy both files again from where the model was made, or make it anew",
        )


def load_card(path: Path) -> dict[str, Any]:
    """Read the card of a model alone; errors as for :func:`load_model`."""
    _refuse_foreign(path)
    card = read_json(path.with_suffix(".json"))
    if int(card.get("schema", 0)) > SCHEMA:
        raise InputError(
            f"model {path}", f"was written with schema {card['schema']}, known is {SCHEMA}",
            "use a newer version of bids_decoder",
        )
    return card


def _refuse_foreign(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise InputError(
            f"model {path}", "only .safetensors is read; other formats can run code on loading",
            "convert the weights to safetensors and write a card beside them",
        )
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise MissingInputError(
                f"model {path}", f"{needed.name} is not there",
                "give the path of a desc-pretrained_model.safetensors that lies beside its .json",
            )
