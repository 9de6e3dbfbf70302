"""Top-level files of the output folder: dataset description, README and descriptions."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bids_decoder import __version__
from bids_decoder.bids.dataset import Dataset
from bids_decoder.errors import ExitCode, Finding, FindingsError, has_errors
from bids_decoder.files import read_json, write_text

APP_NAME = "bids_decoder"
BIDS_VERSION = "1.11.0"

DESCRIPTIONS: dict[str, str] = {
    "preproc": "Data after preprocessing.",
    "brain": "Mask of the brain.",
    "echoes": "Weights of the echoes in their combination, one volume per echo.",
    "confounds": "Regressors of no interest, one row per volume.",
    "singletrial": "One response per trial: volume i of the beta series is row i of the table.",
    "group": "Results of all participants together.",
}
"""Labels of the ``desc`` entity and what they mean, for ``descriptions.tsv``."""

IGNORED = (
    "*.html", "*_report.json", "plan.json", "logs", "prov", "group", "model", "figures", "work",
    "*_betaseries.*", "*_trials.*", "*_statmap.*", "*_peaks.*", "*_predictions.*", "*_metrics.*",
    "*_rdm.*", "*_curve.*", "*_needs.*", "*_learning.*", "*_comparisons.*", "*_sheet.*",
    "*_xfm.*", "*_boldref.*", "*_timeseries.*", "*_weights.*", "*_S0map.*",
    "*_T2starmap.*", "*_hemi-*", "*_midthickness.*", "*_fmapid-*", "*_shiftmap.*", "*_mixing.*",
    "reconstruction", "*_desc-reconstruction*", "*.dscalar.nii",
)
"""Outputs for which the BIDS schema has no name yet; folders without a slash, which the validator
would not match."""

_README = """# {name}

Made by bids_decoder from the dataset "{source}". The layout follows BIDS derivatives.

* `sub-<label>.html`, `group.html`: reports; start here. `…_report.json`: their numbers.
* `plan.json`: what kind of dataset this is, which trials are train and test, and why.
* `sub-<label>/…_desc-singletrial_betaseries.nii.gz`: one response per trial; volume i belongs to
  row i of `…_desc-singletrial_trials.tsv`.
* `sub-<label>/…_label-TROI_mask.nii.gz`: the voxels that the decoder selected.
* `sub-<label>/…_desc-decoder_metrics.tsv`: how well held-out trials are decoded, beside chance and
  baselines; `…_predictions.tsv`: each of them.
* `sub-<label>/…_desc-encoder_*`, where an encoding model was fitted: how well responses to held-out
  stimuli are predicted, beside other models and what repeats allow.
* `sub-<label>/reconstruction/`: an image for each tested stimulus; how similar they are to what was
  seen, beside controls: `…_desc-reconstruction_metrics.tsv`.
* `group/`: the model trained across participants. It holds information on the participants it was
  trained on; share it only with their consent.
* `logs/CITATION.md`: what was done and what to cite; `logs/done/`: what is finished, with keys.
* `prov/`: which call made which file, from what, with which versions.

`desc-` labels are explained in `descriptions.tsv`.
"""


def write_dataset_files(
    output_dir: Path, dataset: Dataset, environ: Mapping[str, str] = os.environ,
    descriptions: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the top-level files that are absent or were written otherwise.

    Parameters
    ----------
    output_dir : Path
    dataset : Dataset
        The input; its licence and DOI are passed on.
    environ : mapping
        ``BIDS_DECODER_DOCKER_TAG`` and ``APPTAINER_NAME`` or ``SINGULARITY_NAME`` name the
        container; ``BIDS_DECODER_IMAGE`` is its reference with digest, which an image does not
        know of itself.
    descriptions : mapping of str to str
        Labels of the ``desc`` entity that are not among :data:`DESCRIPTIONS`.

    Raises
    ------
    FindingsError
        When the folder belongs to another program; nothing is written.

    Notes
    -----
    Equal inputs give equal bytes, so that processes that start together may all write. Links are
    replaced, not followed. An existing README is left alone.
    """
    changes = _find_other_maker(output_dir, dataset)
    if has_errors(changes):
        raise FindingsError(changes)
    description = dataset_description(output_dir, dataset, environ)
    for name, content in {
        "dataset_description.json": _json(description),
        "descriptions.tsv": _descriptions_table({**DESCRIPTIONS, **descriptions}),
        "descriptions.json": _json({
            "desc_id": {"Description": "Label of the desc entity."},
            "description": {"Description": "What files with this label hold."},
        }),
        ".bidsignore": "\n".join(IGNORED) + "\n",
    }.items():
        if changes or not (output_dir / name).is_file():
            write_text(output_dir / name, content)
    if not (output_dir / "README.md").is_file():
        readme = _README.format(name=description["Name"], source=dataset.name)
        write_text(output_dir / "README.md", readme)


