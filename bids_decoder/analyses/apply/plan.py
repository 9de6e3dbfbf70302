"""Plan of applying a decoder: all in which new data can differ from those it was fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_decoder.analyses.apply.finding import (
    find_decoder,
    is_zero_shot,
    read_decoder_card,
)
from bids_decoder.analyses.apply.galleries import (
    NO_PICTURES,
    Pictures,
    damaged_images,
    find_pictures,
    why_no_candidates,
    why_no_gallery,
    with_candidates,
)
from bids_decoder.analyses.apply.options import Apply
from bids_decoder.analyses.apply.painting import (
    Painting,
    check_painting,
    find_painting,
    say_painting,
    why_no_painting,
)
from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.bids.cifti import is_cifti
from bids_decoder.bids.event_columns import UNLABELLED
from bids_decoder.bids.images import read_header
from bids_decoder.bids.map_files import read_rows_key
from bids_decoder.bids.series import is_volume
from bids_decoder.bids.signatures import match_copies, run_signatures
from bids_decoder.errors import (
    BidsDecoderError,
    ExitCode,
    Finding,
    FindingsError,
    has_errors,
    name_some,
)
from bids_decoder.glm.normalise import MIN_TRIALS
from bids_decoder.interfaces.responses import groups_of, shared_space
from bids_decoder.markers import StageKey
from bids_decoder.regressors import split_wanted
from bids_decoder.training.fitted import ENTRY, load_fitted
from bids_decoder.training.zero_shot import why_not
from bids_decoder.trials import KINDS, Decision, VoxelGrid
from bids_decoder.workflows.work import PersonWork


@dataclass(frozen=True, eq=False)
class ApplySpec:
    """The use of a decoder on the data of a participant.

    Parameters
    ----------
    person : PersonWork
    model : Path
    aligns : bool
        Whether responses are brought to the grid of the decoder by a registration.
    card : mapping
        What is known of the decoder, for sidecars.
    pictures : Pictures
        Images that are searched.
    painting : Painting or None
        How trials are reconstructed.
    """

    person: PersonWork
    model: Path
    aligns: bool
    card: Mapping[str, Any]
    pictures: Pictures = NO_PICTURES
    painting: Painting | None = None


def check(study: Study, notes: Notes) -> None:
    """Note wrong options; each participant is checked with their job."""
    if study.settings.section(Apply).model is None:
        notes.findings.append(Finding(
            "--stage apply or --apply-gallery", "no decoder is named", "name one: --apply PATH",
            ExitCode.USAGE,
        ))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant."""
    del made
    place = study.settings.section(Apply).model
    found: list[Job] = []
    if place is None:
        return found
    for person in study.chosen_people:
        try:
            path = find_decoder(place, person.label)
            card = with_candidates(
                study, read_decoder_card(path, person.label, study.dataset.name)
            )
            problems = list(_problems(study, person, path, card))
        except FindingsError as error:
            notes.findings += error.findings
            continue
        except BidsDecoderError as error:
            notes.findings.append(error.finding)
            continue
        notes.findings += problems
        if not has_errors(problems):
            why = why_no_painting(study, path, card)
            painting = find_painting(study, path, card) if why is None else None
            notes.decisions += [
                _say_trials(study, person, card),
                say_painting(person.label, painting, why[0] if why else ""),
            ]
            found.append(_job(study, person, path, card, painting))
    return found


def _job(
    study: Study, person: PersonWork, path: Path, card: Mapping[str, Any],
    painting: Painting | None,
) -> Job:
    settings = study.settings
    pictures = find_pictures(study, card)
    key = StageKey("apply", f"sub-{person.label}", {
        # Tensors are hashed, what the card says of labels and probabilities is not.
        "model": card["sha256"], "decoder": card[ENTRY], "scaling": settings.section(Apply).scaling,
        "betas": person.responses_key, "evaluation": asdict(settings.evaluation),
        **pictures.key(study),
        **({} if painting is None else {"reconstruction": painting.key(study)}),
        "seed": settings.random_seed, "device": study.device_kind,
    })
    facts = {
        "Decoder": path.name, "DecoderSHA256": card["sha256"], "DecoderKind": card["decoder"],
        "TrainingDataset": card[ENTRY]["dataset"],
        "Target": card[ENTRY]["targets"]["kind"], "Scaling": settings.section(Apply).scaling,
        "TrialUnit": study.trials.build.trial_unit, "ZeroShot": is_zero_shot(card),
        **({"SourceParticipants": len(card["participants"])} if is_zero_shot(card) else {}),
    }
    return Job(
        job_name("apply", person), "apply", (study.stage(key),),
        ApplySpec(
            person, path, _aligns(person) and not is_zero_shot(card), facts, pictures, painting
        ),
    )


