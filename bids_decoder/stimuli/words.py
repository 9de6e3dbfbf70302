"""Vectors of words from a text encoder of transformers, from local safetensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bids_decoder.errors import (
    ExitCode,
    Finding,
    FindingsError,
    InputError,
    MissingInputError,
    name_some,
)
from bids_decoder.stimuli.features import FeatureTable, read_features
from bids_decoder.stimuli.weights import Weights, find_folder, read_config

_OPTION = "--features"
_BATCH = 64
_FETCH = (
    "pass a folder with config.json, tokenizer.json and model.safetensors of a text encoder of "
    "transformers, for instance of sentence-transformers/all-MiniLM-L6-v2"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def names_text_encoder(features: Path | None) -> bool:
    """Return whether ``--features`` is a folder, so that vectors are those of words."""
    return features is not None and features.is_dir()


class StimulusVectors:
    """Vectors of stimuli, of a feature table or of the words in their names.

    A table is read once, and a name is encoded once, however often vectors are asked for.

    Parameters
    ----------
    source : Path
        Feature table (:func:`~bids_decoder.stimuli.features.read_features`), or folder of a text
        encoder (:func:`encode_words`).
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._words: dict[str, np.ndarray] = {}

    @property
    def are_words(self) -> bool:
        """Whether a text encoder makes the vectors."""
        return names_text_encoder(self.source)

    @property
    def identity(self) -> str:
        """Identity of the text encoder; empty for a feature table."""
        return f"words-{self._encoder.sha256[:16]}" if self.are_words else ""

    @property
    def record(self) -> dict[str, str]:
        """Name and digest of the text encoder, for the record of a call."""
        return {"name": self.source.name, "sha256": self._encoder.sha256}

    def of(self, wanted: Sequence[str]) -> FeatureTable:
        """Return vectors.

        Parameters
        ----------
        wanted : sequence of str
            Ids of the stimuli; a table is returned completely.

        Returns
        -------
        FeatureTable
            With vectors of shape (0, 0) where a text encoder is asked for none.

        Raises
        ------
        BidsDecoderError
            As :func:`~bids_decoder.stimuli.features.read_features` and :func:`encode_words`.
        """
        if not self.are_words:
            return self._table
        if not wanted:
            return FeatureTable((), np.empty((0, 0), np.float32))
        new = [name for name in dict.fromkeys(wanted) if name not in self._words]
        if new:
            self._words.update(zip(new, encode_words(self._encoder, new), strict=True))
        return FeatureTable(tuple(wanted), np.stack([self._words[name] for name in wanted]))

    @cached_property
    def _encoder(self) -> Weights:
        return choose_text_encoder(self.source)

    @cached_property
    def _table(self) -> FeatureTable:
        return read_features(self.source)


def split_words(name: str) -> str:
    """Return the words in a name, in lower case.

    Examples
    --------
    >>> split_words("ScrambledPix_02"), split_words("MRIScanner-room")
    ('scrambled pix', 'mri scanner room')
    """
    return " ".join(_WORD.findall(_CAMEL.sub(" ", name))).lower()


def choose_text_encoder(folder: Path) -> Weights:
    """Check the folder of a text encoder without loading it.

    Parameters
    ----------
    folder : Path
        As ``save_pretrained`` of transformers writes it, with the tokenizer.

    Returns
    -------
    Weights

    Raises
    ------
    MissingInputError
        When files are absent.
    InputError
        When weights are damaged, or belong to another kind of model.
    """
    weights = find_folder(folder, ("config.json",), _OPTION, _FETCH)
    config = read_config(weights.path / "config.json", _OPTION)
    if "vision_config" in config or "image_size" in config or config.get("is_encoder_decoder"):
        raise InputError(
            f"{_OPTION} {weights.path}",
            f"is not a text encoder, but a model of kind {config.get('model_type')}", _FETCH,
        )
    return weights


def encode_words(weights: Weights, names: Sequence[str]) -> np.ndarray:
    """Encode the words in names: mean over the tokens of the last layer.

    That is how sentence-transformers pools most of its models (Reimers & Gurevych 2019).

    Parameters
    ----------
    weights : Weights
        From :func:`choose_text_encoder`.
    names : sequence of str
        Names of labels or stimuli, or whole sentences; see :func:`split_words`.

    Returns
    -------
    ndarray of float32, shape (n_names, n_dims)

    Raises
    ------
    MissingInputError
        When transformers is not installed.
    FindingsError
        For names without a word that the encoder knows.
    InputError
        When the weights do not fit the architecture.
    """
    if find_spec("transformers") is None:
        raise MissingInputError(
            f"{_OPTION} {weights.path}", "the package transformers is not installed",
            "pip install 'bids_decoder[clip]', or pass a table of vectors",
        )
    from bids_decoder.stimuli.vision_models import load_config, load_model, load_with, transformers

    tokenizer = load_with(weights, lambda: transformers.AutoTokenizer.from_pretrained(
        weights.path, local_files_only=True
    ), _OPTION)
    texts = [split_words(name) for name in names]
    _check_known(tokenizer, names, texts)
    model = load_model(
        transformers.AutoModel, weights, load_config(weights, _OPTION), _OPTION
    ).eval()
    return np.concatenate([
        _encode(tokenizer, model, texts[start : start + _BATCH])
        for start in range(0, len(texts), _BATCH)
    ])


def _encode(tokenizer: Any, model: Any, texts: list[str]) -> np.ndarray:
    import torch

    tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**tokens).last_hidden_state
    counted = tokens["attention_mask"][..., None]
    return ((hidden * counted).sum(dim=1) / counted.sum(dim=1)).numpy()


def _check_known(tokenizer: Any, names: Sequence[str], texts: Sequence[str]) -> None:
    """Find names without words, or whose words are all unknown to the tokenizer."""
    unknown = tokenizer.unk_token_id
    strange = [
        name for name, text in zip(names, texts, strict=True)
        if set(tokenizer(text, add_special_tokens=False)["input_ids"]) <= {unknown}
    ]
    if strange:
        raise FindingsError([Finding(
            f"{_OPTION}: {len(strange)} of {len(names)} names have no word that the text encoder "
            "knows", f"for instance {name_some(strange)}",
            "rename them with --relabel, for instance '01=face', choose another column with "
            "--label-column or --stimulus-column, or leave them out with --trial-filter",
            ExitCode.USAGE,
        )])