def dataset_description(
    output_dir: Path, dataset: Dataset, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of ``dataset_description.json``.

    ``DatasetLinks`` are relative to *output_dir* where the input is its parent, and the DOI of
    a dataset that has one, so that they hold wherever the results are moved or published.
    """
    doi = dataset.description.get("DatasetDOI")
    description: dict[str, Any] = {
        "Name": f"{APP_NAME}: {dataset.name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [_generated_by(environ)],
        "HowToAcknowledge": "See logs/CITATION.md for the text and the references of the methods.",
        "DatasetLinks": {
            "raw": _link(output_dir, dataset.root, doi),
            **{name: _link(output_dir, path) for name, path in dataset.derivatives.items()},
        },
    }
    if doi:
        description["SourceDatasets"] = [{"DOI": str(doi)}]
    if dataset.description.get("License"):
        description["License"] = dataset.description["License"]
    return description


def _link(output_dir: Path, path: Path, doi: Any = None) -> str:
    output, source = output_dir.absolute(), path.absolute()
    if output.is_relative_to(source):
        return Path(os.path.relpath(source, output)).as_posix()
    return f"doi:{_bare_doi(doi)}" if doi else source.as_uri()


def _bare_doi(doi: Any) -> str:
    return re.sub(r"^(https?://(dx\.)?doi\.org/|doi:\s*)", "", str(doi).strip())


def _generated_by(environ: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"Name": APP_NAME, "Version": __version__}
    url = importlib.metadata.metadata(APP_NAME).get("Home-page")
    if url:
        entry["CodeURL"] = url
    container = container_of(environ)
    if container:
        entry["Container"] = container
    return entry


def container_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the ``Container`` of ``GeneratedBy``; empty where the program runs in none.

    Parameters
    ----------
    environ : mapping
        See :func:`write_dataset_files`.
    """
    image = environ.get("APPTAINER_NAME") or environ.get("SINGULARITY_NAME")
    tag = environ.get("BIDS_DECODER_DOCKER_TAG")
    reference = environ.get("BIDS_DECODER_IMAGE")
    if not (image or tag or reference):
        return {}
    found = {"Type": "apptainer" if image else "docker"}
    if image or tag:
        found["Tag"] = str(image or tag)
    if reference:
        found["URI"] = reference if "://" in reference else f"docker://{reference}"
    return found


def check_folder(output_dir: Path, dataset: Dataset) -> list[Finding]:
    """Look for results of other programs, versions or datasets in the output folder.

    Parameters
    ----------
    output_dir : Path
    dataset : Dataset
        The input.

    Returns
    -------
    list of Finding
        Warnings when the folder was made by another version or has results of another dataset;
        an error when it belongs to another program.
    """
    findings = _find_other_maker(output_dir, dataset)
    nested = output_dir.absolute().is_relative_to(dataset.root / "derivatives")
    if nested and APP_NAME not in output_dir.name:
        findings.append(Finding(
            f"output folder {output_dir}",
            f"BIDS requires '{APP_NAME}' in the name of a folder below derivatives/",
            f"choose for instance {dataset.root / 'derivatives' / APP_NAME}", severity="warning",
        ))
    return findings


def _find_other_maker(output_dir: Path, dataset: Dataset) -> list[Finding]:
    findings = []
    path = output_dir / "dataset_description.json"
    if not path.is_file():
        return findings
    name, version = _maker(path)
    there, here = _title(path), _title(dataset.root / path.name)
    if name == APP_NAME and None not in (there, here) and there != f"{APP_NAME}: {here}":
        findings.append(Finding(
            f"output folder {output_dir}",
            f"it has results of another dataset ('{there}'), this one is '{here}'",
            "results of participants with the same label are replaced; choose a folder for each "
            "dataset", severity="warning",
        ))
    if name not in (None, APP_NAME):
        findings.append(Finding(
            f"output folder {output_dir}", f"it was made by {name}, not by {APP_NAME}",
            "choose another output folder", ExitCode.CANNOT_CREATE,
        ))
    elif version != __version__:
        findings.append(Finding(
            f"output folder {output_dir}",
            f"it was made by version {version}, this is {__version__}",
            "stages of the other version are done again; choose a new folder to keep them",
            severity="warning",
        ))
    return findings


def _title(path: Path) -> str | None:
    try:
        return str(read_json(path)["Name"])
    except (OSError, ValueError, LookupError, TypeError):
        # Damaged: rewritten as that of another version.
        return None


def _maker(path: Path) -> tuple[str | None, str | None]:
    try:
        makers = read_json(path)["GeneratedBy"]
        return str(makers[0]["Name"]), str(makers[0].get("Version"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # Damaged, or without GeneratedBy: treated as outdated and rewritten.
        return None, None


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _descriptions_table(descriptions: Mapping[str, str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(["desc_id", "description"])
    writer.writerows((f"desc-{label}", text) for label, text in descriptions.items())
    return buffer.getvalue()