def _aligns(person: PersonWork) -> bool:
    """Return whether the images of a call are on a grid of their own."""
    return person.source == "raw" and not person.space.is_template


def _say_trials(study: Study, person: PersonWork, card: Mapping[str, Any]) -> Decision:
    trials = study.usable_trials(person.label)
    kind = card[ENTRY]["targets"]["kind"]
    names = trials[KINDS[kind].column if kind != "value" else "label"].tolist()
    known = set(card[ENTRY]["targets"]["ids"])
    fitted = (
        f"{len(card['participants'])} other participants (zero-shot)" if is_zero_shot(card)
        else f"{card['n_trials']} trials"
    )
    unknown = sorted({name for name in names if name not in known} - {UNLABELLED})
    n_known = sum(name in known for name in names)
    are_scored = " and are scored" if (
        kind != "value" and study.settings.trials.trial_unit != "volume"
        and len({name for name in names if name in known}) > 1
    ) else ""
    others = f"; not known to the decoder: {name_some(unknown)}" if unknown else ""
    return Decision(
        f"apply to sub-{person.label}", f"{len(names)} trials",
        f"{n_known} have a {KINDS[kind].column} that the decoder knows{are_scored}{others}; "
        f"decoder of {card[ENTRY]['dataset']}, fitted to {fitted}",
    )


def _problems(
    study: Study, person: PersonWork, path: Path, card: Mapping[str, Any]
) -> Iterator[Finding]:
    """Yield everything that prevents the use of a decoder on these data."""
    where = f"sub-{person.label} with decoder {path.name}"
    told: Mapping[str, Any] = card[ENTRY]
    for why, fix in (
        *_other_responses(study, person, card), *_same_runs(study, person, card),
        *_same_output(study, path), *why_no_gallery(study, told), *why_no_candidates(study, card),
        *(_not_zero_shot(study, person, card) if is_zero_shot(card)
          else _other_place(person, path, told)),
    ):
        yield Finding(where, why, fix, ExitCode.BAD_DATA, participant=person.label)
    yield from damaged_images(study, told)
    yield from check_painting(study, path, card)
    if told["source"] != person.source:
        yield Finding(
            where, f"it was fitted to {told['source']} data, and these are {person.source} data: "
            "if they were processed differently, it may not work as well",
            "compare the runs with those of training in the report", ExitCode.BAD_DATA, "warning",
            person.label,
        )


