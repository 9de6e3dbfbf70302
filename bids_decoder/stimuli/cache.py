"""Cache of picture vectors on disk, by content of the picture and identity of the encoder."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bids_decoder.files import atomic_path, content_key
from bids_decoder.stimuli.encoders import ImageEncoder
from bids_decoder.stimuli.images import picture_digest

PACK = 512
"""Pictures encoded before their vectors are written: at most these are lost when interrupted."""


class CachedEncoder:
    """An encoder with a cache on disk.

    Vectors are in packs of up to 512, npz files without pickles, in a folder per encoder. Packs
    are never changed; one that cannot be read counts as absent.

    Parameters
    ----------
    encoder : ImageEncoder
    folder : Path
        Made if absent.
    """

    def __init__(self, encoder: ImageEncoder, folder: Path) -> None:
        self.encoder = encoder
        self.name, self.version = encoder.name, encoder.version
        self.folder = folder / f"{encoder.name}_{encoder.version}".replace(":", "-")

    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        """Encode pictures; see :class:`~bids_decoder.stimuli.encoders.ImageEncoder`.

        Only pictures whose content is not in the cache are encoded.
        """
        digests = [picture_digest(Path(path)) for path in paths]
        known = self._read(set(digests))
        waiting = {d: p for d, p in zip(digests, paths, strict=True) if d not in known}
        names = list(waiting)
        for start in range(0, len(names), PACK):
            part = names[start : start + PACK]
            vectors = self.encoder.encode([waiting[name] for name in part])
            self._write(part, vectors)
            known.update(zip(part, vectors, strict=True))
        return np.stack([known[digest] for digest in digests])

    def _read(self, wanted: set[str]) -> dict[str, np.ndarray]:
        known: dict[str, np.ndarray] = {}
        for pack in sorted(self.folder.glob("*.npz")):
            try:
                with np.load(pack, allow_pickle=False) as content:
                    names = content["digests"].tolist()
                    if wanted.intersection(names):
                        pairs = zip(names, content["vectors"], strict=True)
                        known.update(pair for pair in pairs if pair[0] in wanted)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
        return known

    def _write(self, digests: list[str], vectors: np.ndarray) -> None:
        with atomic_path(self.folder / f"{content_key(digests)[:32]}.npz") as path:
            np.savez(path, digests=np.array(digests), vectors=vectors)
