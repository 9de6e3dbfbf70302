"""Template brains, from local files only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_decoder.errors import InputError, MissingInputError, UsageError
from bids_decoder.preprocessing.registration import Picture
from bids_decoder.preprocessing.resampling import Grid

NATIVE_SPACES = ("func", "T1w")
PACKAGED = "MNI152NLin2009aSym"
_DEFAULT_RESOLUTION = 2


@dataclass(frozen=True)
class OutputSpace:
    """One of ``--output-spaces``.

    Parameters
    ----------
    name : str
        ``func``, ``T1w`` or the name of a template.
    resolution : int or None
        TemplateFlow's ``res``; None where the space has no template.
    """

    name: str
    resolution: int | None = None

    @property
    def is_template(self) -> bool:
        """True when the space is neither ``func`` nor ``T1w``."""
        return self.name not in NATIVE_SPACES

    @property
    def entities(self) -> dict[str, str]:
        """BIDS entities of files in this space; none for ``func``."""
        if self.name == "func":
            return {}
        res = {} if self.resolution is None else {"res": str(self.resolution)}
        return {"space": self.name, **res}

    @cached_property
    def grid(self) -> Grid:
        """Grid of the template; errors as in :func:`load_template`."""
        if self.name == PACKAGED:
            template = load_template(self)
            return Grid(template.mask.shape, template.affine)
        image = _load_stored(self)[0]
        return Grid(image.shape, image.affine)

    def __str__(self) -> str:
        """Return the space in the syntax of ``--output-spaces``."""
        return self.name if self.resolution is None else f"{self.name}:res-{self.resolution}"


FUNC = OutputSpace("func")
"""The functional space of the participant: the grid of the reference of the first run."""


def parse_space(text: str) -> OutputSpace:
    """Read ``NAME`` or ``NAME:res-N``.

    Raises
    ------
    UsageError
        For other modifiers.

    Examples
    --------
    >>> parse_space("MNI152NLin2009cAsym:res-1")
    OutputSpace(name='MNI152NLin2009cAsym', resolution=1)
    >>> parse_space("T1w")
    OutputSpace(name='T1w', resolution=None)
    """
    name, *modifiers = text.split(":")
    if name in NATIVE_SPACES and not modifiers:
        return OutputSpace(name)
    resolution = _DEFAULT_RESOLUTION
    for modifier in modifiers:
        key, _, value = modifier.partition("-")
        if key != "res" or not value.isdigit() or name in NATIVE_SPACES:
            raise UsageError(
                f"--output-spaces {text}", f"the part {modifier!r} is not understood",
                "write func, T1w, or a template name with :res-1 or :res-2",
            )
        resolution = int(value)
    return OutputSpace(name, resolution)


def response_space(texts: Sequence[str]) -> OutputSpace:
    """Choose the space in which single-trial responses of raw data are estimated.

    Parameters
    ----------
    texts : sequence of str
        ``--output-spaces``.

    Returns
    -------
    OutputSpace
        The first; ``func`` where none is given.

    Examples
    --------
    >>> str(response_space(["MNI152NLin2009cAsym", "func"])), str(response_space([]))
    ('MNI152NLin2009cAsym:res-2', 'func')
    """
    return parse_space(texts[0]) if texts else FUNC


def load_template(space: OutputSpace) -> Picture:
    """Load the brain of a template.

    Parameters
    ----------
    space : OutputSpace
        ``MNI152NLin2009aSym`` is part of nilearn (brain only, at any resolution of 1 mm or
        more); all others are read from the TemplateFlow folder.

    Returns
    -------
    Picture
        T1w contrast and brain mask.

    Raises
    ------
    MissingInputError
        If the files are missing; the message contains the command that fetches them.
    UsageError
        For names that are no template of TemplateFlow, or one for each of several cohorts.
    InputError
        If image and mask differ in shape.
    """
    if space.name == PACKAGED:
        return _packaged(space.resolution or _DEFAULT_RESOLUTION)
    t1w, mask = _load_stored(space)
    return Picture(t1w.get_fdata(dtype=np.float32), t1w.affine, np.asarray(mask.dataobj) > 0)


def _packaged(resolution: int) -> Picture:
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    image = load_mni152_template(resolution=resolution)
    mask = load_mni152_brain_mask(resolution=resolution)
    return Picture(
        image.get_fdata(dtype=np.float32), image.affine, np.asarray(mask.dataobj) > 0
    )


def _load_stored(space: OutputSpace) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Open T1w image and brain mask of a template in the TemplateFlow folder."""
    t1w, mask = (nib.load(_stored(space, ending)) for ending in ("T1w", "desc-brain_mask"))
    if t1w.shape != mask.shape:
        raise InputError(
            f"template {space.name}", f"T1w is {t1w.shape}, brain mask {mask.shape}",
            "fetch the template again",
        )
    return t1w, mask


def _stored(space: OutputSpace, ending: str) -> Path:
    """Return a file of a template, found by its name: TemplateFlow's index takes many seconds."""
    from templateflow import conf

    fetch = (
        'python -c "from templateflow import api; '
        f"api.get('{space.name}', resolution={space.resolution}, suffix=['T1w', 'mask'])\""
    )
    names = sorted(path.name.removeprefix("tpl-") for path in Path(conf.TF_HOME).glob("tpl-*"))
    if space.name not in names:
        near = difflib.get_close_matches(space.name, names, n=3)
        near = [name for name in names if name.startswith(space.name)][:3] or near
        raise UsageError(
            f"--output-spaces {space.name}", "is neither func, T1w nor a TemplateFlow template",
            (f"did you mean {' or '.join(near)}? " if near else "")
            + f"choose a name from https://www.templateflow.org, or {PACKAGED}, which is built in",
        )
    wanted = re.compile(rf"tpl-{space.name}_res-0*{space.resolution}_{ending}.nii.gz")
    paths = sorted(Path(conf.TF_HOME, f"tpl-{space.name}").rglob(f"*_{ending}.nii.gz"))
    if any("_cohort-" in path.name for path in paths):
        raise UsageError(
            f"--output-spaces {space.name}",
            "under this name there are several templates, one for each cohort, which are not told "
            "apart here",
            "choose a template without cohorts, or preprocess with fMRIPrep "
            f"({space.name}:cohort-N) and give its derivatives",
        )
    stored = [
        path for path in paths
        if wanted.fullmatch(path.name) and path.is_file() and path.stat().st_size > 0
    ]
    if not stored:
        raise MissingInputError(
            f"template {space.name}, resolution {space.resolution}, {ending}",
            "is not in the TemplateFlow folder of this machine (TEMPLATEFLOW_HOME)",
            f"where there is a network, run: {fetch}; or use {PACKAGED}, which is built in",
        )
    return stored[0]
