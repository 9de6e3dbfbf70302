"""Stimuli with several names: equal ones and near-duplicates.

Near-duplicates are found with 64 bit hashes. The hashes are sorted in eight rotations, and each is
compared with those that follow it, so that the time is linear in the number of stimuli; pairs that
agree in all but a few bits are candidates, which are verified.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bids_decoder.stimuli.images import load_picture
from bids_decoder.stimuli.pyramid import SIZE, GaborPyramid
from bids_decoder.stimuli.signatures import Signature

MAX_BITS = 10
"""Number of bits that may differ between two hashes."""

MIN_THUMBNAIL_CORRELATION = 0.98
"""Least correlation of the thumbnails of near-duplicate pictures."""

MIN_CONTRAST_RATIO = 0.8
"""Least ratio of the contrasts of their thumbnails: a weaker grating is another stimulus."""

MIN_COSINE = 0.95
"""Least cosine of the built-in encoder's vectors of near-duplicate pictures."""

MIN_FEATURE_COSINE = 0.999
"""Least cosine of near-duplicate feature vectors, from which the mean vector is subtracted."""

MIN_FEATURE_DIMS = 16
"""Vectors with fewer dimensions are close to each other by chance."""

_MIN_CONTRAST = 2.0  # grey levels; below it a thumbnail holds little but rounding
_FOLLOWING = 32  # hashes compared with each one in every rotation
_ROTATIONS = range(0, 64, 8)


@dataclass(frozen=True, order=True)
class NearPair:
    """Two stimuli that are nearly the same.

    Parameters
    ----------
    first, second : str
        Names, in alphabetical order.
    cosine : float
        Of their vectors.
    """

    first: str
    second: str
    cosine: float


def equal_pictures(signatures: Mapping[str, Signature]) -> list[tuple[str, ...]]:
    """Group the names of pictures with the same pixels; pictures with one name are left out."""
    return _groups((signature.pixels, name) for name, signature in signatures.items())


def equal_vectors(ids: Sequence[str], vectors: np.ndarray) -> list[tuple[str, ...]]:
    """Group the ids of equal vectors; vectors with one id are left out.

    Parameters
    ----------
    ids : sequence of str
    vectors : ndarray of float32, shape (n_ids, n_dims)
    """
    rows = np.ascontiguousarray(vectors + np.float32(0))  # -0 becomes 0
    return _groups((row.tobytes(), name) for name, row in zip(ids, rows, strict=True))


def near_pictures(
    signatures: Mapping[str, Signature], paths: Mapping[str, Path]
) -> list[NearPair]:
    """Find pictures that are rescaled, re-encoded or slightly changed copies of each other.

    Parameters
    ----------
    signatures : mapping of str to Signature
        Signatures of pictures that differ.
    paths : mapping of str to Path
        Paths of the pictures.

    Returns
    -------
    list of NearPair
        Hashes differ by at most ``MAX_BITS``, thumbnails correlate by
        ``MIN_THUMBNAIL_CORRELATION`` and vectors of the built-in encoder have a cosine of
        ``MIN_COSINE`` or more. Both are encoded at one size for which neither is enlarged, since
        a picture loses detail when it is reduced.
    """
    names = sorted(signatures)
    if not names:
        return []
    hashes = np.array([signatures[name].phash for name in names], dtype=np.uint64)
    thumbnails = np.stack([signatures[name].thumbnail for name in names])
    likely = _alike(thumbnails.reshape(len(names), -1), _candidates(hashes))
    pairs = [(names[first], names[second]) for first, second in likely]
    edges = [_common_edge(*(signatures[name].edge for name in pair)) for pair in pairs]
    wanted = sorted({(name, e) for pair, e in zip(pairs, edges, strict=True) for name in pair})
    encoder = GaborPyramid()
    with ThreadPoolExecutor(4) as pool:
        vectors = pool.map(lambda item: _encode(encoder, paths[item[0]], item[1]), wanted)
        known = dict(zip(wanted, vectors, strict=True))
    cosines = [
        float(known[first, e] @ known[second, e])
        for (first, second), e in zip(pairs, edges, strict=True)
    ]
    return [
        NearPair(*pair, round(cosine, 4)) for pair, cosine in zip(pairs, cosines, strict=True)
        if cosine >= MIN_COSINE
    ]