def _other_responses(
    study: Study, person: PersonWork, card: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield differences in how responses are estimated and z-scored."""
    # Cards are JSON, which knows lists only.
    here = {name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(study.settings.glm).items()}
    there = dict(card[ENTRY]["glm"])
    names = ["normalise"] if person.source == "betas" else [n for n in here if n != "contrasts"]
    if study.settings.trials.trial_unit == "volume":
        names = [name for name in names if name != "estimator"]
        if person.source == "betas":
            yield "--trial-unit volume: a beta series holds no volumes", "give BOLD images"
    other = [name for name in names
             if _comparable(name, here[name]) != _comparable(name, there.get(name))]
    if other:
        yield (
            "responses are estimated in another way than those it was fitted to: " + "; ".join(
                f"{name} was {there.get(name)}, here it is {here[name]}" for name in other
            ), "give the options of the call that fitted it (its logs hold them in settings.toml)",
        )
    unit, own = card.get("trial_unit"), study.trials.build.trial_unit
    if unit is not None and own not in (unit, "volume"):
        yield (
            f"it was fitted to trials that are one {unit} each, and here they are one {own}",
            f"use --trial-unit {unit}, or leave the option out",
        )
    removed = card.get("confounds_removed")
    if removed:
        yield (
            f"it was fitted to responses from which {name_some(removed)} had been removed, with "
            "weights that are not part of it", "fit it without --confound-removal regress",
        )


def _comparable(name: str, value: Any) -> Any:
    """Return that in which two values of a setting must agree.

    Own tables of regressors are elsewhere for new data, so that only their use must agree.
    """
    if name != "confounds" or value is None:
        return value
    # Cards of former versions hold one name, not a list.
    columns, folders = split_wanted([value] if isinstance(value, str) else value)
    return columns, bool(folders)


def _same_runs(
    study: Study, person: PersonWork, card: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield training runs among the new data, recognised by their names or their content."""
    told, is_other = card[ENTRY], is_zero_shot(card)
    known = {name: rows for name, rows in told.get("signatures", {}).items()
             if is_other or name in told["runs"]}
    both = match_copies(run_signatures(person.runs), known)
    if told["dataset"] == study.dataset.name:
        both |= {run.run_group: run.run_group for run in person.participant.runs
                 if run.run_group in told["runs"]}
    same = [own if own == name else f"{own} (a copy of {name})" for own, name in both.items()]
    if same:
        yield (
            f"{len(same)} of these runs are training runs of it: {name_some(sorted(same))}; their "
            "scores would be too high",
            "choose other runs, for instance with --run-id or --session-id",
        )


def _same_output(study: Study, path: Path) -> Iterator[tuple[str, str]]:
    """Yield an output folder that is that of the decoder."""
    if path.resolve().is_relative_to(study.output_dir.resolve()):
        yield (
            "it is in the output folder of this call, whose trial tables would replace those it "
            "was fitted to", "choose another output folder",
        )


def _not_zero_shot(
    study: Study, person: PersonWork, card: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield what prevents that a model of other participants decodes without labelled trials."""
    if _has_places(person, card):
        why = why_not(card, shared_space(person.runs[0].entities))
    else:
        why = (
            "these voxels have no positions, by which those of other participants could be found, "
            "and are not the vertices or grayordinates of its maps",
            "decode the participant with labelled trials: --pretrained",
        )
    if why is not None:
        yield why
    if study.settings.section(Apply).scaling == "training":
        yield (
            "--apply-scaling training: the participant has no training trials", "leave it out",
        )
    sizes = pd.Series(groups_of(
        study.usable_trials(person.label), study.settings.glm.normalise
    )).value_counts()
    few = sorted(sizes.index[sizes < MIN_TRIALS])
    if few:
        yield (
            f"{name_some(few)}: fewer than {MIN_TRIALS} trials, by whose statistics they could be "
            "z-scored", "leave these sessions or runs out",
        )


def _has_places(person: PersonWork, card: Mapping[str, Any]) -> bool:
    """Return whether voxels have positions, or are the vertices or grayordinates of a model."""
    run = person.participant.runs[0]
    if VoxelGrid(np.ones(run.header.shape[:3], dtype=bool), run.header.affine).has_geometry:
        return True
    common = card.get("common") or {}
    return (
        not is_volume(run.image_file) and list(run.header.shape[:3]) == common.get("shape")
        and read_rows_key(run.image_file) == common.get("rows_key", "")
    )


def _other_place(
    person: PersonWork, path: Path, told: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield other spaces and grids."""
    space = shared_space(person.runs[0].entities)
    if space != told["space"]:
        names = [name or "the participant's own space" for name in (told["space"], space)]
        yield (
            f"it reads voxels of {names[0]}, and these responses are in {names[1]}",
            "give data in the same space, or --output-spaces",
        )
        return
    file = person.participant.runs[0].image_file
    if is_cifti(file) and read_rows_key(file) != told.get("rows_key", ""):
        yield (
            "the rows of these responses are other grayordinates than those that it reads",
            "preprocess both with one version and --cifti-output",
        )
        return
    fitted = load_fitted(path)
    if _aligns(person):
        if fitted.boldref is None:
            yield (
                "it has no reference image to which raw data can be aligned: it was fitted to "
                "responses without one", "give data on its grid, with -d",
            )
        return
    if person.space.is_template:
        return
    header = read_header(file)
    shape = tuple(int(n) for n in header.shape[:3])
    if not fitted.grid.holds(shape, header.affine):
        yield (
            f"it reads a grid of {_grid(fitted.grid.mask.shape, fitted.grid.affine)}, and these "
            f"images have {_grid(shape, header.affine)}",
            "resample them to the reference image of the training data",
        )


def _grid(shape: tuple[int, ...], affine: np.ndarray) -> str:
    rows = "; ".join(" ".join(f"{value:g}" for value in row) for row in np.round(affine[:3], 3))
    return f"{' x '.join(map(str, shape))} voxels with affine [{rows}]"
