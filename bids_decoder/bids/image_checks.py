"""Checks of single images: missing or damaged content, times, grids, voxels without signal."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.agreement import check_mask, check_rows, check_same_grid, check_series
from bids_decoder.bids.dataset import BoldRun
from bids_decoder.bids.images import (
    MAX_T_R,
    ImageHeader,
    is_pointer,
    read_first_volumes,
    read_header,
)
from bids_decoder.bids.series import is_volume
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding

T_R_TOLERANCE = 1e-3
"""Seconds by which sidecar and header may differ."""

FORM_TOLERANCE = 0.1
"""Millimetres by which q-form and s-form may place a corner of the grid apart."""

MAX_NONFINITE_SHARE = 0.5
"""Share of voxels with NaN or infinity above which a run cannot be used."""

UNREADABLE = (OSError, EOFError, zlib.error, ValueError)
"""What reading a few volumes raises where the file is damaged or too short."""

_N_SAMPLED = 5
_BLOCK = 1 << 20
_MOST_PACKED = 1100  # deflate packs 1032 bytes into one at best


def check_run(run: BoldRun, n_trials: int | None, full_read: bool) -> Iterator[Finding]:
    """Look for faults of one run's images.

    Parameters
    ----------
    run : BoldRun
    n_trials : int or None
        Rows of the trial table, where each must have its volume (beta series).
    full_read : bool
        Read compressed images to the end, so that the checksum in them is compared.

    Yields
    ------
    Finding
    """
    path = run.image_file
    try:
        header = read_header(path)
    except BidsDecoderError as error:
        yield _error_of(run, error)
        return
    if not is_volume(path):
        yield from _check_volumes(run, header, n_trials)
        if run.source != "betas":
            yield from _check_t_r(run, header)
        return
    damage = content_damage(path, header, full_read)
    if damage is not None:
        yield _error(run, str(path), damage, "fetch or copy the file again", ExitCode.BAD_DATA)
        return
    yield from _check_volumes(run, header, n_trials)
    yield from _check_forms(run, header)
    if run.source != "betas" and header.n_volumes > 1:
        yield from _check_t_r(run, header)
    mask, findings = _read_mask(run, header)
    yield from findings
    if len(header.shape) == 4:
        yield from _check_voxels(run, mask)


def _error_of(run: BoldRun, error: BidsDecoderError) -> Finding:
    finding = error.finding
    return _error(run, finding.what, finding.why, finding.fix, finding.code)


def _error(
    run: BoldRun, what: str, why: str, fix: str, code: ExitCode = ExitCode.BAD_DATA
) -> Finding:
    return Finding(what, why, fix, code, "error", run.subject, _file_in(run, what))


def _warning(run: BoldRun, what: str, why: str, fix: str) -> Finding:
    place = _file_in(run, what)
    return Finding(what, why, fix, severity="warning", participant=run.subject, place=place)


def _file_in(run: BoldRun, what: str) -> str:
    """Return the file of the run that *what* names."""
    return str(run.mask_file if run.mask_file and str(run.mask_file) in what else run.image_file)


def content_damage(path: Path, header: ImageHeader, full_read: bool) -> str | None:
    """Return what is wrong with the content of an image file; None if it is whole.

    Parameters
    ----------
    path : Path
    header : ImageHeader
    full_read : bool
        Without it only the size noted in the last four bytes of a ``.gz`` file is compared
        with the size that the NIfTI header implies.
    """
    if path.suffix != ".gz":
        size = path.stat().st_size
        short = size < header.n_bytes
        return f"truncated: {size} bytes, header implies {header.n_bytes}" if short else None
    # The size is noted modulo 2^32, and only for the last part of a file made of several: where
    # it does not fit, reading decides.
    if not full_read and _noted_size(path) == header.n_bytes % (1 << 32):
        return None
    if not can_hold(path, header):
        packed = path.stat().st_size
        return f"truncated: {packed} bytes cannot hold the {header.n_bytes} its header implies"
    try:
        size = _unpacked_size(path, 2 * header.n_bytes + _BLOCK)
    except (EOFError, OSError, zlib.error) as error:
        return f"damaged or truncated: {error}"
    if size > 2 * header.n_bytes + _BLOCK:
        return f"damaged: it holds more than twice the {header.n_bytes} bytes its header implies"
    return None if size >= header.n_bytes else (
        f"truncated: {size} bytes when unpacked, header implies {header.n_bytes}"
    )


def can_hold(path: Path, header: ImageHeader) -> bool:
    """Return whether a file is large enough for what its header implies, however it is packed."""
    return header.n_bytes <= _MOST_PACKED * path.stat().st_size


def _noted_size(path: Path) -> int:
    with path.open("rb") as handle:
        handle.seek(-4, os.SEEK_END)
        return int.from_bytes(handle.read(4), "little")


def _unpacked_size(path: Path, most: int) -> int:
    """Read to the end, where the checksum is, unless that is further away than *most* bytes."""
    size = 0
    with gzip.open(path, "rb") as handle:
        while size <= most and (block := handle.read(_BLOCK)):
            size += len(block)
    return size


def _check_volumes(
    run: BoldRun, header: ImageHeader, n_trials: int | None
) -> Iterator[Finding]:
    try:
        if n_trials is not None:
            check_rows(run.image_file, header.n_volumes, n_trials, run.trials_file)
        if run.source != "betas":
            check_series(run.image_file, header.shape)
    except BidsDecoderError as error:
        yield _error_of(run, error)


def _check_forms(run: BoldRun, header: ImageHeader) -> Iterator[Finding]:
    path = str(run.image_file)
    if header.qform is None and header.sform is None:
        yield _warning(
            run, path, "neither q-form nor s-form is set: left, right and position are unknown",
            "convert the images again if you want to look at maps",
        )
    if header.qform is None or header.sform is None:
        return
    distance = _corner_distance(header.qform, header.sform, header.shape)
    if distance > FORM_TOLERANCE:
        yield _warning(
            run, path, f"q-form and s-form place the grid up to {distance:.2f} mm apart",
            "the s-form is used; check the conversion",
        )


def _corner_distance(left: np.ndarray, right: np.ndarray, shape: tuple[int, ...]) -> float:
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]])).reshape(3, -1)
    difference = (left - right)[:3, :3] @ corners + (left - right)[:3, 3:]
    return float(np.sqrt((difference**2).sum(axis=0)).max())


def _check_t_r(run: BoldRun, header: ImageHeader) -> Iterator[Finding]:
    what = f"RepetitionTime of {run.image_file}"
    stated, sidecar = run.metadata.get("RepetitionTime"), run.sidecar_t_r
    if stated is not None and sidecar is None:
        yield _error(
            run, what, f"the sidecar says {stated!r}; the header {header.raw_t_r:g}",
            "write the repetition time in seconds into the sidecar",
        )
    elif sidecar is None and header.t_r is None:
        yield _error(
            run, what, f"neither in the sidecar nor usable in the header ({header.raw_t_r:g})",
            "write RepetitionTime in seconds into the sidecar",
        )
    elif sidecar is None:
        yield _warning(
            run, what, f"not in the sidecar; the header says {header.t_r:g} s",
            "the header is used; write RepetitionTime into the sidecar",
        )
    elif header.t_r is None and (header.raw_t_r > MAX_T_R or not header.raw_t_r >= 0):
        yield _warning(
            run, what, f"the sidecar says {sidecar:g} s, the header {header.raw_t_r:g}",
            "the sidecar is used",
        )
    elif header.t_r is not None and abs(sidecar - header.t_r) > T_R_TOLERANCE:
        yield _warning(
            run, what, f"the sidecar says {sidecar:g} s, the header {header.t_r:g} s",
            "the sidecar is used; find out which is right: a wrong one shifts every response",
        )
    yield from _check_durations(run, header, what)


def _check_durations(run: BoldRun, header: ImageHeader, what: str) -> Iterator[Finding]:
    t_r = run.t_r(header)
    if t_r is None:
        return
    total, length = run.metadata.get("AcquisitionDuration"), header.n_volumes * t_r
    if _contradicts(total, length, t_r):
        yield _warning(
            run, what,
            f"{header.n_volumes} volumes of {t_r:g} s make {length:g} s, but AcquisitionDuration "
            f"is {total:g} s, which would be {total / header.n_volumes:.3f} s per volume",
            "find out the true time between volumes and correct the sidecar",
        )


def _contradicts(total: object, length: float, t_r: float) -> bool:
    """Compare the duration of a series with its volumes; dummy scans may lengthen it."""
    # BIDS means one volume, common converters write the whole series: only long ones are totals.
    if not isinstance(total, int | float) or total <= 10 * t_r:
        return False
    return not -1.5 * t_r <= total - length <= max(10 * t_r, 0.1 * length)


def _read_mask(
    run: BoldRun, header: ImageHeader
) -> tuple[np.ndarray | None, list[Finding]]:
    if run.mask_file is None:
        return None, []
    path = str(run.mask_file)
    try:
        mask_header = read_header(run.mask_file)
        # Before anything is read: a header may promise more voxels than there is memory.
        check_same_grid(
            run.mask_file, (mask_header.shape, mask_header.affine), (header.shape, header.affine)
        )
        mask = np.asarray(nib.load(run.mask_file).dataobj) > 0
        check_mask(run.mask_file, mask)
    except BidsDecoderError as error:
        return None, [_error_of(run, error)]
    except UNREADABLE as error:
        return None, [_error(run, path, f"is not readable: {error}", "make the mask again")]
    return mask, []


def _check_voxels(run: BoldRun, mask: np.ndarray | None) -> Iterator[Finding]:
    """Check the first volumes only, since they are at the start of a compressed file."""
    path = str(run.image_file)
    try:
        voxels = read_first_volumes(run.image_file, _N_SAMPLED)
    except UNREADABLE as error:
        yield _error(run, path, f"its data cannot be read: {error}", "fetch or copy the file again")
        return
    if mask is not None:
        voxels = voxels[mask.ravel(order="F")]
    finite = np.isfinite(voxels)
    # An excluded trial of a beta series may be a volume of NaN as a whole.
    used = finite.any(axis=0) if run.source == "betas" else np.ones(voxels.shape[1], dtype=bool)
    good = finite[:, used].all(axis=1) & bool(used.any())
    share = 1.0 - float(good.mean()) if good.size else 1.0
    where = "in the mask" if mask is not None else "in the image"
    if share > MAX_NONFINITE_SHARE:
        yield _error(
            run, path, f"{share:.0%} of the voxels {where} are not finite in the first volumes",
            "preprocess this run again or leave it out with --bids-filter-file",
        )
    elif not (np.ptp(voxels[good][:, used], axis=1) > 0).any() and used.sum() > 1:
        yield _error(
            run, path, f"no voxel {where} varies over the first {int(used.sum())} volumes",
            "the image is empty; convert or preprocess this run again",
        )
    elif share > 0:
        yield _warning(
            run, path, f"{share:.1%} of the voxels {where} are not finite", "they are left out",
        )


def missing_content(paths: list[Path]) -> list[Path]:
    """Return those of *paths* that are git-annex pointers or dead links."""
    return [path for path in paths if is_pointer(path)]
