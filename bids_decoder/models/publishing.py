"""Folders of pretrained models as model hubs take them: weights, cards, a README with metadata.

The metadata are those of the model cards of the Hugging Face Hub
(https://huggingface.co/docs/hub/model-cards): YAML between two lines of dashes at the start of
``README.md``. Nothing is sent anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bids_decoder.errors import (
    BidsDecoderError,
    ExitCode,
    Finding,
    InputError,
    UsageError,
    name_some,
)
from bids_decoder.files import write_bytes, write_text
from bids_decoder.models.store import load_card, load_model

README = "README.md"
LICENCES = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "pddl", "odbl", "mit",
            "apache-2.0", "other")
"""Identifiers of the hub that are usual for what was learned from data of participants."""

_NEEDED = ("decoder", "dataset", "participants", "targets", "stimuli_seen", "stage_key", "sha256")
_SECTIONS = ("Use", "Training data", "Consent", "Limits", "Files")
_ALLOWED = {".safetensors", ".json", ".md"}
# A path of the computer on which the model was fitted may name a person or an institution.
_PATH = re.compile(r"""(?:^|[\s"'=(])(?:/|~/|[A-Za-z]:[\\/]|\\\\|file:)\S*[/\\]\S""")


@dataclass(frozen=True)
class About:
    """What only the authors of a model know.

    Parameters
    ----------
    title : str
    licence : str
        One of :data:`LICENCES`.
    consent : str
        What the participants agreed to: why the model may be shared.
    authors : tuple of str
    citation : str
        A sentence or a BibTeX entry; empty to leave it out.
    """

    title: str
    licence: str
    consent: str
    authors: tuple[str, ...] = ()
    citation: str = ""


def publish(models: Sequence[Path], folder: Path, about: About) -> Path:
    """Copy models and their cards to a folder, and write its README.

    Parameters
    ----------
    models : sequence of Path
        ``*_model.safetensors`` of the group level, with their cards beside them.
    folder : Path
        New or empty.
    about : About

    Returns
    -------
    Path
        The README.

    Raises
    ------
    UsageError
        If the folder holds something, the licence or the note on consent is missing, or the models
        are not of one kind.
    InputError, MissingInputError
        If a model is damaged, its card is missing, or it is the decoder of one participant.
    """
    _check_about(about)
    if not models:
        raise UsageError("models to publish", "none was named", "name a *_model.safetensors")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"folder {folder}", "is not an empty folder", "name a new folder")
    cards = {path.name: _shareable(path) for path in models}
    if len(cards) < len(models):
        raise UsageError(
            "models to publish", "several have the same file name",
            "publish each into a folder of its own",
        )
    kinds = {(card["decoder"], str(card["targets"].get("kind"))) for card in cards.values()}
    if len(kinds) > 1:
        raise UsageError(
            "models to publish", "they differ in decoder or target: "
            + "; ".join(", ".join(kind) for kind in sorted(kinds)),
            "publish each kind into a folder of its own",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path in models:
        for part in (path, path.with_suffix(".json")):
            write_bytes(folder / part.name, part.read_bytes())
    return write_text(folder / README, readme(cards, about))


def readme(cards: dict[str, dict[str, Any]], about: About) -> str:
    """Return the README of a folder of models.

    Parameters
    ----------
    cards : dict of str to dict
        Name of the file of a model -> its card.
    about : About
    """
    first = next(iter(cards.values()))
    metadata = {
        "license": about.licence, "library_name": "bids_decoder",
        "tags": ["fmri", "brain-decoding", "bids", str(first["targets"].get("kind", ""))],
        "datasets": sorted({str(card["dataset"]) for card in cards.values()}),
    }
    people = sorted({label for card in cards.values() for label in card["participants"]})
    texts = {
        "Use": (
            "The folder is a value of `--pretrained`:\n\n"
            "    bids_decoder /data /out participant --pretrained /this/folder\n\n"
            "A participant for whom there is a model `label-without<participant>` gets that one. "
            "The program refuses participants and test stimuli that a model saw."
        ),
        "Training data": (
            f"Single-trial responses of {len(people)} participants of "
            f"{name_some(metadata['datasets'])}; decoder `{first['decoder']}`, targets: "
            f"{_say_targets(first)}. The card of each model (`.json`) lists participants, stimuli, "
            "seed and settings."
        ),
        "Consent": about.consent,
        "Limits": (
            "A score of a participant or stimulus that a model saw says nothing about new data. "
            "A model of few participants may allow conclusions about single ones: its tensors are "
            "fitted to their responses together."
        ),
        "Files": "\n".join(_describe(name, card) for name, card in cards.items()),
    }
    parts = [f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n\n# {about.title}\n"]
    if about.authors:
        parts.append(f"Authors: {', '.join(about.authors)}.\n")
    parts += [f"## {name}\n\n{texts[name]}\n" for name in _SECTIONS]
    if about.citation:
        parts.append(f"## Citation\n\n{about.citation}\n")
    return "\n".join(parts)


def check_folder(folder: Path) -> list[Finding]:
    """Return what is wrong with a folder of models, without any network.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Finding
        Empty when the folder can be shared as it is.
    """
    if not folder.is_dir():
        return [Finding(f"folder {folder}", "there is no such folder", "publish a model into it",
                        ExitCode.MISSING_INPUT)]
    models = sorted(folder.glob("*_model.safetensors"))
    found = [] if models else [Finding(
        f"folder {folder}", "holds no *_model.safetensors", "publish a model into it",
        ExitCode.MISSING_INPUT,
    )]
    return found + [
        *_check_readme(folder / README), *_check_names(folder),
        *(problem for path in models for problem in _check_model(path)),
    ]


def _shareable(path: Path) -> dict[str, Any]:
    """Return the card of a pretrained model; refuse decoders of single participants."""
    card = load_model(path).card
    absent = [name for name in _NEEDED if name not in card]
    if absent:
        raise InputError(
            f"model {path}", f"is no pretrained model: its card does not say {', '.join(absent)}",
            "name a model of the group level; decoders of single participants are personal data",
        )
    return card


def _check_about(about: About) -> None:
    if about.licence not in LICENCES:
        raise UsageError(f"licence {about.licence}", "is none that the hub knows by this name",
                         f"use one of: {', '.join(LICENCES)}")
    if len(about.consent.split()) < 4:
        raise UsageError(
            "note on consent", "is missing or too short to say anything",
            "say in a sentence what participants agreed to, and who approved it",
        )


def _check_readme(path: Path) -> Iterator[Finding]:
    if not path.is_file():
        yield Finding(str(path), "does not exist", "publish the model again",
                      ExitCode.MISSING_INPUT)
        return
    text = path.read_text(encoding="utf-8")
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        metadata = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        metadata = None
    if not isinstance(metadata, dict):
        yield Finding(str(path), "does not start with metadata in YAML between two lines of ---",
                      "publish the model again")
        return
    absent = [name for name in ("license", "library_name", "tags", "datasets")
              if not metadata.get(name)]
    if absent:
        yield Finding(str(path), f"its metadata do not say: {', '.join(absent)}", "add them")
    if metadata.get("license") not in LICENCES:
        yield Finding(str(path), f"the licence is {metadata.get('license')!r}",
                      f"use one of: {', '.join(LICENCES)}")
    for name in _SECTIONS:
        section = re.search(rf"^## {name}\n+(?!#)\S", text, re.MULTILINE)
        if section is None:
            yield Finding(str(path), f"its section '{name}' is missing or empty", "write it")


def _check_names(folder: Path) -> Iterator[Finding]:
    foreign = sorted(
        path.name for path in folder.iterdir()
        if path.suffix not in _ALLOWED and path.name != ".gitattributes"
    )
    if foreign:
        yield Finding(
            f"folder {folder}", f"holds files that are no part of a model: {name_some(foreign)}",
            "remove them: files of other kinds may run code when they are loaded",
        )


def _check_model(path: Path) -> Iterator[Finding]:
    try:
        card = load_card(path)
        load_model(path)
    except BidsDecoderError as error:
        yield error.finding
        return
    absent = [name for name in _NEEDED if name not in card]
    if absent:
        yield Finding(f"card of model {path}", f"does not say: {', '.join(absent)}",
                      "use a model that the group level of bids_decoder pretrained")
    paths = sorted({text for text in _texts(card) if _PATH.search(text)})
    if paths:
        yield Finding(
            f"card of model {path}", f"names paths of a computer: {name_some(paths)}",
            "replace them by names: they may identify people or institutions",
        )


def _texts(value: Any) -> Iterator[str]:
    """Return all texts within a card, names of entries among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _say_targets(card: dict[str, Any]) -> str:
    targets = card["targets"]
    said = [str(targets.get("kind", "unknown"))]
    if targets.get("labels"):
        said.append(name_some([str(label) for label in targets["labels"]]))
    if targets.get("n_dims"):
        said.append(f"{targets['n_dims']} dimensions")
    if card.get("encoder"):
        said.append(f"image encoder {json.dumps(card['encoder'], sort_keys=True)}")
    return ", ".join(said)


def _describe(name: str, card: dict[str, Any]) -> str:
    return (
        f"* `{name}`: {len(card['participants'])} participants, {len(card['stimuli_seen'])} "
        f"stimuli, bids_decoder {card.get('version', 'of unknown version')}, "
        f"SHA256 `{card['sha256']}`"
    )