def near_vectors(ids: Sequence[str], vectors: np.ndarray) -> list[NearPair]:
    """Find feature vectors with almost the same direction from the mean of all.

    Random planes, always the same, hash them.

    Parameters
    ----------
    ids : sequence of str
    vectors : ndarray of float32, shape (n_ids, n_dims)
        Distinct ones.

    Returns
    -------
    list of NearPair
        With a cosine of ``MIN_FEATURE_COSINE`` or more; none for vectors with fewer than
        ``MIN_FEATURE_DIMS`` dimensions.
    """
    if len(ids) < 3 or vectors.shape[1] < MIN_FEATURE_DIMS:
        return []
    centred = vectors - vectors.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    planes = np.random.default_rng(0).standard_normal((vectors.shape[1], 64), np.float32)
    hashes = np.packbits(centred @ planes > 0, axis=1).view(">u8")[:, 0].astype(np.uint64)
    rows = _candidates(hashes)
    cosines = np.einsum("ij,ij->i", centred[rows[:, 0]], centred[rows[:, 1]])
    kept = np.flatnonzero(cosines >= MIN_FEATURE_COSINE)
    pairs = (
        (*sorted((ids[rows[k, 0]], ids[rows[k, 1]])), round(float(cosines[k]), 6)) for k in kept
    )
    return sorted(NearPair(*pair) for pair in pairs)


def chain(groups: Iterable[Iterable[str]]) -> dict[str, str]:
    """Join groups that have a member in common; return the first name of each name's group.

    Examples
    --------
    >>> chain([("b", "a"), ("b", "c"), ("x", "y")])
    {'a': 'a', 'b': 'a', 'c': 'a', 'x': 'x', 'y': 'x'}
    """
    above: dict[str, str] = {}

    def first(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for group in groups:
        roots = sorted({first(name) for name in group})
        above.update(dict.fromkeys(roots, roots[0]))
    return {name: first(name) for name in sorted(above)}


def _groups(pairs: Iterable[tuple[bytes, str]]) -> list[tuple[str, ...]]:
    found: dict[bytes, list[str]] = defaultdict(list)
    for key, name in pairs:
        found[key].append(name)
    return sorted(tuple(sorted(names)) for names in found.values() if len(names) > 1)


def _candidates(hashes: np.ndarray) -> np.ndarray:
    """Find pairs of rows whose hashes differ by few bits, shape (n_pairs, 2), first < second."""
    found = [np.empty((0, 2), dtype=np.intp)]
    for shift in _ROTATIONS:
        left, right = np.uint64(shift), np.uint64((64 - shift) % 64)
        order = np.argsort((hashes << left) | (hashes >> right), kind="stable")
        for step in range(1, min(_FOLLOWING, len(hashes) - 1) + 1):
            one, two = order[:-step], order[step:]
            close = np.bitwise_count(hashes[one] ^ hashes[two]) <= MAX_BITS
            found.append(np.sort(np.column_stack([one[close], two[close]]), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _alike(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Keep the pairs whose thumbnails correlate and have about the same contrast."""
    kept = []
    for start in range(0, len(pairs), 4096):
        part = pairs[start : start + 4096]
        one, two = (thumbnails[part[:, side]].astype(np.float32) for side in (0, 1))
        contrasts = np.stack([np.maximum(v.std(axis=1), _MIN_CONTRAST) for v in (one, two)])
        covariance = np.mean(one * two, axis=1) - one.mean(axis=1) * two.mean(axis=1)
        good = covariance >= MIN_THUMBNAIL_CORRELATION * contrasts.prod(axis=0)
        good &= contrasts.min(axis=0) >= MIN_CONTRAST_RATIO * contrasts.max(axis=0)
        kept.append(part[good])
    return np.concatenate(kept) if kept else pairs


def _common_edge(*edges: int) -> int:
    """Return the largest power of two for which no picture needs to be enlarged."""
    return 1 << (min(*edges, SIZE).bit_length() - 1)


def _encode(encoder: GaborPyramid, path: Path, edge: int) -> np.ndarray:
    """Encode a picture that is reduced to *edge* first; the vector has unit length."""
    picture = load_picture(path)
    for size in (edge, SIZE):
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    vector = encoder.encode_array(np.asarray(picture, dtype=np.float32) / 255.0)
    return vector / np.linalg.norm(vector)
