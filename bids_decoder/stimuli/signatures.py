"""Signatures of pictures, cached by content, with which duplicates are found."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.fft
from PIL import Image

from bids_decoder.errors import InputError, MissingInputError
from bids_decoder.files import atomic_path
from bids_decoder.stimuli.images import load_picture, picture_digest

THUMBNAIL = 16
"""Edge of the thumbnails in pixels."""

_GREY = 32  # edge of the picture that is hashed
_LOW = 8  # about as many of the lowest frequencies along each axis are hashed
_FIELDS = ("digests", "pixels", "hashes", "thumbnails", "edges")


@dataclass(frozen=True, eq=False)
class Signature:
    """Hashes and thumbnail of a picture.

    Parameters
    ----------
    pixels : bytes
        SHA256 of size and RGB values: the same for every lossless file format.
    phash : int
        64 bits: which of the lowest frequencies of the cosine transform, without the mean, are
        above their median [1]_.
    thumbnail : ndarray of uint8, shape (THUMBNAIL, THUMBNAIL, 3)
    edge : int
        Pixels of the shorter edge.

    References
    ----------
    .. [1] Zauner 2010, Implementation and benchmarking of perceptual image hash functions, thesis,
       University of Applied Sciences Upper Austria.
    """

    pixels: bytes
    phash: int
    thumbnail: np.ndarray
    edge: int


@dataclass
class PictureSignatures:
    """Compute signatures of pictures, once for each content.

    Parameters
    ----------
    file : Path or None
        An npz file that :meth:`save` writes and that is read at the start. One that cannot be
        read counts as absent.
    """

    file: Path | None = None
    _known: dict[str, Signature] = field(default_factory=dict)
    _digests: dict[Path, str] = field(default_factory=dict)
    _damage: dict[Path, str] = field(default_factory=dict)
    _n_saved: int = 0

    def __post_init__(self) -> None:
        if self.file is not None and self.file.is_file():
            self._known = _read(self.file)
        self._n_saved = len(self._known)

    def damaged(self, paths: Mapping[str, Path]) -> dict[str, str]:
        """Return why pictures cannot be read, by stimulus id; those that can are not in it."""
        self._look(list(paths.values()))
        return {name: self._damage[path] for name, path in paths.items() if path in self._damage}

    def of(self, paths: Mapping[str, Path]) -> dict[str, Signature]:
        """Return the signatures of pictures, by stimulus id; damaged ones are not in it."""
        self._look(list(paths.values()))
        return {
            name: self._known[self._digests[path]] for name, path in paths.items()
            if path not in self._damage
        }

    def digest(self, path: Path) -> str:
        """Return :func:`~bids_decoder.stimuli.images.picture_digest` of a file, computed once."""
        if path not in self._digests:
            self._digests[path] = picture_digest(path)
        return self._digests[path]

    def save(self) -> None:
        """Write the signatures to the file if some were added."""
        if self.file is None or len(self._known) == self._n_saved:
            return
        known = self._known.values()
        with atomic_path(self.file) as path:
            np.savez(
                path, digests=_rows(bytes.fromhex(digest) for digest in self._known),
                pixels=_rows(signature.pixels for signature in known),
                hashes=np.array([signature.phash for signature in known], np.uint64),
                thumbnails=np.stack([signature.thumbnail for signature in known]),
                edges=np.array([signature.edge for signature in known]),
            )
        self._n_saved = len(self._known)

    def _look(self, paths: Sequence[Path]) -> None:
        new = [p for p in dict.fromkeys(paths) if p not in self._digests and p not in self._damage]
        with ThreadPoolExecutor(4) as pool:
            for path, (digest, found) in zip(new, pool.map(self._sign, new), strict=True):
                if isinstance(found, str):
                    self._damage[path] = found
                else:
                    self._digests[path] = digest
                    self._known[digest] = found

    def _sign(self, path: Path) -> tuple[str, Signature | str]:
        try:
            digest = picture_digest(path)
        except (OSError, InputError, MissingInputError):
            digest = ""  # Reading the picture shows what is wrong.
        if digest in self._known:
            return digest, self._known[digest]
        try:
            return digest, sign_picture(load_picture(path))
        except (InputError, MissingInputError) as error:
            return digest, error.finding.why


def sign_picture(picture: Image.Image) -> Signature:
    """Compute the signature of one picture.

    Parameters
    ----------
    picture : PIL.Image.Image
        RGB.
    """
    digest = hashlib.sha256(f"{picture.size} ".encode())
    digest.update(picture.tobytes())
    small = picture.resize((_GREY, _GREY), Image.Resampling.BILINEAR)
    grey = np.asarray(small.convert("L"), dtype=np.float32)
    # Row by row: 64 of the 81 lowest ones, after the mean.
    low = scipy.fft.dctn(grey, norm="ortho")[: _LOW + 1, : _LOW + 1].ravel()[1 : _LOW**2 + 1]
    bits = np.packbits(low > np.median(low))
    thumbnail = np.asarray(small.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    phash = int.from_bytes(bits.tobytes(), "big")
    return Signature(digest.digest(), phash, thumbnail, min(picture.size))


def _rows(digests: Iterable[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


def _read(file: Path) -> dict[str, Signature]:
    try:
        with np.load(file, allow_pickle=False) as content:
            columns = [content[name] for name in _FIELDS]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    return {
        digest.tobytes().hex(): Signature(pixels.tobytes(), int(phash), thumbnail, int(edge))
        for digest, pixels, phash, thumbnail, edge in zip(*columns, strict=True)
    }
