"""Plan of representational similarity analysis: models that can be read, one job each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from bids_decoder.analyses.jobs import Job, Notes
from bids_decoder.analyses.rsa.models import (
    apart,
    conditions_of,
    labels_of,
    make_model,
    model_of_vectors,
)
from bids_decoder.analyses.rsa.options import FEATURES, LABEL, Rsa, model_name, split_word
from bids_decoder.analyses.study import Study, job_name
from bids_decoder.errors import BidsDecoderError, ExitCode, Finding, name_some
from bids_decoder.evaluation.rdm_models import LEAST_CONDITIONS
from bids_decoder.interfaces.regions import PlacedLabels
from bids_decoder.markers import StageKey
from bids_decoder.stimuli.features import select_features
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.trials import Decision
from bids_decoder.workflows.atlas_checks import check_words
from bids_decoder.workflows.sphere_checks import (
    N_MAPS,
    check_grid,
    check_settings,
    densities_of,
)
from bids_decoder.workflows.sphere_costs import check_time, model_work
from bids_decoder.workflows.work import PersonWork

MAX_CONDITIONS = 300
"""Distances grow with its square, and permutations with them."""


@dataclass(frozen=True, eq=False)
class RsaSpec:
    """The analysis of one participant.

    Parameters
    ----------
    person : PersonWork
    kind : str
        Of the targets.
    models : dict of str to str
        Name -> ``label``, ``features``, path of a table, or path and column.
    n_permutations : int
    placed : tuple of PlacedLabels
        Label files of the regions in which models are compared; empty for all voxels together.
    searchlight : Searchlight or None
        Spheres in which models are compared.
    """

    person: PersonWork
    kind: str
    models: dict[str, str]
    n_permutations: int
    placed: tuple[PlacedLabels, ...] = ()
    searchlight: Searchlight | None = None


def check_without_trials(study: Study, notes: Notes) -> None:
    """Note atlases that no participant can have."""
    notes.findings += check_words(study.atlases.words)


def check(study: Study, notes: Notes) -> None:
    """Note models that cannot be read, and trials that have no distances."""
    words, searchlight = study.settings.section(Rsa).models, _searchlight(study)
    if not words:
        notes.findings.append(Finding(
            "--searchlight-estimator rsa" if searchlight else "--stage rsa", "no model is named",
            "name one: --rsa FILE", ExitCode.USAGE,
        ))
        return
    notes.findings += _check_words(study, words)
    for participant in study.roles.chosen:
        notes.findings += _check_person(study, participant.label, words)
    if study.atlases.words:
        notes.findings += study.atlas_check.findings
    if searchlight:
        notes.findings += _check_search(study, searchlight)
    notes.decisions.append(_decide(study, words))


def jobs(study: Study, notes: Notes, made: Mapping[str, Job]) -> list[Job]:
    """Return one job per participant, and more where regions or spheres are given."""
    del made
    notes.findings += study.region_findings
    models = {model_name(word): word for word in study.settings.section(Rsa).models}
    n_permutations = study.settings.evaluation.n_permutations
    found = []
    for person in study.chosen_people:
        spec = RsaSpec(person, study.targets.kind, models, n_permutations)
        found.append(_job(study, "rsa", spec))
        if study.atlases.words:
            placed = tuple(study.atlases.place(person))
            labels = study.atlases.describe(person, study.digest)
            found.append(_job(study, "rsaregions", replace(spec, placed=placed), labels=labels))
        searchlight = _searchlight(study)
        if searchlight is not None:
            n_maps = study.settings.evaluation.count_refits(N_MAPS)
            own = replace(spec, searchlight=searchlight, n_permutations=n_maps)
            found.append(_job(study, "rsasearch", own, searchlight=asdict(searchlight)))
    return found


def _searchlight(study: Study) -> Searchlight | None:
    """Return the spheres in which models are mapped; None where that was not asked for."""
    settings = study.settings.section(Searchlight)
    return settings if settings.maps_models else None


def _check_search(study: Study, settings: Searchlight) -> list[Finding]:
    """Check the size of the spheres, and what has no meaning for models."""
    if not settings.is_wanted:
        return [Finding(
            "--searchlight-estimator rsa", "no size of the spheres is given",
            "give one: --searchlight 8mm", ExitCode.USAGE,
        )]
    findings = check_settings(settings)
    if settings.shrinkage is not None:
        findings.append(Finding(
            "[searchlight] shrinkage", "the estimator rsa estimates it in each sphere",
            "leave it out", ExitCode.USAGE,
        ))
    n_models = len(study.settings.section(Rsa).models)
    n_maps = study.settings.evaluation.count_refits(N_MAPS)
    for participant in study.roles.chosen:
        densities = densities_of(participant, study.space)
        wrong = check_grid(participant.label, densities, settings)
        trials = study.usable_trials(participant.label)
        names, n_runs = conditions_of(trials, study.targets.kind), trials["run_group"].nunique()
        work = model_work(n_models, len(names), n_runs, n_maps)
        findings += wrong or check_time(participant.label, densities, study.settings, work)
    return findings


def _job(study: Study, stage: str, spec: RsaSpec, **more: Any) -> Job:
    """Return the job of one stage; *more* goes into its key."""
    person, settings = spec.person, study.settings
    models = {
        name: word if word in (LABEL, FEATURES) else study.digest(split_word(word)[0])
        for name, word in spec.models.items()
    }
    key = StageKey(stage, f"sub-{person.label}", {
        "models": models, "n_permutations": spec.n_permutations,
        "normalise": settings.glm.normalise, "seed": settings.random_seed,
        "targets": study.target_key, "betas": person.responses_key,
        "region": study.region_key(person),
        **more,
    })
    return Job(job_name(stage, person), "rsa", (study.stage(key),), spec)


def _decide(study: Study, words: tuple[str, ...]) -> Decision:
    what = "labels" if study.targets.kind == "category" else "stimuli with trials in two runs"
    regions = ""
    if study.atlases.words:
        regions = f"; also in each region ({study.atlas_check.words}), corrected for all"
    searchlight = _searchlight(study)
    if searchlight is not None:
        regions += f"; also in spheres of {searchlight.size}, corrected for all"
    return Decision(
        "representational similarity", name_some([model_name(word) for word in words], 8),
        f"crossnobis distances of {what} between runs; whitened correlation; names of conditions "
        f"are exchanged, corrected for all models{regions}",
    )


def _check_words(study: Study, words: tuple[str, ...]) -> list[Finding]:
    """Check the models against each other and against what is decoded."""
    findings = []
    names = [model_name(word) for word in words]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        findings.append(Finding(
            f"--rsa {' '.join(words)}", f"{name_some(twice)}: several models have this name",
            "rename their files", ExitCode.USAGE,
        ))
    if study.targets.kind == "category":
        findings += [
            Finding(
                f"--rsa {word}", "conditions are labels, and this model is of stimuli",
                "name a table of dissimilarities of the labels, or FILE:COLUMN", ExitCode.USAGE,
            )
            for word in words if word in (LABEL, FEATURES)
        ]
    elif FEATURES in words and study.targets.kind not in ("image", "features"):
        findings.append(Finding(
            "--rsa features", f"this call decodes {study.targets.kind}, so that stimuli have no "
            "vectors", "name a table of dissimilarities, or FILE:COLUMN", ExitCode.USAGE,
        ))
    return findings


def _check_pairs(label: str, pairs: list[tuple[str, str]]) -> list[Finding]:
    if not pairs:
        return []
    first = " and ".join(pairs[0])
    return [Finding(
        f"sub-{label}: --rsa", f"{len(pairs)} pair(s) of conditions, for instance {first}, are not "
        "together in two runs, and their distance is the product of differences in two runs",
        "leave conditions out with --trial-filter, or the option",
        participant=label,
    )]


def _check_person(study: Study, label: str, words: tuple[str, ...]) -> list[Finding]:
    trials, kind = study.usable_trials(label), study.targets.kind
    names = conditions_of(trials, kind)
    if not LEAST_CONDITIONS <= len(names) <= MAX_CONDITIONS:
        what = "labels" if kind == "category" else "stimuli"
        return [Finding(
            f"sub-{label}: --rsa", f"{len(names)} {what} have trials in two runs or more",
            f"needs {LEAST_CONDITIONS} to {MAX_CONDITIONS}; choose with --trial-filter, or leave "
            "the option out", participant=label,
        )]
    findings = _check_pairs(label, apart(trials, names, kind))
    for word in words:
        try:
            if word == LABEL and kind != "category":
                labels_of(trials, names)
            elif word == FEATURES and kind == "features":
                table = study.feature_table
                model_of_vectors(select_features(table, names), table.sketched)
            elif word not in (LABEL, FEATURES):
                make_model(word, names)
        except BidsDecoderError as error:
            findings.append(error.finding)
    return findings
