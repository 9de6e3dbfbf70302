"""Options of applying a fitted decoder."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bids_decoder.config import Section, Settings
from bids_decoder.options import choices, option, read_path

if TYPE_CHECKING:
    from bids_decoder.analyses.jobs import Notes


@dataclass(frozen=True)
class Apply(Section, table="apply"):
    """The decoder that is applied, and the scale of new responses.

    Parameters
    ----------
    model : Path or None
        File of a decoder or of a pretrained model, or folder of results in which there is one.
    scaling : {"own", "training"}
        Statistics by which new trials are z-scored.
    gallery : Path or None
        Folder of images among which decoders of images look for what was shown.
    """

    model: Path | None = None
    scaling: Literal["own", "training"] = "own"
    gallery: Path | None = None


SECTION = Apply


def is_wanted(settings: Settings) -> bool:
    """Return whether a decoder is named, or should be."""
    given = settings.section(Apply)
    is_given = given.model is not None or given.gallery is not None
    return is_given or "apply" in settings.execution.stage


def resolve(settings: Settings, notes: Notes) -> Settings:
    """Return settings in which all rows are trials, of the unit that the decoder knows."""
    if settings.section(Apply).model is None:
        return settings
    # The command line reads options without importing what computes.
    from bids_decoder.analyses.apply.models import read_cards, unit_of_trials
    from bids_decoder.trials import Decision

    trials = replace(settings.trials, new_data=True, target="category")
    unit = unit_of_trials(read_cards(settings.section(Apply).model))
    if trials.trial_unit == "auto" and unit is not None:
        trials = replace(trials, trial_unit=unit)
        notes.decisions.append(Decision("trial unit", unit, "that of the decoder"))
    glm = settings.glm
    if trials.trial_unit == "volume":
        glm = replace(glm, estimator="volume")
    return replace(settings, trials=trials, glm=glm)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this analysis."""
    group = parser.add_argument_group("Specific options for applying a decoder")
    option(
        group, "--apply", dest="apply.model", section=Apply, type=read_path, metavar="PATH",
        help="apply a decoder that was fitted before to these data, of the same participant: "
        "another session, imagery, trials without labels. PATH is its file "
        "(`*_desc-decoder_model.safetensors`) or the folder of results in which it is. A model "
        "that was pretrained on others decodes a new participant without labelled trials, where "
        "all are in one standard space; one of feature vectors chooses among those of "
        "`--features`. Nothing is fitted ([apply.md](apply.md))",
    )
    option(
        group, "--apply-scaling", dest="apply.scaling", section=Apply,
        choices=choices(Apply, "scaling"),
        help="how new trials are z-scored: by statistics of their `own` session (or run, as in "
        "training), or by those of the `training` trials, where conditions occur in other shares "
        "than in training",
    )
    option(
        group, "--apply-gallery", dest="apply.gallery", section=Apply, type=read_path,
        metavar="FOLDER",
        help="folder of images (files or HDF5 stacks), for decoders of images: those nearest to "
        "each new trial are listed and shown. With the same `--image-encoder` and "
        "`--encoder-weights` as in training",
    )
