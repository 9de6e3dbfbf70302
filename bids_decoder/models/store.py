"""Model files: safetensors for the weights, a JSON card for everything else."""

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
from bids_decoder.files import read_json, why_no_safetensors, write_bytes, write_json

SCHEMA = 1

_CARD: dict[str, type] = {
    "schema": int, "stage_key": str, "dataset": str, "participants": list, "targets": dict,
    "stimuli_seen": list,
}
"""Kinds of the values in a card that are read before the model is."""


@dataclass(frozen=True, eq=False)
class Model:
    """Weights and card of a fitted model.

    Parameters
    ----------
    tensors : dict of str to ndarray
        All values are finite.
    card : dict
        JSON-able: architecture, inputs, training participants and stimuli, seed, version.
    """

    tensors: Mapping[str, np.ndarray]
    card: dict[str, Any]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """Return the tensors whose names start with *prefix* and a dot, without the prefix."""
        start = prefix + "."
        return {k[len(start):]: v for k, v in self.tensors.items() if k.startswith(start)}


def save_model(path: Path, model: Model) -> Path:
    """Write a model to ``path`` (``.safetensors``) and its card (``.json``).

    The SHA256 of the weights and the version of the schema are added to the card.

    Raises
    ------
    InputError
        For another ending, with which it could not be read again.
    """
    if path.suffix != ".safetensors":
        raise InputError(
            f"model {path}", "its name does not end in .safetensors", "give it this ending"
        )
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
        If the weights or the card are missing.
    InputError
        If the file is not a safetensors file, does not match its card, was written with a newer
        schema or contains values that are not finite.
    """
    card = load_card(path)
    content = path.read_bytes()
    check_digest(path, card, hashlib.sha256(content).hexdigest())
    try:
        tensors = load(content)
        broken = [k for k, v in tensors.items() if not np.isfinite(v).all()]
    # safetensors raises its own error, and others for types that NumPy does not have.
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"model {path}", f"is not a valid safetensors file: {error}",
                         "fit the model again") from error
    if broken:
        raise InputError(f"model {path}", f"contains values that are not finite: "
                         f"{', '.join(broken)}", "fit the model again")
    return Model(tensors, card)


def check_digest(path: Path, card: Mapping[str, Any], digest: str) -> None:
    """Check the SHA256 of the weights in *path* against their card.

    Raises
    ------
    InputError
        If they differ.
    """
    if digest != card.get("sha256"):
        raise InputError(
            f"model {path}", "its SHA256 differs from the one in its card",
            "copy both files again, or fit the model again",
        )


def load_card(path: Path) -> dict[str, Any]:
    """Read only the card of a model; raises the errors of :func:`load_model`."""
    _refuse_foreign(path)
    place = path.with_suffix(".json")
    try:
        card = read_json(place)
    except (OSError, ValueError) as error:
        raise _bad_card(place, f"is no valid JSON: {error}") from error
    if not isinstance(card, dict):
        raise _bad_card(place, "holds no JSON object")
    odd = [name for name, kind in _CARD.items() if not isinstance(card.get(name, kind()), kind)]
    if odd:
        raise _bad_card(place, "has values of a wrong kind: " + ", ".join(
            f"{name} is {type(card[name]).__name__}, not {_CARD[name].__name__}" for name in odd
        ))
    if card.get("schema", 0) > SCHEMA:
        raise InputError(
            f"model {path}",
            f"was written with schema {card['schema']}, newer than the supported {SCHEMA}",
            "use a newer version of bids_decoder",
        )
    return card


def _bad_card(place: Path, why: str) -> InputError:
    return InputError(
        f"card of model {place}", why, "copy it again, or fit the model again"
    )


def _refuse_foreign(path: Path) -> None:
    _require(path, path)
    if path.suffix != ".safetensors":
        raise InputError(
            f"model {path}",
            "is not a .safetensors file; other formats can run code when they are loaded",
            "convert the weights to safetensors and write their card",
        )
    why = why_no_safetensors(path)
    if why is not None:
        raise InputError(
            f"model {path}", why,
            "give a *_model.safetensors that bids_decoder wrote",
        )
    _require(path, path.with_suffix(".json"))


def _require(path: Path, needed: Path) -> None:
    if not needed.is_file():
        raise MissingInputError(
            f"model {path}", f"{needed.name} does not exist",
            "give the path of a *_model.safetensors with its .json in the same folder",
        )
