"""Atlases of TemplateFlow: which there are, in which templates, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bids_decoder.bids.label_files import LabelFile
from bids_decoder.bids.names import parse_entities
from bids_decoder.bids.spelling import did_you_mean
from bids_decoder.errors import MissingInputError, UsageError, name_some

SEGMENTATIONS = ("aparcaseg", "aseg")
"""Segmentations of the derivatives that may be asked for by name."""

_SHOWN = 8


def find_atlas(text: str, templates: Sequence[str]) -> LabelFile:
    """Find an atlas in one of several templates, and fetch it where it is not stored yet.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME:DESC``, as ``Schaefer2018:100Parcels7Networks``.
    templates : sequence of str
        Spaces from which labels can be brought to the participant, the best first.

    Returns
    -------
    LabelFile
        At the finest resolution.

    Raises
    ------
    UsageError
        For an unknown name, one of several variants that is not named, and an atlas in other
        templates only.
    MissingInputError
        When it is not stored and cannot be fetched.
    """
    name, _, desc = text.partition(":")
    offered = find_templates(text)
    usable = [space for space in templates if space in offered]
    if not usable:
        there = sorted(offered)
        raise UsageError(
            f"--regions {text}",
            f"TemplateFlow has it in {name_some(there, _SHOWN)}, and the participants have "
            f"transforms to {name_some(list(templates), _SHOWN) or 'no template'}",
            f"preprocess with --output-spaces {there[0]} as one of the spaces, or give a label "
            "file in the space of the data",
        )
    chosen = _choose_variant(text, name, desc.removeprefix("desc-"), offered[usable[0]])
    space = next(space for space in usable if chosen in offered[space])
    images = _list(space, name, chosen or None, ".nii.gz")
    image = _stored(text, max(images, key=_fineness))
    return LabelFile(
        image, space, f"{name}:{chosen}" if chosen else name,
        _table(name, chosen, [space, *sorted(offered)]),
    )


def find_templates(text: str) -> dict[str, set[str]]:
    """Find the templates in which TemplateFlow has an atlas.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME:DESC``.

    Returns
    -------
    dict of str to set of str
        Variants of the atlas by template; empty text for one without ``desc``.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    name = text.partition(":")[0]
    found: dict[str, set[str]] = {}
    for path in _all_images():
        entities = parse_entities(path)
        if entities.get("atlas") == name:
            found.setdefault(entities["tpl"], set()).add(entities.get("desc", ""))
    if not found:
        raise UsageError(
            f"--regions {text}", "is no file, no segmentation of the derivatives and no atlas of "
            "TemplateFlow", did_you_mean(
                name, [*_known_names(), *SEGMENTATIONS],
                f"give a file, {' or '.join(SEGMENTATIONS)}, or one of "
                f"{name_some(_known_names(), _SHOWN)}",
            ),
        )
    return found


def _choose_variant(text: str, name: str, desc: str, variants: set[str]) -> str:
    """Return the variant that is asked for, or the only one."""
    if desc in variants:
        return desc
    if not desc and len(variants) == 1:
        return next(iter(variants))
    names = [f"{name}:{variant}" for variant in sorted(variants, key=_natural)]
    why = f"there is no variant {desc!r}" if desc else f"there are {len(variants)} variants of it"
    raise UsageError(
        f"--regions {text}", why,
        did_you_mean(text, names if desc else (), f"choose one: {name_some(names, 12)}"),
    )


def _known_names() -> list[str]:
    names = {parse_entities(path).get("atlas") for path in _all_images()}
    return sorted(name for name in names if name)


def _all_images() -> list[Path]:
    """List the images of labels in MNI templates, stored or not."""
    return _find("*MNI*", ".nii.gz")


def _list(template: str, atlas: str, desc: str | None, extension: str) -> list[Path]:
    """List the files of one variant of an atlas; without ``desc`` where it is None."""
    return [
        path for path in _find(template, extension)
        if (own := parse_entities(path)).get("atlas") == atlas and own.get("desc") == desc
    ]


def _find(template: str, extension: str) -> list[Path]:
    """Find files of labels by their names: TemplateFlow's index takes many seconds."""
    from templateflow import conf

    folders = sorted(Path(conf.TF_HOME).glob(f"tpl-{template}"))
    return [path for folder in folders for path in sorted(folder.rglob(f"*_dseg{extension}"))]


def _fineness(path: Path) -> tuple[bool, int]:
    """Rank a finer resolution higher, and one that is stored above all others."""
    return _is_stored(path), -int(parse_entities(path).get("res", "9"))


def _is_stored(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _stored(text: str, path: Path) -> Path:
    """Return a file of TemplateFlow, fetching it where it is only listed."""
    if not _is_stored(path):
        error = _fetch(path)
        if not _is_stored(path):
            raise MissingInputError(
                f"--regions {text}",
                f"{path.name} is not in the TemplateFlow folder of this machine "
                f"(TEMPLATEFLOW_HOME), and cannot be fetched{error}",
                f"where there is a network, run: {_command(path)}",
            )
    return path


def _command(path: Path) -> str:
    """Return the command that fetches a file of TemplateFlow."""
    entities = parse_entities(path)
    query = [("resolution", "res"), ("atlas", "atlas"), ("desc", "desc")]
    wanted = [f"{key}='{entities[short]}'" for key, short in query if short in entities]
    arguments = ", ".join([f"'{entities['tpl']}'", *wanted, "suffix='dseg'"])
    return f'python -c "from templateflow import api; api.get({arguments})"'


def _fetch(path: Path) -> str:
    """Fetch a file of TemplateFlow; return why it failed."""
    from templateflow import api

    entities, extension = parse_entities(path), path.name.partition(".")[2]
    try:
        api.get(
            entities["tpl"], resolution=entities.get("res"), atlas=entities.get("atlas"),
            desc=entities.get("desc"), suffix="dseg", extension=f".{extension}",
        )
    # Without a network requests, urllib3 and the socket raise errors of many kinds.
    except Exception as error:
        return f" ({type(error).__name__})"
    return ""


def _table(name: str, desc: str, templates: Sequence[str]) -> Path | None:
    """Find the names of labels; they are the same in all templates."""
    for template in templates:
        for variant in dict.fromkeys((desc or None, None)):
            for path in _list(template, name, variant, ".tsv"):
                if _is_stored(path) or (not _fetch(path) and _is_stored(path)):
                    return path
    return None


def _natural(text: str) -> tuple[int, str]:
    digits = "".join(c for c in text if c.isdigit())
    return (len(digits), text)
